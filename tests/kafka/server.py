"""A real Apache Kafka for tests and benchmarks: one KRaft node on loopback, started from jars that Maven fetches.

No container and nothing installed: Java 17 and Maven are enough. Every server has its own ports and its own folder,
and is stopped by its process id.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code

from tests.kafka.papers import PASSWORD, USER, Missing, Papers, secured_properties

ROOT = Path(__file__).resolve().parents[2]
POM = Path(__file__).with_name("pom.xml")
JARS = ROOT / ".cache" / "kafka-4.1.0"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
CLUSTER_ID = "ZHJpZnRsaW5lLXRlc3RzMA"
FIRST_PORT, LAST_PORT, PORT_PARTS = 12_000, 32_000, 16


class Unavailable(Exception):
    """Kafka is not available here; the text names what is missing."""


def jars() -> Path:
    """The folder of Kafka's jars, fetched once per checkout; safe to call from several processes."""
    if shutil.which("java") is None:
        raise Unavailable("no Java on the path")
    JARS.parent.mkdir(exist_ok=True)
    with (JARS.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (JARS / ".complete").exists():
            return JARS
        if shutil.which("mvn") is None:
            raise Unavailable("no Maven on the path")
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise Unavailable(f"Maven could not fetch Kafka: {(done.stdout + done.stderr).strip()[-400:]}")
        (JARS / ".complete").touch()
    return JARS


def _ports() -> Iterator[int]:
    """Ports of this process, each once.

    They lie below the range from which the system takes ports for outgoing connections and for port 0 (32,768 and up on
    Linux), so no client can take one between the choice and the server's start. Each pytest worker has a part of its
    own, of which it begins somewhere, for suites of several checkouts at once.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PORT_PARTS
    size = (LAST_PORT - FIRST_PORT) // PORT_PARTS
    first, begin = FIRST_PORT + worker * size, os.getpid() % size
    return (first + (begin + number) % size for number in range(size))


_PORTS = _ports()


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, each returned once by this process."""
    found: list[int] = []
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(f"no {count} free ports between {FIRST_PORT} and {LAST_PORT}")


class Cluster:
    """A Kafka that answers at ``bootstrap_servers``; what tests do to its topics."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    async def create_topics(self, topics: Mapping[str, int], configs: Mapping[str, str] | None = None) -> None:
        """Creates topics with this many partitions; returns when every partition has a leader."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            wanted = [NewTopic(name, count, 1, topic_configs=dict(configs or {})) for name, count in topics.items()]
            answer = await admin.create_topics(wanted)
            for error in answer.to_object()["topic_errors"]:
                if error["error_code"]:
                    raise for_code(error["error_code"])(error.get("error_message"))
            deadline = time.monotonic() + 20
            while True:
                found = await admin.describe_topics(list(topics))
                led = {t["topic"]: sum(p["leader"] >= 0 for p in t["partitions"]) for t in found}
                if all(led.get(name) == count for name, count in topics.items()):
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"topics without leaders: {led}")
                await asyncio.sleep(0.02)
        finally:
            await admin.close()

    async def delete_topics(self, *names: str) -> None:
        """Deletes topics; a topic that does not exist is not an error."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics(list(names))
        finally:
            await admin.close()


class Server(Cluster):
    """One KRaft node. ``security`` adds listeners with SCRAM and PLAIN passwords and TLS: see the properties."""

    def __init__(
        self, folder: Path, *, security: bool = False, acls: bool = False, heap: str = "512m", quick: bool = True
    ) -> None:
        """``acls``: whoever has logged in may do only what an ACL allows, and the log has each permission that was
        used; the plain listener may do everything."""
        self._jars = jars()
        self._folder = folder
        self._heap = heap
        self._quick = quick
        self._ports = free_ports(6)
        self.papers = Papers(folder / "papers")
        self._security = security
        self._acls = acls
        self._process: subprocess.Popen[bytes] | None = None
        self._formatted = False
        super().__init__(f"127.0.0.1:{self._ports[0]}")

    @property
    def sasl(self) -> str:
        """SASL_PLAINTEXT: SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN, user USER with PASSWORD; OAUTHBEARER."""
        return f"127.0.0.1:{self._ports[2]}"

    @property
    def tls(self) -> str:
        """SSL, with a certificate of the tests' authority."""
        return f"127.0.0.1:{self._ports[3]}"

    @property
    def sasl_tls(self) -> str:
        """SASL_SSL: both."""
        return f"127.0.0.1:{self._ports[4]}"

    @property
    def mutual_tls(self) -> str:
        """SSL, and clients need a certificate of the tests' authority."""
        return f"127.0.0.1:{self._ports[5]}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Starts the broker with the data of its earlier runs; returns when it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._formatted:
            self._prepare()
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)), stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.bootstrap_servers):
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / "server.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise Unavailable(f"Kafka did not start:\n{text}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stops the broker cleanly, by its process id."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the broker at once, as a power cut does; ``start`` starts it again."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stops all answers of the broker until ``resume``."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def tool(self, main: str, *arguments: str) -> str:
        """What one of Kafka's own tools prints. ``main`` is its class."""
        command = self._java(main, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=self._folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log_text(self) -> str:
        """What the broker has logged."""
        return (self._folder / "server.log").read_text(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, main: str, *arguments: str) -> list[str]:
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if self._quick else ["-XX:+UseG1GC"]
        options = [f"-Xmx{self._heap}", "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *quick]
        if self._acls:
            options.append("-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug")
        options.append(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.papers.keys_url}")
        return ["java", *options, "-cp", str(self._jars / "*"), main, *arguments]

    def _prepare(self) -> None:
        lines = list(self._plain())
        users: list[str] = []
        if self._security:
            try:
                self.papers.make()
            except Missing as tool:
                raise Unavailable(f"no {tool} on the path") from None
            lines += secured_properties(self.papers)
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                users += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        self._properties.write_text("\n".join(lines) + "\n")
        tool = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties), *users)
        done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False, cwd=self._folder)
        if done.returncode != 0:
            raise Unavailable(f"Kafka's storage could not be formatted: {(done.stdout + done.stderr)[-1000:]}")
        self._formatted = True

    def _plain(self) -> Iterator[str]:
        plain, controller, sasl, tls, both, mutual = self._ports
        listeners = [f"PLAINTEXT://127.0.0.1:{plain}"]
        if self._security:
            listeners += [f"PASSWORD://127.0.0.1:{sasl}", f"TLS://127.0.0.1:{tls}", f"BOTH://127.0.0.1:{both}"]
            listeners += [f"MUTUAL://127.0.0.1:{mutual}"]
        yield "process.roles=broker,controller"
        yield "node.id=1"
        yield f"controller.quorum.voters=1@127.0.0.1:{controller}"
        yield "controller.listener.names=CONTROLLER"
        yield f"listeners={','.join([*listeners, f'CONTROLLER://127.0.0.1:{controller}'])}"
        yield f"advertised.listeners={','.join(listeners)}"
        yield (
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "PASSWORD:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL,MUTUAL:SSL"
        )
        if self._acls:
            yield "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            yield "super.users=User:ANONYMOUS"
        yield f"log.dirs={self._folder / 'log'}"
        yield "num.partitions=4"
        yield "offsets.topic.num.partitions=4"
        for name in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            yield f"{name}.replication.factor=1"
        yield "transaction.state.log.min.isr=1"
        yield "share.coordinator.state.topic.min.isr=1"
        yield "group.initial.rebalance.delay.ms=0"
        yield "log.cleaner.backoff.ms=500"
        yield "log.cleaner.dedupe.buffer.size=4194304"
        yield "controlled.shutdown.enable=false"
        yield "broker.session.timeout.ms=2000"  # or a restart after a kill waits 9 s for the old one's to run out
        yield "broker.heartbeat.interval.ms=300"


def answers(bootstrap_servers: str) -> bool:
    """Whether a Kafka listens there. The request runs in its own thread, so that this works while an event loop
    runs."""
    host, port = bootstrap_servers.split(",")[0].rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2.0).close()
    except OSError:
        return False
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_answers(bootstrap_servers))).result()


async def _answers(bootstrap_servers: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers()) > 0
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
