"""The identities of a test's broker and clients: a certificate authority for tests, certificates, and signed tokens."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

USER, PASSWORD = "alice", "alice-secret"
KEY_PASSWORD = "client-key-secret"
AUDIENCE = "driftline-tests"


class Missing(Exception):
    """A tool is not installed; the text names it."""


class Papers:
    """Files in ``folder``. ``cafile`` is what a client must trust; ``certfile`` and ``keyfile`` are a client's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.cafile, self.certfile, self.keyfile = (folder / name for name in ("ca.pem", "client.pem", "client.key"))

    @property
    def keys_url(self) -> str:
        """Where the broker reads the key that tokens must be signed with."""
        return (self.folder / "keys.json").as_uri()

    def make(self) -> None:
        """Makes the files with some ten processes of openssl: half a second."""
        if shutil.which("openssl") is None:
            raise Missing("openssl")
        self.folder.mkdir(parents=True)
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days",
                  "3650", "-subj", "/CN=driftline tests")  # fmt: skip
        self._signed("server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self._signed("client", f"/CN={USER}", "extendedKeyUsage=clientAuth")
        self._run("pkcs12", "-export", "-inkey", "server.plain", "-in", "server.pem", "-certfile", "ca.pem", "-out",
                  "server.p12", "-passout", f"pass:{PASSWORD}")  # fmt: skip
        self._run("rsa", "-aes256", "-in", "client.plain", "-out", "client.key", "-passout", f"pass:{KEY_PASSWORD}")
        self._run("genrsa", "-out", "token.key", "2048")
        modulus = bytes.fromhex(self._run("rsa", "-in", "token.key", "-noout", "-modulus").decode().split("=")[1])
        key = {"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "e": "AQAB", "n": _text(modulus)}
        (self.folder / "keys.json").write_text(json.dumps({"keys": [key]}))

    def token(self, *, seconds: float = 600.0, audience: str = AUDIENCE) -> str:
        """A JWT (RFC 7519) for USER, signed with RS256."""
        now = int(time.time())
        claims = {"sub": USER, "aud": audience, "iat": now, "exp": now + int(seconds)}
        head = _text(json.dumps({"alg": "RS256", "kid": "k", "typ": "JWT"}).encode())
        body = _text(json.dumps(claims).encode())
        signature = self._run("dgst", "-sha256", "-sign", "token.key", given=f"{head}.{body}".encode())
        return f"{head}.{body}.{_text(signature)}"

    def _signed(self, name: str, subject: str, extension: str) -> None:
        (self.folder / f"{name}.ext").write_text(extension)
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.plain", "-out", f"{name}.csr", "-subj",
                  subject)  # fmt: skip
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                  "3650", "-out", f"{name}.pem", "-extfile", f"{name}.ext")  # fmt: skip

    def _run(self, *arguments: str, given: bytes | None = None) -> bytes:
        command = ["openssl", *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=self.folder, input=given).stdout


def _text(data: bytes) -> str:
    """base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def secured_properties(papers: Papers) -> Iterator[str]:
    """Of a broker with the listeners ``password``, ``tls``, ``both`` and ``mutual``."""
    module = "org.apache.kafka.common.security"
    yield "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER"
    yield f"sasl.oauthbearer.jwks.endpoint.url={papers.keys_url}"
    # without it Kafka 4.1 checks only the claims and accepts a token that any key has signed
    yield f"sasl.oauthbearer.jwt.validator.class={module}.oauthbearer.BrokerJwtValidator"
    yield f"sasl.oauthbearer.expected.audience={AUDIENCE}"
    for listener in ("password", "both"):
        prefix = f"listener.name.{listener}"
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            yield f"{prefix}.{mechanism}.sasl.jaas.config={module}.scram.ScramLoginModule required;"
        yield (f'{prefix}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";')
        yield f"{prefix}.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required;"
        yield (
            f"{prefix}.oauthbearer.sasl.server.callback.handler.class="
            f"{module}.oauthbearer.OAuthBearerValidatorCallbackHandler"
        )
    for listener in ("tls", "both", "mutual"):
        prefix = f"listener.name.{listener}"
        yield f"{prefix}.ssl.keystore.location={papers.folder / 'server.p12'}"
        yield f"{prefix}.ssl.keystore.type=PKCS12"
        yield f"{prefix}.ssl.keystore.password={PASSWORD}"
    yield f"listener.name.mutual.ssl.truststore.location={papers.cafile}"
    yield "listener.name.mutual.ssl.truststore.type=PEM"
    yield "listener.name.mutual.ssl.client.auth=required"
