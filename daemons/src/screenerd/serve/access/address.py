"""Which address a request comes from, behind proxies or not. Pure.

`X-Forwarded-For` is a list to which each proxy adds, on the right, the address that called it. What
a stranger wrote stands on the left. So the list is read from the right, and only as far as those
who wrote it are known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNKNOWN = "?"
"""The address of a caller that has none, on a Unix socket."""

_LONGEST = 100
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
# An address with a port: 192.0.2.1:443 or [2001:db8::1]:443, or [2001:db8::1] alone.
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class Proxies:
    """The proxies whose word is taken."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Names them.

        Args:
            networks: addresses, or networks such as `10.0.0.0/8`.

        Raises:
            ValueError: one of them cannot be; names it.
        """
        self._networks = tuple(_parse_network(text) for text in networks)

    def client(self, peer: str | None, forwarded_for: Sequence[str]) -> str:
        """The address a request comes from.

        It is the peer's, unless the peer is a named proxy: then it is the rightmost address in the
        header that is no named proxy. Where the list ends, or holds something that is no address,
        it is the last one found.

        Args:
            peer: the other end of the connection, if it has an address.
            forwarded_for: the values of the header `X-Forwarded-For`, in order.

        Returns:
            An address in its usual spelling, IPv4 written as IPv6 as IPv4; or `UNKNOWN`.
        """
        client = _parse_address(peer or "")
        if client is None:
            return UNKNOWN
        chain = ",".join(forwarded_for).split(",")
        while chain and self._named(client):
            before = _parse_address(chain.pop().strip(" \t"))
            if before is None:
                break
            client = before
        return str(client)

    def _named(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no proxy: write an address, or a network such as 10.0.0.0/8 ({error})"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} names every address, so anybody could forge theirs: narrow it")
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        raise ValueError(f"{text!r} is an IPv4 network written as IPv6: write it as IPv4")
    return network


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without a port or a zone; `None` if it is none."""
    # What strangers write is remembered only if it is short.
    return _address_of(text) if len(text) <= _LONGEST else None


@lru_cache(4096)
def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    # The zone is a name of an interface: anything may stand in it.
    return address.ipv4_mapped or IPv6Address(int(address))
