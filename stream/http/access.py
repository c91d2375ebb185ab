"""Which requests the server accepts: by the host that they name, and by their token."""

import hmac
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

log = logging.getLogger(__name__)

GUESS_SECONDS = 1.0
"""How long the answer to a wrong token is held back."""

GUESSES_AT_ONCE = 64
GUESSES_OF_ONE_ADDRESS = 4
"""Wrong tokens that are held back at once. With GUESS_SECONDS, the most that one address can try in a second."""

REPORT_SECONDS = 60.0
"""Time between two log lines about wrong tokens."""


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without a port, is always this machine."""
    address = _address(host)
    return host.rstrip(".").lower() == "localhost" if address is None else address.is_loopback


class HostCheck:
    """Compares the header ``Host`` with the names of this server.

    A page of the web can point a name of its own at 127.0.0.1, and the browser of whoever opens the page then reads
    from this server as if it belonged to the page (DNS rebinding). The header still has the page's name.

    :param listening: ``http.host``. If it is a loopback address, only loopback names and ``allowed`` are accepted.
    :param allowed: ``http.allowed_hosts``. On other addresses the header is compared only if this is not empty, and an
        IP address is always accepted, since probes send one and no page of the web can point it elsewhere.
    """

    __slots__ = ("_allowed", "_loopback")

    def __init__(self, listening: str, allowed: Iterable[str] = ()) -> None:
        self._loopback = is_loopback(listening)
        self._allowed = frozenset(_name(host) for host in allowed)

    def accepts(self, headers: Sequence[str]) -> bool:
        """Whether a request with these ``Host`` headers is for this server. One without any is accepted: HTTP/1.0
        needs none, and browsers always send one."""
        if not headers:
            return True
        if len(headers) > 1:
            return False
        name = _name(headers[0])
        if name in self._allowed or is_loopback(name):
            return True
        return not self._loopback and (not self._allowed or _address(name) is not None)


class TokenCheck:
    """Compares the header ``Authorization`` with the token in constant time, and counts wrong ones.

    The caller holds the answer to a wrong token back for GUESS_SECONDS. While too many are held back, further requests
    of that address are refused without a comparison, so that parallel connections do not try more.

    :param refused: is called for every wrong token.
    :param now: a clock in seconds.
    """

    __slots__ = ("_held", "_last", "_now", "_refused", "_reported", "_token", "_wrong")

    def __init__(self, token: str, refused: Callable[[], None], now: Callable[[], float]) -> None:
        self._token = token.strip(" ").encode()
        self._refused = refused
        self._now = now
        self._held: Counter[str] = Counter()
        self._wrong = 0
        self._last = ""
        self._reported = float("-inf")

    def busy(self, address: str) -> bool:
        """Whether as many wrong tokens are held back as may be: of this address, or of all."""
        return self._held[address] >= GUESSES_OF_ONE_ADDRESS or self._held.total() >= GUESSES_AT_ONCE

    def accepts(self, header: str) -> bool:
        """Whether the header is ``Bearer TOKEN`` with the right token."""
        scheme, _, given = header.partition(" ")
        right = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), self._token)
        return right and scheme.lower() == "bearer"

    def hold(self, address: str) -> None:
        """Counts a wrong token, whose answer is held back from now on. At most one log line a minute reports them."""
        self._held[address] += 1
        self._refused()
        self._wrong, self._last = self._wrong + 1, address
        if self._now() - self._reported >= REPORT_SECONDS:
            log.warning("HTTP: %d requests with a missing or wrong token, the last from %s", self._wrong, self._last)
            self._wrong, self._reported = 0, self._now()

    def release(self, address: str) -> None:
        """The answer is no longer held back."""
        self._held[address] -= 1
        if self._held[address] <= 0:
            del self._held[address]


def _name(host: str) -> str:
    """The host in a header: without its port, brackets and final dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return (host.rpartition(":")[0] if host.count(":") == 1 else host).rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
