"""What alerts of overrides and of rules over all symbols tell, wherever alerts are taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

import screener
from screener.cli import main

RULES = """
[[rule]]
name = "leads"
timeframe = "5m"
direction = "up"
when = "breadth(change_5m > 0) > 0.5 and rank(change_5m) == 1 and change_5m > 0.3"

[[rule]]
name = "plain"
timeframe = "5m"
when = "change_5m > 0.5"

[[rule.override]]
symbols = ["TEACUPUSDT"]
when = "change_15m[15m] > 0.5"
"""


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_replay_writes_who_was_there_and_what_an_override_saw(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, out = tmp_path / "my.toml", tmp_path / f"o.{kind}"
    rules.write_text(RULES, encoding="utf-8")
    command = ["screener", "replay", "--demo", "--rules", str(rules), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    shown = capsys.readouterr().out
    assert "leads" in shown
    if kind == "parquet":
        frame = pl.read_parquet(out)
        rows = list(zip(frame["symbol"], frame["rule"], frame["evidence"], strict=True))
        assert len(frame["evidence"].struct.fields) == 6
    elif kind == "csv":
        frame = pl.read_csv(out)
        rows = list(
            zip(frame["symbol"], frame["rule"], map(json.loads, frame["evidence"]), strict=True)
        )
    else:
        rows = [(a["symbol"], a["rule"], a["evidence"]) for a in json.loads(out.read_text())]
    leads = [seen for _, rule, seen in rows if rule == "leads"]
    assert leads
    assert all((seen["members"], seen["absent"]) == (12, []) for seen in leads)
    own = [seen for symbol, rule, seen in rows if (symbol, rule) == ("TEACUPUSDT", "plain")]
    assert own
    assert all(seen["change_15m[15m]"] > 0.5 for seen in own)
    if kind != "parquet":
        assert all("members" not in seen for seen in own)


def test_outcomes_and_backtests_take_such_alerts() -> None:
    market, rules = screener.demo_market(), screener.RuleSet.parse(RULES)
    alerts = screener.replay(market, rules).alerts
    assert "absent" in alerts["evidence"].struct.fields
    found = screener.outcomes(alerts, market, ["5m"], rules=rules)
    assert found.height == alerts.height
    bare = alerts.drop("evidence")
    assert found.equals(screener.outcomes(bare, market, ["5m"], rules=rules))
    assert screener.scorecard(found, market).frame["rule"].n_unique() == 2
    traded, other = (screener.backtest(one, market, rules=rules) for one in (alerts, bare))
    assert traded.measures == other.measures
