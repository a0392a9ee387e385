"""Names of this machine that only this machine can use. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

LONGEST_NAME = 255
"""Characters of a name or an address; see RFC 1035."""


def is_loopback(name: str) -> bool:
    """Whether a name or address is this machine's own, for itself alone."""
    # What strangers write is remembered only if it is short.
    return name == "localhost" or (len(name) <= LONGEST_NAME and _is_own_address(name))


@lru_cache(1024)
def _is_own_address(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """A `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
