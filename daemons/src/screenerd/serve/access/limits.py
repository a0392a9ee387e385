"""How often a caller may call. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

_MICROSECONDS = 1_000_000


class Limiter:
    """The generic cell rate algorithm, GCRA: a leaky bucket as a meter.

    It is that of the ATM Forum's Traffic Management Specification 4.0, and of ITU-T I.371.

    A caller begins with `per_minute` calls, and gains one every `60 / per_minute` seconds up to
    that many. So of a burst the call after `per_minute` is refused, and waits until one is gained;
    in the minute after a rest, the calls gained in it come on top of those saved up.

    One number is kept a key: when its allowance is full again. A key is forgotten when there are
    too many, first those whose allowance is full, who lose nothing by it, then the longest unused.
    A call costs O(1), the making of room being spread over the keys it makes room for.
    """

    def __init__(self, per_minute: int, most_keys: int = 100_000) -> None:
        """Knows no key yet.

        Args:
            per_minute: calls a minute, and at once; 1 or more.
            most_keys: keys that are remembered; 1 or more.

        Raises:
            ValueError: one of them is below 1.
        """
        for name, value in (("per_minute", per_minute), ("most_keys", most_keys)):
            if value < 1:
                raise ValueError(f"{name} = {value} is below 1")
        # Whole microseconds: sums of fractions drift, and a burst would lose its last call.
        self._interval = 60 * _MICROSECONDS // per_minute
        self._tolerance = self._interval * (per_minute - 1)
        self._most = most_keys
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """Counts a call, if it is allowed.

        Args:
            key: whose call.
            now: seconds of a monotonic clock.

        Returns:
            0 if it is allowed, else the seconds until it would be.
        """
        at = int(now * _MICROSECONDS)
        full_at = max(at, self._full_at.get(key, at))
        wait = full_at - self._tolerance - at
        self._full_at[key] = full_at if wait > 0 else full_at + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._make_room(at)
        # One more, so that rounding does not bring back too early who waits as told.
        return (wait + 1) / _MICROSECONDS if wait > 0 else 0.0

    def _make_room(self, at: int) -> None:
        """Forgets until an eighth is free, so that it is seldom done."""
        for key in [key for key, full_at in self._full_at.items() if full_at <= at]:
            del self._full_at[key]
        while len(self._full_at) > self._most - self._most // 8:
            self._full_at.popitem(last=False)


@lru_cache(4096)
def address_key(ip: str) -> str:
    """What an address is counted under: itself, or its /64 if it is IPv6.

    A subscriber is given a whole /64 at least, so its single addresses say nothing. An IPv4 address
    written as IPv6 is the IPv4 address; what is no address shares the key `?`.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return "?"
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))
