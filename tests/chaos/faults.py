"""The faults of workers and broker, and a supervisor that restarts processes that ended, as systemd would."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

from tests.kafka.server import Server, free_ports
from tests.service.processes import Deployment, WorkerProcess

WORKERS = 2
FROZEN_SECONDS = 9.0
"""Longer than the session of 6 s: the group goes on without it, and it wakes as a zombie."""
DOWN_SECONDS = 3.0
SETTLE_SECONDS = 5.0


class Fleet:
    """Workers of one deployment. ``ended``: how often one ended by itself."""

    def __init__(self, deployment: Deployment, broker: Server, seed: int) -> None:
        self.deployment, self.broker = deployment, broker
        self.chance = random.Random(seed)
        self.ports = free_ports(WORKERS)
        self.workers: list[WorkerProcess | None] = [None] * WORKERS
        self.logs: list[str] = []
        self.ended = 0
        self._held_down = False
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for at in range(WORKERS):
            self._bring(at)
        self._watching = asyncio.create_task(self._supervise())

    def _bring(self, at: int) -> None:
        self.workers[at] = WorkerProcess(self.deployment, port=self.ports[at])

    async def _supervise(self) -> None:
        while True:
            for at, worker in enumerate(self.workers):
                if worker is not None and worker.process.poll() is not None and not self._held_down:
                    self.ended += worker.process.returncode > 0
                    if worker.process.returncode > 0:
                        self.logs.append(worker.text()[-1500:])
                    self._bring(at)
            await asyncio.sleep(0.3)

    def _one(self) -> WorkerProcess:
        chosen = self.chance.choice(self.workers)
        assert chosen is not None
        return chosen

    def _signal(self, worker: WorkerProcess, number: signal.Signals) -> None:
        if worker.process.poll() is None:
            os.kill(worker.process.pid, number)

    async def kill(self) -> None:
        self._signal(self._one(), signal.SIGKILL)

    async def terminate(self) -> None:
        self._signal(self._one(), signal.SIGTERM)

    async def freeze(self) -> None:
        worker = self._one()
        self._signal(worker, signal.SIGSTOP)
        await asyncio.sleep(FROZEN_SECONDS)
        self._signal(worker, signal.SIGCONT)

    async def kill_all(self) -> None:
        self._held_down = True
        for worker in self.workers:
            if worker is not None:
                self._signal(worker, signal.SIGKILL)
        await asyncio.sleep(DOWN_SECONDS)
        self._held_down = False

    async def restart_broker(self) -> None:
        await asyncio.to_thread(self.broker.stop)
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(self.broker.start)

    async def kill_broker(self) -> None:
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(self.broker.start)

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for worker in self.workers:
            if worker is not None and worker.process.poll() is None:
                self._signal(worker, signal.SIGCONT)
                await asyncio.to_thread(worker.kill)


Fault = Callable[[Fleet], Awaitable[None]]
FAULTS: dict[str, tuple[Fault, int, int]] = {
    "kill -9 of a worker": (Fleet.kill, 8, 1),
    "SIGTERM of a worker": (Fleet.terminate, 4, 1),
    "worker frozen for 9 s, session 6 s": (Fleet.freeze, 4, 1),
    "all workers killed at once": (Fleet.kill_all, 3, 1),
    "broker restarted": (Fleet.restart_broker, 2, 0),
    "broker kill -9": (Fleet.kill_broker, 2, 1),
}
"""Each with how often it comes in the whole run and in the short one."""


async def inflict(fleet: Fleet, *, short: bool) -> list[tuple[str, float]]:
    """Causes every fault, in an order that the seed decides. Returns what was done and how long it took."""
    plan = [name for name, (_, often, seldom) in FAULTS.items() for _ in range(seldom if short else often)]
    fleet.chance.shuffle(plan)
    done = []
    for name in plan:
        began = time.monotonic()
        await FAULTS[name][0](fleet)
        done.append((name, time.monotonic() - began))
        await asyncio.sleep(SETTLE_SECONDS * (0.4 + 1.2 * fleet.chance.random()))
    return done
