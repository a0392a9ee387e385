"""Which addresses a notification may be sent to. Pure: names and numbers in, a refusal or nothing.

A user's webhook must not make this machine talk to its own network. A URL is checked when it is
configured and before each request, a name's addresses when they are resolved, and the address of a
socket once more when the socket is made: there is no second lookup in which it could change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

_PUBLIC_V6 = IPv6Network("2000::/3")

_V4_REFUSED = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("169.254.0.0/16", "link-local"),
        ("100.100.100.200/32", "a metadata service"),
        ("168.63.129.16/32", "a metadata service"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V4_PRIVATE = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "private"),
    )
)
_V6_REFUSED = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::/128", "unspecified"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address in disguise"),
        ("64:ff9b:1::/48", "an IPv4 address in disguise"),
        ("2002::/16", "an IPv4 address in disguise"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("fd00:ec2::254/128", "a metadata service"),
        ("fd20:ce::254/128", "a metadata service"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
_V6_PRIVATE = (
    (IPv6Network("::1/128"), "loopback"),
    (IPv6Network("fc00::/7"), "private"),
)

_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9-]+\.?")
# The last label decides: resolvers read 2130706433, 0x7f000001 and 127.1 as addresses.
_NUMERIC_END = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$")
_VISIBLE = re.compile(r"[!-\[\]-~]+")  # printable ASCII but the backslash


class RefusedError(OSError):
    """A target that must not be reached; says why, never the whole URL.

    It is an `OSError` because connection code treats those as "this address failed".
    """

    def __init__(self, reason: str) -> None:
        """Keeps the reason; there is no errno."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Guard:
    """What one channel may reach.

    Attributes:
        hosts: the only host names allowed; `None` for any.
        private: whether loopback and private addresses are allowed. Link-local, metadata,
            multicast and reserved ones never are.
        plain: whether `http` is allowed beside `https`.
    """

    hosts: frozenset[str] | None = None
    private: bool = False
    plain: bool = False

    def check_url(self, url: str) -> None:
        """Refuses a URL that is not allowed, as far as its text tells.

        Raises:
            RefusedError: with the reason; the URL's path and query are never part of it.
        """
        # urlsplit() drops tabs and newlines in silence, so they are looked for first.
        if not _VISIBLE.fullmatch(url):
            raise RefusedError("the URL holds a space, a control character or a non-ASCII one")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise RefusedError("the URL cannot be read: check its host and port") from None
        self._check_scheme(parts.scheme)
        if parts.username is not None or parts.password is not None:
            raise RefusedError("the URL holds a user name: remove what stands before the @")
        if parts.fragment:
            raise RefusedError("the URL holds a fragment: remove what stands after the #")
        self._check_port(parts.scheme, port)
        self._check_host(parts.hostname or "")

    def check_address(self, address: str) -> None:
        """Refuses an IP address that must not be connected to.

        Raises:
            RefusedError: with the kind of address it is.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            raise RefusedError("the resolver gave something that is no IP address") from None
        why = kind_of(parsed)
        if why is None or (self.private and why in {"loopback", "private"}):
            return
        raise RefusedError(f"the target's address {parsed} is {why}, which is not allowed")

    def _check_scheme(self, scheme: str) -> None:
        allowed = ("https", "http") if self.plain else ("https",)
        if scheme not in allowed:
            raise RefusedError(f"the URL begins with {scheme[:12]!r}, not {' or '.join(allowed)}")

    def _check_port(self, scheme: str, port: int | None) -> None:
        if port is None or port == {"https": 443, "http": 80}[scheme]:
            return
        if self.hosts is not None and not self.private:
            raise RefusedError(f"port {port} is not the service's own: remove it from the URL")
        # Below 1024 live mail, shells and the like, which a crafted request could talk to.
        if port < 1024:
            raise RefusedError(f"port {port} is not allowed: use 443 or one from 1024 on")

    def _check_host(self, host: str) -> None:
        if self.hosts is not None and host not in self.hosts:
            raise RefusedError(f"the host is not one of {', '.join(sorted(self.hosts))}")
        if ":" in host or _is_dotted(host):
            self.check_address(host)
        elif _NUMERIC_END.search(host):
            raise RefusedError("the host is a number in disguise: write a name")
        elif not _NAME.fullmatch(host):
            raise RefusedError("the host is not a valid name")


def kind_of(address: IPv4Address | IPv6Address) -> str | None:
    """What is special about an address, in words; `None` for an ordinary public one."""
    if isinstance(address, IPv4Address):
        for network4, why in (*_V4_REFUSED, *_V4_PRIVATE):
            if address in network4:
                return why
        return None
    for network6, why in (*_V6_REFUSED, *_V6_PRIVATE):
        if address in network6:
            return why
    return None if address in _PUBLIC_V6 else "reserved"


def _is_dotted(host: str) -> bool:
    """Whether it is an IPv4 address as it should be written."""
    try:
        return str(IPv4Address(host)) == host
    except ValueError:
        return False
