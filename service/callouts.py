"""Requests to addresses that others have named: only to public ones, and to none but those that
were looked at.

A name is looked up once for each request. All of its addresses have to be public, and the
connection is made to one of exactly these: a name that means something else a moment later (DNS
rebinding) wins nothing. What an operator allows by name or network is taken as it is. Redirects
are not followed, proxies of the environment are not used.

What is not public: https://www.iana.org/assignments/iana-ipv4-special-registry, and -ipv6-.
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from search_spaces import ParetrackError

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 10.0
RESOLVE_SECONDS = 5.0
EXCERPT = 200  # characters of an answer that are read

_V4_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",  # what a virtual machine of Azure is told about itself
        ),
    )
)  # fmt: skip
_V6_PUBLIC = IPv6Network("2000::/3")
_V6_NOT_PUBLIC = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")  # the last four bytes are an IPv4 address
_URL = re.compile(r"[!-~]{1,2000}")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?")

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


class NotAllowed(ParetrackError):  # noqa: N818 - says what happened
    """Nothing is sent to such a URL."""


class NotReached(ParetrackError):  # noqa: N818 - says what happened
    """What was to be sent has not arrived, or nobody said that it has."""


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks that an operator trusts although they are not public."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def has(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def allowed_from_words(words: Iterable[str]) -> Allowed:
    """From names ('hooks.internal'), addresses and networks ('10.1.0.0/16')."""
    names, networks = set[str](), list[IPv4Network | IPv6Network]()
    for word in words:
        try:
            networks.append(ip_network(word))
        except ValueError:
            if not _HOST.fullmatch(word.lower()) or "/" in word:
                raise ParetrackError(
                    f"PARETRACK_WEBHOOK_ALLOW: {word!r} is no host name, address or network; "
                    "expected some with commas between, as in hooks.internal,10.1.0.0/16"
                ) from None
            names.add(word.lower().rstrip("."))
    return Allowed(frozenset(names), tuple(networks))


@dataclass(frozen=True)
class Target:
    """Where to: a URL in the parts that matter."""

    scheme: str
    host: str  # in lower case; an IPv6 address without its brackets
    port: int
    path: str  # with the query


def target_of(url: str) -> Target:
    """The parts of a URL, if it is one that may be asked for at all."""
    if not _URL.fullmatch(url) or "\\" in url:
        raise NotAllowed(
            "expected at most 2000 printable ASCII characters and no backslash; write others as "
            "%.. in the path, and as xn--... in the name"
        )
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise NotAllowed(f"cannot be read: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise NotAllowed("expected http:// or https://")
    if "@" in parts.netloc or "#" in url:
        raise NotAllowed("expected neither user name nor password nor fragment in it")
    if not (_is_ipv6(host) if "[" in parts.netloc else _HOST.fullmatch(host)) or port == 0:
        raise NotAllowed("expected a host name or address, and no port or one of 1 to 65535")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _is_ipv6(host: str) -> bool:
    try:
        return "%" not in host and isinstance(ip_address(host), IPv6Address)
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Whether anybody may reach it from anywhere, so that we reveal nothing by asking it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(address.packed[-4:]))
        return address in _V6_PUBLIC and not any(address in each for each in _V6_NOT_PUBLIC)
    return not any(address in network for network in _V4_NOT_PUBLIC)


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name as this machine knows them, or OSError; not for ever."""
    found: SimpleQueue[Sequence[str] | OSError] = SimpleQueue()

    def look() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a part of more than 63 characters
            found.put(OSError(str(error)))
        except OSError as error:
            found.put(error)
        else:
            found.put(list(dict.fromkeys(str(info[4][0]) for info in infos)))

    # A look-up cannot be cut short; its thread goes on until the system gives up.
    threading.Thread(target=look, name="resolve", daemon=True).start()
    try:
        answer = found.get(timeout=RESOLVE_SECONDS)
    except Empty:
        raise TimeoutError(f"no answer within {RESOLVE_SECONDS:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def checked_addresses(
    target: Target, allowed: Allowed, resolved: Resolve = resolve
) -> Sequence[str]:
    """The addresses to which a request for this target may go now; all of them, or NotAllowed."""
    try:
        addresses = resolved(target.host, target.port)
    except OSError as error:
        raise NotReached(f"the name {target.host} was not found: {error.strerror or error}") from (
            error
        )
    if not addresses:
        raise NotReached(f"the name {target.host} has no address")
    if target.host.rstrip(".") not in allowed.names:
        for each in addresses:
            address = ip_address(each)
            if not (is_public(address) or allowed.has(address)):
                raise NotAllowed(
                    f"{target.host} is not a public address, and nothing is sent to others unless "
                    "the operator names host or network in PARETRACK_WEBHOOK_ALLOW"
                )
    return addresses


@dataclass(frozen=True)
class Answer:
    """What came back, in short."""

    status: int
    excerpt: str


def tls_context() -> ssl.SSLContext:
    """Whom to trust; slow to make, and good for all requests."""
    import httpx

    return httpx.create_ssl_context()


def post(
    target: Target,
    addresses: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext,
    seconds: float = TOTAL_SECONDS,
) -> Answer:
    """Send it to one of these addresses, which are taken as they are; or NotReached."""
    import httpcore

    from service._pinned import Pinned

    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    pinned = Pinned(addresses, CONNECT_SECONDS, time.monotonic() + seconds)
    said = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        with (
            httpcore.ConnectionPool(ssl_context=tls, network_backend=pinned) as pool,
            pool.stream("POST", url, headers=said, content=body) as response,
        ):
            return Answer(response.status, _excerpt(response.iter_stream()))
    except httpcore.ConnectTimeout as error:
        raise NotReached(f"{target.host}: no connection within {CONNECT_SECONDS:g} s") from error
    except httpcore.TimeoutException as error:
        raise NotReached(f"{target.host}: no whole answer within {seconds:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise NotReached(f"{target.host}: {error or type(error).__name__}") from error


def _excerpt(stream: Iterable[bytes]) -> str:
    """The beginning; the rest is never read."""
    read = b""
    for part in stream:
        read += part
        if len(read) >= 4 * EXCERPT:  # bytes that a character may have
            break
    text = read.decode(errors="replace")
    return "".join(c if c.isprintable() else " " for c in text)[:EXCERPT].strip()
