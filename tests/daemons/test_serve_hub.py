"""Alerts to many clients: resume, filters, switches, and who is too slow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenerd.model import RuleSwitch
from screenerd.serve import hub as hub_module
from screenerd.serve.hub import MOST_AHEAD, MOST_STUCK_SECONDS, MOST_WAITING, Client, Hub, Wish


@dataclass
class FakeOutlet:
    """A connection that takes everything, or nothing."""

    ready: bool = True
    sent: list[bytes] = field(default_factory=list)
    aborted: bool = False

    def write(self, frame: bytes) -> None:
        """Keeps what is sent."""
        self.sent.append(frame)

    def abort(self) -> None:
        """Remembers that it was ended."""
        self.aborted = True


def payloads(data: bytes) -> list[dict[str, Any]]:
    """The messages of frames that follow each other."""
    found = []
    while data:
        assert data[0] == 0x81, "a whole text frame"
        size, at = data[1], 2
        if size == 126:
            size, at = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10]), 10
        found.append(orjson.loads(data[at : at + size]))
        data = data[at + size :]
    return found


def heard(outlet: FakeOutlet, kind: str = "alert") -> list[dict[str, Any]]:
    """The messages of a kind that a connection was given."""
    return [one for one in payloads(b"".join(outlet.sent)) if one["type"] == kind]


def publish(hub: Hub, count: int = 1, symbol: str = "BTCUSDT", rule: str = "r") -> None:
    for _ in range(count):
        at = hub.offset + 1
        hub.publish(symbol, rule, at * 60_000, orjson.dumps({"n": at}))


def joined(hub: Hub, wish: Wish | None = None, since: int | None = None, **more: Any) -> FakeOutlet:
    outlet = FakeOutlet()
    client = Client(outlet, more.get("switches", {}))
    hub.clients.add(client)
    hub.subscribe(client, wish or Wish(), since, more.get("epoch", hub.epoch))
    return outlet


def test_a_client_that_has_not_subscribed_hears_nothing() -> None:
    hub = Hub("e")
    outlet = FakeOutlet()
    hub.clients.add(Client(outlet, {}))
    publish(hub)
    assert outlet.sent == []


@given(
    before=st.integers(0, 30),
    missed=st.integers(0, 30),
    after=st.integers(0, 30),
    kept=st.integers(1, 40),
)
def test_who_resumes_misses_nothing_and_hears_nothing_twice(
    before: int, missed: int, after: int, kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "REMEMBERED", kept)
        hub = Hub("e")
        publish(hub, before)
        first = joined(hub)
        publish(hub, missed)
        since = before
        second = joined(hub, since=since)
        publish(hub, after)
    [answer] = heard(second, "subscribed")
    assert answer["recovered"] == (missed <= kept)
    assert answer["offset"] == before + missed
    offsets = [one["offset"] for one in heard(second)]
    expected = range(before + 1, before + missed + after + 1)
    live = range(before + missed + 1, before + missed + after + 1)
    assert offsets == list(expected if missed <= kept else live)
    assert [one["offset"] for one in heard(first)] == list(expected)


@pytest.mark.parametrize(("since", "epoch"), [(3, "other"), (9, "e"), (3, None), (None, "e")])
def test_what_cannot_be_recovered_is_said(since: int | None, epoch: str | None) -> None:
    hub = Hub("e")
    publish(hub, 5)
    outlet = joined(hub, since=since, epoch=epoch)
    assert heard(outlet, "subscribed")[0]["recovered"] is False
    assert heard(outlet) == []
    control = joined(hub, since=3)
    assert heard(control, "subscribed")[0]["recovered"] is True
    assert [one["offset"] for one in heard(control)] == [4, 5]


def test_filters_by_symbol_and_rule() -> None:
    hub = Hub("e")
    symbols = joined(hub, Wish(symbols=frozenset({"A"})))
    rules = joined(hub, Wish(rules=frozenset({"x"})))
    none = joined(hub, Wish(alerts=False))
    for symbol, rule in (("A", "x"), ("A", "y"), ("B", "x")):
        publish(hub, symbol=symbol, rule=rule)
    assert [one["offset"] for one in heard(symbols)] == [1, 2]
    assert [one["offset"] for one in heard(rules)] == [1, 3]
    assert heard(none) == []


def test_a_users_switches_silence_and_slow_down() -> None:
    hub = Hub("e")
    switches: dict[str, RuleSwitch] = {}
    outlet = joined(hub, switches=switches)
    publish(hub, rule="x")
    switches["x"] = RuleSwitch("x", enabled=False)
    publish(hub, 2, rule="x")
    publish(hub, rule="y")
    switches["x"] = RuleSwitch("x", cooldown_ms=180_000)
    publish(hub, 7, rule="x")
    assert [one["offset"] for one in heard(outlet)] == [1, 4, 5, 8, 11]


def test_who_is_slow_gets_it_later_in_order_and_others_at_once() -> None:
    hub = Hub("e")
    quick, slow = joined(hub), joined(hub)
    slow.ready = False
    publish(hub, 3)
    assert len(heard(quick)) == 3
    assert heard(slow) == []
    slow.ready = True
    publish(hub)
    for client in hub.clients:
        client.resumed()
    assert [one["offset"] for one in heard(slow)] == [1, 2, 3, 4]


def test_who_lets_too_much_wait_is_ended() -> None:
    hub = Hub("e")
    slow = joined(hub)
    slow.ready = False
    publish(hub, MOST_WAITING)
    assert not slow.aborted
    publish(hub)
    assert slow.aborted


def test_who_takes_nothing_for_seconds_is_ended() -> None:
    hub = Hub("e")
    quick, stuck, slow = joined(hub), joined(hub), joined(hub)
    stuck.ready = slow.ready = False
    assert hub.drop_stuck(100.0) == 0
    slow.ready = True
    assert hub.drop_stuck(101.0) == 0
    slow.ready = False
    assert hub.drop_stuck(100.5 + MOST_STUCK_SECONDS) == 1
    assert (quick.aborted, stuck.aborted, slow.aborted) == (False, True, False)


def test_metrics_go_to_those_who_asked() -> None:
    hub = Hub("e")
    told = {name: orjson.dumps({"symbol": name}) for name in ("A", "B", "C")}
    every = joined(hub, Wish(metrics=True))
    some = joined(hub, Wish(metrics=True, symbols=frozenset({"B", "Z"})))
    none = joined(hub)
    assert hub.wants_metrics()
    hub.publish_metrics(told)
    assert [one["data"]["symbol"] for one in heard(every, "metrics")] == ["A", "B", "C"]
    assert [one["data"]["symbol"] for one in heard(some, "metrics")] == ["B"]
    assert heard(none, "metrics") == []


def test_prices_go_to_those_who_asked_and_can_take_them_now() -> None:
    hub = Hub("e")
    every = joined(hub, Wish(prices=True))
    some = joined(hub, Wish(prices=True, symbols=frozenset({"B", "Z"})))
    other = joined(hub, Wish(prices=True, symbols=frozenset({"Z"})))
    none = joined(hub)
    slow = joined(hub, Wish(prices=True))
    slow.ready = False
    hub.publish_prices(60_000, {"A": 1.5, "B": 2.0})
    slow.ready = True
    hub.publish_prices(61_000, {"A": 1.25})
    when = "1970-01-01T00:01:00.000Z"
    first = {"type": "prices", "timestamp": when, "data": {"A": 1.5, "B": 2.0}}
    assert heard(every, "prices")[0] == first
    assert heard(some, "prices") == [first | {"data": {"B": 2.0}}]
    assert heard(other, "prices") == heard(none, "prices") == []
    assert [one["data"] for one in heard(slow, "prices")] == [{"A": 1.25}], "the newest will do"


def test_everybody_is_asked_whether_they_live() -> None:
    hub = Hub("e")
    outlet = joined(hub)
    hub.ping()
    assert heard(outlet, "ping") == [{"type": "ping"}]


def numbered(hub: Hub, *offsets: int) -> None:
    """Alerts that a bus has numbered."""
    for offset in offsets:
        hub.publish("BTCUSDT", "r", 0, b"{}", offset=offset)


def test_who_comes_from_a_hub_that_is_ahead_hears_nothing_twice() -> None:
    hub = Hub("e", shared=True)
    numbered(hub, 5, 9)
    here, ahead, lost = (joined(hub, since=since) for since in (5, 12, 9 + MOST_AHEAD + 1))
    numbered(hub, 12, 14)
    assert [one["offset"] for one in heard(here)] == [9, 12, 14]
    assert [one["offset"] for one in heard(ahead)] == [14]
    assert [one["offset"] for one in heard(lost)] == [12, 14]
    recovered = [heard(one, "subscribed")[0]["recovered"] for one in (here, ahead, lost)]
    assert recovered == [True, True, False]


def test_what_was_kept_no_longer_when_a_hub_began_is_not_recovered() -> None:
    hub = Hub("e", shared=True)
    numbered(hub, 500, 501)
    known, before = joined(hub, since=499), joined(hub, since=498)
    assert [one["offset"] for one in heard(known)] == [500, 501]
    assert heard(before, "subscribed")[0]["recovered"] is False
    assert heard(before) == []


def test_a_hub_of_its_own_knows_no_offset_that_it_did_not_give() -> None:
    hub = Hub("e")
    publish(hub)
    assert heard(joined(hub, since=2), "subscribed")[0]["recovered"] is False
