"""Whose word is taken for where a request comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.serve.access.address import UNKNOWN, Proxies
from screenerd.serve.access.limits import Limiter, address_key

NAMED = Proxies(["10.0.0.0/8", "198.51.100.7", "fd00::/8"])
HEADERS = st.lists(st.text() | st.ip_addresses().map(str) | st.just("10.0.0.9"), max_size=5)


@given(HEADERS)
def test_an_unnamed_peer_is_itself_whatever_it_sends(forged: list[str]) -> None:
    assert NAMED.client("203.0.113.5", forged) == "203.0.113.5"
    assert Proxies([]).client("10.0.0.1", forged) == "10.0.0.1"


@given(HEADERS)
def test_what_a_client_wrote_itself_counts_for_nothing(forged: list[str]) -> None:
    assert NAMED.client("10.0.0.1", [*forged, "203.0.113.5"]) == "203.0.113.5"
    assert NAMED.client("10.0.0.1", [",".join([*forged, "203.0.113.5, 10.0.0.2"])]) == "203.0.113.5"


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        # The rightmost that is no named proxy.
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5", "10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5,198.51.100.7,10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.8"], "198.51.100.8"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # The list ends.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        # Garbage ends the walk.
        ("10.0.0.1", ["203.0.113.5, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.5,,10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.5 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", ["010.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5\n"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5:x"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5:80x"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]x"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1"], "10.0.0.1"),
        # Ports and white space.
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:4711 ,\t10.0.0.2:80"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        # IPv6, and IPv4 written as it.
        ("fd00::1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1, fd00::2"], "2001:db8::1"),
        ("fe80::1%eth0", ["2001:db8::1"], "fe80::1"),
        ("fd00::1", ["fe80::1%<script>"], "fe80::1"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        ("::ffff:203.0.113.5", ["1.1.1.1"], "203.0.113.5"),
        # A peer without an address.
        (None, ["1.1.1.1"], UNKNOWN),
        ("", ["1.1.1.1"], UNKNOWN),
        ("testclient", ["1.1.1.1"], UNKNOWN),
    ],
)
def test_where_a_request_comes_from(peer: str | None, header: list[str], client: str) -> None:
    assert NAMED.client(peer, header) == client


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("proxy.example", "no proxy"),
        ("", "no proxy"),
        ("*", "no proxy"),
        ("10.0.0.0/33", "no proxy"),
        ("10.0.0.1/8", "no proxy"),
        ("0.0.0.0/0", "every address"),
        ("::/0", "every address"),
        ("::ffff:10.0.0.0/104", "write it as IPv4"),
    ],
)
def test_a_network_that_cannot_be_is_named(network: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Proxies(["10.0.0.0/8", network])
    assert repr(network) in str(caught.value)
    Proxies(["10.0.0.0/8", "10.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("peer", "after"), [("203.0.113.5", ""), ("10.0.0.1", ", 203.0.113.5")], ids=["direct", "proxy"]
)
def test_1000_forged_addresses_are_one_caller(peer: str, after: str) -> None:
    limiter = Limiter(100)
    forged = [f"1.2.{n // 250}.{n % 250}" for n in range(1000)]
    clients = [NAMED.client(peer, [address + after]) for address in forged]
    assert sum(limiter.take(address_key(client), 0.0) == 0.0 for client in clients) == 100


def test_1000_true_addresses_are_1000_callers() -> None:
    limiter = Limiter(100)
    true = [f"1.2.{n // 250}.{n % 250}" for n in range(1000)]
    clients = [NAMED.client("10.0.0.1", [address]) for address in true]
    assert sum(limiter.take(address_key(client), 0.0) == 0.0 for client in clients) == 1000
