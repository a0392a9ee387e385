"""The command `screener`: what it prints, writes and refuses."""

from __future__ import annotations

import errno
import io
import json
import math
import operator
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

import screener
from screener._core import presets
from screener.cli import main
from screener.cli.alerts import Replayed, print_replayed
from screener.cli.explain import explain
from screener.cli.inputs import as_options
from screener.cli.output import print_table, said, short, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE = 60_000
START = 1_767_571_200_000  # of the made-up market
COMMAND = [sys.executable, "-c", "from screener.cli import main; main()"]
FUTURES = screener.RuleSet.load("futures", floors=True)
COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Run:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Command: TypeAlias = "Callable[..., Run]"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `screener` with these arguments in this process."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["screener", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Run(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return screener.demo_market()


@pytest.fixture(scope="module")
def replayed(market: pl.DataFrame) -> screener.Replay:
    """The made-up market through the library."""
    return screener.replay(market, FUTURES)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[pl.DataFrame], Path]:
    def write(frame: pl.DataFrame, name: str = "candles.parquet") -> Path:
        frame.write_parquet(tmp_path / name)
        return tmp_path / name

    return write


def told_counts(text: str) -> dict[str, int]:
    """The counts of the second table."""
    table = text.split("\n\n")[-2].splitlines()
    assert table[0].split() == ["rule", "alerts", "title"]
    return {line.split()[0]: int(line.split()[1].replace(",", "")) for line in table[1:]}


def number(text: str) -> float:
    units = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def clauses(row: str) -> Iterator[tuple[float, str, float]]:
    """The values and operators of the reason at the end of a row."""
    reason = re.split(r"\s{2,}", row)[-1]
    for clause in reason.split(", "):
        left, compare, right = re.split(r" ([<>]=?) ", clause)
        yield number(left.split()[-1]), compare, number(right.split()[-1])


# -- replay: the tables --------------------------------------------------------------------------


def test_real_files_give_a_table_with_reasons_and_counts(run: Command, shared_data: Path) -> None:
    files = sorted((shared_data / "klines" / "um_full_2025-02").glob("*.parquet"))
    told = run("replay", *files, "--floors")
    assert told.code == 0
    assert told.err.startswith("read 161,280 rows of 4 symbols in ")
    assert told.err.count("\n") == 1

    expected = screener.replay(screener.read_klines(files), floors=True).alerts
    rows = told.out.splitlines()[1:21]
    columns = [re.split(r"\s{2,}", row) for row in rows]
    assert told.out.startswith("time (UTC)")
    assert [cells[1] for cells in columns] == expected["symbol"].tail(20).to_list()
    assert all(len(cells) == 7 for cells in columns)
    for row in rows:
        found = list(clauses(row))
        assert len(found) >= 5
        assert all(COMPARE[compare](left, right) for left, compare, right in found)

    counts = Counter(expected["rule"])
    assert told_counts(told.out) == {name: counts[name] for name in FUTURES.names}
    assert f"the 20 newest of {expected.height:,}: --limit 0 shows all" in told.out
    assert re.search(rf"{expected.height:,} alerts of 161,280 candles in .* candles/s", told.out)


def test_a_pattern_is_as_good_as_its_files(run: Command, shared_data: Path) -> None:
    told = run("replay", shared_data / "klines" / "um_full_2025-02" / "*.parquet", "--json")
    assert told.json["symbols"] == 4


def test_a_pipe_gets_plain_lines_however_long(run: Command, replayed: screener.Replay) -> None:
    told = run("replay", "--demo", "--floors", "--limit", 0)
    assert "\x1b" not in told.out
    assert not re.search(r" $", told.out, re.MULTILINE)
    assert len(told.out.split("\n\n")[0].splitlines()) == 1 + replayed.alerts.height + 1
    assert max(map(len, told.out.splitlines())) > 200


def test_columns_are_aligned_under_chinese_names(run: Command) -> None:
    rows = run("replay", "--demo", "--floors").out.splitlines()[1:21]
    assert any("月饼USDT" in row for row in rows)
    ends = {cell_len(row[: re.search(r"%", row).end()]) for row in rows}  # type: ignore[union-attr]
    assert len(ends) == 1


def test_all_rules_are_counted_also_those_that_never_held(run: Command) -> None:
    counts = told_counts(run("replay", "--demo", "--rules", "classic", "--limit", 1).out)
    assert list(counts) == screener.RuleSet.load("classic").names
    assert counts["bull_whale"] > 0


def test_rows_before_the_start_raise_nothing(run: Command, replayed: screener.Replay) -> None:
    start = START + 2400 * MINUTE
    later = replayed.alerts.filter(pl.col("triggered_at") > start).height
    assert 0 < later < replayed.alerts.height
    for text in ("2026-01-06T16:00", "2026-01-06 17:00+01:00", str(start)):
        assert run("replay", "--demo", "--floors", "--json", "--start", text).json["total"] == later


@pytest.mark.parametrize("text", ["yesterday", "2026", "-5", "20260106T99"])
def test_what_is_no_time_is_refused(run: Command, text: str) -> None:
    told = run("replay", "--demo", f"--start={text}")
    assert (told.code, told.out) == (2, "")
    assert "--start" in told.err
    assert "2025-02-03T02:10" in told.err


def test_the_exchange_is_part_of_the_ids(run: Command) -> None:
    alerts = run("replay", "--demo", "--json", "--exchange", "bybit").json["alerts"]
    assert {alert["exchange"] for alert in alerts} == {"bybit"}


# -- replay: JSON --------------------------------------------------------------------------------


def test_json_holds_every_alert_with_its_reason(run: Command, replayed: screener.Replay) -> None:
    told = run("replay", "--demo", "--floors", "--json").json
    assert list(told) == [
        "alerts",
        "counts",
        "total",
        "withdrawn",
        "stats",
        "candles",
        "symbols",
        "seconds",
        "candles_per_second",
        "quality",
        "hints",
    ]
    assert [alert["id"] for alert in told["alerts"]] == replayed.alerts["id"].to_list()
    assert told["counts"] == {name: n for name, n in told["counts"].items() if n > 0}
    assert sum(told["counts"].values()) == told["total"] == replayed.alerts.height
    assert (told["candles"], told["symbols"], told["withdrawn"]) == (34_560, 12, 0)
    assert told["stats"] == replayed.stats
    assert told["quality"]["clean"] is True
    for alert in told["alerts"]:
        rule = FUTURES[alert["rule"]]
        assert list(alert["evidence"]) == rule.metrics
        assert rule.name in FUTURES.evaluate(alert["evidence"])
        assert alert["title"] == rule.title
        table = FUTURES.explain(rule.name, alert["evidence"])
        assert [entry["left"] for entry in alert["reason"]] == [c.left for c in table.clauses]


def test_json_takes_a_limit(run: Command, replayed: screener.Replay) -> None:
    alerts = run("replay", "--demo", "--floors", "--json", "--limit", 3).json["alerts"]
    assert [alert["id"] for alert in alerts] == replayed.alerts["id"].tail(3).to_list()


# -- replay: updates of the running minute -------------------------------------------------------

JUMP = """
[[rule]]
name = "jump"
timeframe = "5m"
when = "change_5m >= 1"
"""


def updates() -> pl.DataFrame:
    """Ten calm minutes; then one that jumps and falls back, and one that jumps and stays."""
    versions = [(minute, 100.0, True) for minute in range(10)]
    versions += [(10, 102.0, False), (10, 100.0, True)]
    versions += [(20, 102.0, False), (20, 102.0, True)]
    times = [START + minute * MINUTE for minute, _, _ in versions]
    ends = [
        time + (MINUTE if version[2] else 7_500)
        for time, version in zip(times, versions, strict=True)
    ]
    return pl.DataFrame(
        {
            "symbol": "AUSDT",
            "open_time": times,
            "open": 100.0,
            "high": 110.0,
            "low": 90.0,
            "close": [close for _, close, _ in versions],
            "volume": 1.0,
            "quote_volume": 100.0,
            "closed": [closed for _, _, closed in versions],
            "event_time": ends,
        }
    )


def test_provisional_alerts_are_told_by_state_and_counted_once(
    run: Command, put: Callable[[pl.DataFrame], Path], tmp_path: Path
) -> None:
    rules = tmp_path / "jump.toml"
    rules.write_text(JUMP)
    command = ("replay", put(updates()), "--rules", rules, "--evaluate=update", "--gaps=absent")
    told = run(*command)
    states = [re.split(r"\s{2,}", line)[6] for line in told.out.splitlines()[1:5]]
    assert states == ["provisional", "withdrawn", "provisional", "confirmed"]
    assert "2026-01-05 00:10:07" in told.out
    assert told_counts(told.out) == {"jump": 2}
    assert "2 alerts (1 of them withdrawn) of 14 candles" in told.out
    assert run(*command, "--json").json["withdrawn"] == 1


# -- replay: files -------------------------------------------------------------------------------

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "parquet": pl.read_parquet,
    "feather": pl.read_ipc,
    "csv": pl.read_csv,
    "jsonl": pl.read_ndjson,
    "json": pl.read_json,
}


@pytest.mark.parametrize("suffix", READERS)
def test_alerts_are_written_and_read_back(
    run: Command, replayed: screener.Replay, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"alerts.{suffix}"
    told = run("replay", "--demo", "--floors", "--out", path)
    assert told.code == 0
    assert f"wrote {replayed.alerts.height:,} alerts to {path}" in told.err
    assert list(tmp_path.iterdir()) == [path]
    written = READERS[suffix](path)
    assert written.columns == replayed.alerts.columns
    plain = pl.exclude("evidence")
    assert written.select(plain).equals(replayed.alerts.select(plain))
    evidence = written["evidence"].to_list()
    if suffix == "csv":
        evidence = [json.loads(text) for text in evidence]
    for found, expected in zip(evidence, replayed.alerts["evidence"], strict=True):
        assert {k: v for k, v in found.items() if v is not None} == {
            k: v for k, v in expected.items() if v is not None
        }
    engine = screener.Engine(FUTURES)
    engine.restore_alerts(written)


def test_a_file_that_is_there_is_replaced_and_keeps_its_mode(run: Command, tmp_path: Path) -> None:
    path, link = tmp_path / "alerts.csv", tmp_path / "link.csv"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    assert run("replay", "--demo", "--out", link).code == 0
    assert path.read_text().startswith("id,triggered_at,")
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_a_full_disk_leaves_what_was_there(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alerts.csv"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    told = run("replay", "--demo", "--out", path)
    assert (told.code, told.out) == (1, "")
    assert f"error: {path}: the alerts cannot be written: No space left on device" in told.err
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told(run: Command, tmp_path: Path) -> None:
    told = run("replay", "--demo", "--out", tmp_path / "no" / "a.json")
    assert told.code == 1
    assert "No such file or directory" in told.err


def test_a_format_nobody_writes_is_refused_before_any_work(run: Command, tmp_path: Path) -> None:
    told = run("replay", "--demo", "--out", tmp_path / "a.xls")
    assert told.code == 2
    assert ".parquet" in told.err
    assert "read" not in told.err


# -- replay: what is wrong with the input --------------------------------------------------------


@pytest.mark.parametrize("command", [["replay"], ["explain", "--symbol", "A", "--rule", "flat_1m"]])
def test_without_files_it_says_what_to_give(run: Command, command: list[str]) -> None:
    told = run(*command, "--rules", "classic")
    assert (told.code, told.out) == (2, "")
    assert "give files of one-minute candles" in told.err
    assert "--demo" in told.err
    assert run(*command, "--rules", "classic", "--demo", "x.csv").code == 2


def test_a_missing_file_is_named(run: Command) -> None:
    told = run("replay", "nothing.csv")
    assert (told.code, told.out) == (1, "")
    assert told.err == "error: nothing.csv: there is no such file\ncheck the name and the folder\n"


def test_advice_is_given_as_options(run: Command, shared_data: Path) -> None:
    file = shared_data / "klines" / "um_ohlcv_2025-05" / "BTCUSDT.parquet"
    told = run("replay", file)
    assert told.code == 1
    assert "pass --quote-volume typical to fill it" in told.err
    assert run("replay", file, "--quote-volume", "typical").code == 0
    assert as_options('pass symbol="BTCUSDT", or') == "pass --symbol BTCUSDT, or"


def test_the_symbol_of_rows_that_name_none(
    run: Command, put: Callable[[pl.DataFrame], Path], market: pl.DataFrame
) -> None:
    file = put(market.filter(pl.col("symbol") == "TEACUPUSDT").drop("symbol"))
    assert "pass --symbol BTCUSDT" in run("replay", file).err
    alerts = run("replay", file, "--symbol", "TEACUPUSDT", "--json").json["alerts"]
    assert {alert["symbol"] for alert in alerts} == {"TEACUPUSDT"}
    explained = run("explain", file, "--symbol", "TEACUPUSDT", "--rule", "top_hunter", "--json")
    assert explained.json["symbol"] == "TEACUPUSDT"


def test_faults_of_the_data_are_told_beside_the_alerts(run: Command, shared_data: Path) -> None:
    files = shared_data / "klines" / "spot_dirty" / "*.parquet"
    told = run("replay", files, "--quote-volume", "typical", "--limit", 1)
    assert told.code == 0
    kinds = [line.partition(":")[0] for line in told.err.splitlines()[1:]]
    assert kinds == ["duplicates", "missing"]
    assert "pass --gaps absent if" in told.err
    assert "duplicates" not in told.out


def test_a_row_that_is_no_candle_is_refused(
    run: Command, put: Callable[[pl.DataFrame], Path], market: pl.DataFrame
) -> None:
    told = run("replay", put(market.head(100).with_columns(volume=-pl.col("volume"))))
    assert (told.code, told.out) == (1, "")
    assert "invalid: 100 rows with volume or trades below 0" in told.err
    assert "error: invalid candle at row 0, NARWHALUSDT" in told.err


def test_hints_say_why_there_is_no_alert(
    run: Command, put: Callable[[pl.DataFrame], Path], market: pl.DataFrame
) -> None:
    short_market = put(market.head(12 * 300))
    told = run("replay", short_market, "--floors")
    assert told.code == 0
    assert "6 of 10 rules lacked change_8h, change_1d, quote_volume_8h" in told.out
    assert "no symbol has more than 300 minutes" in told.out
    assert "without --floors" in told.out
    assert "screener explain" in told.out
    assert len(run("replay", short_market, "--json").json["hints"]) == 2

    holed = market.filter((pl.col("open_time") % (97 * MINUTE) != 0) & (pl.col("symbol") < "C"))
    calm = holed.with_columns(pl.col("open", "high", "low", "close").mean())
    told = run("replay", put(calm), "--start", "2027-01-01")
    assert "--start lies after the newest candle" in told.out
    assert "minutes are missing" in told.out
    assert "minutes are missing" not in run("replay", put(calm), "--gaps", "absent").out


def test_there_is_no_hint_where_there_are_alerts(run: Command) -> None:
    assert "hint" not in run("replay", "--demo").out


# -- explain -------------------------------------------------------------------------------------


def test_explain_finds_the_evidence_of_every_alert(
    market: pl.DataFrame, replayed: screener.Replay
) -> None:
    for alert in replayed.alerts.iter_rows(named=True):
        explained = explain(
            market,
            FUTURES,
            symbol=alert["symbol"],
            rule=FUTURES[alert["rule"]],
            at=alert["triggered_at"],
            gaps="pending",
        )
        assert explained.explanation.holds
        assert explained.price == alert["price"]
        assert explained.metrics == {name: alert["evidence"][name] for name in explained.metrics}


def test_explain_takes_the_time_of_the_table(run: Command) -> None:
    row = run("replay", "--demo", "--floors", "--limit", 1).out.splitlines()[1]
    time, symbol, title = re.split(r"\s{2,}", row)[:3]
    rule = next(rule.name for rule in FUTURES if rule.title == title)
    command = ("explain", "--demo", "--floors", "--symbol", symbol, "--rule", rule, "--at", time)
    told = run(*command)
    assert told.out.startswith(f"{title}, {symbol} at {time} UTC, price ")
    assert f"{rule}: holds" in told.out
    assert len(told.out.splitlines()) == 2 + len(FUTURES.explain(rule, {}).clauses)
    document = run(*command, "--json").json
    assert list(document) == [
        "symbol",
        "rule",
        "title",
        "open_time",
        "time",
        "price",
        "holds",
        "clauses",
        "not_ready",
        "distance",
        "needs",
        "told",
        "pending_minutes",
        "enabled",
        "metrics",
    ]
    assert document["time"] == f"{time.replace(' ', 'T')}:00Z"
    assert all(clause["held"] for clause in document["clauses"])


def test_explain_shows_the_newest_minute_and_what_is_not_ready(
    run: Command, put: Callable[[pl.DataFrame], Path], market: pl.DataFrame
) -> None:
    file = put(market.head(12 * 100))
    told = run("explain", file, "--symbol", "TEACUPUSDT", "--rule", "big_bull_60m")
    assert "at 2026-01-05 01:40 UTC" in told.out
    assert "does not hold" in told.out
    assert "not ready: change_8h" in told.out


def test_explain_tells_of_pending_minutes(
    run: Command, put: Callable[[pl.DataFrame], Path], market: pl.DataFrame
) -> None:
    file = put(market.filter(pl.col("open_time") != START + 2800 * MINUTE))
    command = ("explain", file, "--symbol", "TEACUPUSDT", "--rule", "top_hunter")
    assert "1 of the newest 1,440 minutes are missing" in run(*command).out
    assert "missing" not in run(*command, "--gaps", "absent").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--symbol", "TEACUPUSD"], "did you mean 'TEACUPUSDT'?"),
        (["--symbol", "teacup"], "there are 12 symbols: 1000CRUMBUSDT, "),
        (["--rule", "top_hunt"], "did you mean 'top_hunter'?"),
        (["--at", "2026-01-05"], "the first closes at 2026-01-05 00:01"),
        (["--rules", "futurs"], "did you mean 'futures'?"),
    ],
)
def test_explain_refuses_what_is_not_there(run: Command, options: list[str], words: str) -> None:
    told = run("explain", "--demo", "--symbol", "TEACUPUSDT", "--rule", "top_hunter", *options)
    assert (told.code, told.out) == (1, "")
    assert words in told.err


# -- rules ---------------------------------------------------------------------------------------


def test_all_presets_are_listed(run: Command) -> None:
    lines = run("rules", "list").out.splitlines()
    classic = screener.RuleSet.load("classic")
    everything = [name for preset in presets() for name in screener.RuleSet.load(preset).names]
    assert [line.split()[1] for line in lines[1:]] == everything
    sets = run("rules", "list", "classic", "--json").json["sets"]
    assert [entry["set"] for entry in sets] == ["classic"]
    assert [rule["name"] for rule in sets[0]["rules"]] == classic.names


@pytest.mark.parametrize("name", ["futures", "classic", "quiet"])
def test_a_preset_is_shown_as_it_is_written(run: Command, name: str) -> None:
    text = run("rules", "show", name).out
    assert screener.RuleSet.parse(text, floors=True) == screener.RuleSet.load(name, floors=True)
    assert "# " in text


@pytest.mark.parametrize("name", [*FUTURES.names, "flat_1m"])
def test_a_rule_is_shown_as_toml_that_is_the_same_rule(run: Command, name: str) -> None:
    rules = FUTURES if name in FUTURES else screener.RuleSet.load("classic", floors=True)
    shown = screener.RuleSet.parse(run("rules", "show", name).out, floors=True)
    assert [*shown] == [rules[name]]
    assert shown[name].version == rules[name].version
    (entry,) = run("rules", "show", name, "--json").json["rules"]
    assert entry["version_with_floor"] == rules[name].version


CUSTOM = """
[[rule]]
name = "月饼"
title = 'a "quoted" title'
timeframe = "10m"
cooldown = "90s"
when = "(change_10m > 1 or change_10m < -1) and 1 < range_10m < 5 and not up_streak > 3"
"""


def test_rules_of_a_file_are_shown_and_checked(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(CUSTOM, encoding="utf-8")
    mine = screener.RuleSet.parse(CUSTOM)
    for text in (run("rules", "show", file).out, run("rules", "show", "月饼", "--rules", file).out):
        assert screener.RuleSet.parse(text) == mine
    assert run("rules", "check", file).out == f"{file}: 1 rule: 月饼\n"
    document = run("rules", "check", file, "--json").json
    assert (document["valid"], document["error"]) == (True, None)
    assert [rule["name"] for rule in document["rules"]] == ["月饼"]
    other = file.rename(tmp_path / "my.rules")
    assert "ends with .toml" in run("rules", "check", other).err


def test_a_rule_that_is_not_there_has_a_suggestion(run: Command) -> None:
    told = run("rules", "show", "big_bul_60m")
    assert told.code == 1
    assert "did you mean 'big_bull_60m'?" in told.err
    assert "screener rules list" in run("rules", "show", "?").err


def test_a_fault_is_shown_where_it_stands(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    lines = CUSTOM.replace("when", "#").splitlines()
    text = "\n".join([*lines, 'when = "change_10m > 1 and chnge_5m > 0"'])
    file.write_text(text, encoding="utf-8")
    told = run("rules", "check", file)
    assert (told.code, told.out) == (1, "")
    message, excerpt, caret, advice = told.err.splitlines()
    assert message == f"{file}:8:28: rule '月饼', when: there is no metric \"chnge_5m\""
    assert excerpt == '  8 | when = "change_10m > 1 and chnge_5m > 0"'
    assert excerpt[caret.index("^") :].startswith("chnge_5m")
    assert advice == "did you mean 'change_5m'?"

    failed = run("rules", "check", file, "--json")
    assert failed.code == 1
    document = json.loads(failed.out)
    assert document["valid"] is False
    assert (document["error"]["line"], document["error"]["column"]) == (8, 28)
    assert document["error"]["suggestion"] == "change_5m"

    for command in (["replay", "--demo", "--rules", file], ["rules", "list", file]):
        told = run(*command)
        assert (told.code, told.out) == (1, "")
        assert told.err == f"error: {message}\n{excerpt}\n{caret}\n{advice}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1:1: there are no rules"),
        (b"\n\n", "there are no rules"),
        (b"[[rule", "^"),
        ("[[rule]]\nnäme = 3".encode(), ":2:2: "),
        (b"\xff\xfe", "no text in UTF-8 (byte 0)"),
    ],
)
def test_files_that_are_no_rules(run: Command, tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(content)
    told = run("rules", "check", file)
    assert told.code == 1
    assert words in told.err
    assert "nothing.toml: No such file" in run("rules", "check", "nothing.toml").err


# -- the terminal --------------------------------------------------------------------------------


def terminal(width: int) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=True, color_system=None, width=width), text


@pytest.mark.parametrize("width", [35, 40, 60, 80, 120, 160, 400])
def test_no_line_is_wider_than_the_terminal(
    market: pl.DataFrame, replayed: screener.Replay, width: int
) -> None:
    out, text = terminal(width)
    told = Replayed(FUTURES, screener.inspect_klines(market), replayed, 0.1)
    print_replayed(out, told, 0, [])
    table = text.getvalue().split("\nc = change_")[0]
    lines = [line.rstrip() for line in table.splitlines()]
    assert max(map(cell_len, lines)) <= width
    # Every clause stands in one piece.
    clause = re.compile(r"\S+ -?[\d.]+[kMBT]? [<>]=? (\S+ )?-?[\d.]+[kMBT]?,?")
    first = next(line for line in lines if re.search("[<>]", line))
    reasons = lines[lines.index(first) :]
    found = sum(len(clause.findall(line)) for line in reasons)
    expected = sum(
        len(FUTURES.explain(alert["rule"], alert["evidence"]).clauses)
        for alert in replayed.alerts.iter_rows(named=True)
    )
    assert found == expected


def test_colours_are_for_terminals_and_names_are_no_markup() -> None:
    text = io.StringIO()
    out = Console(file=text, force_terminal=True, color_system="standard", width=80)
    print_table(out, ("a", "b"), [[Text("[red]x[/red]"), Text("1", style="green")]])
    assert "[red]x[/red]" in text.getvalue()
    assert "\x1b[32m" in text.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (1.0, "1"),
        (-1.6, "-1.6"),
        (1.2345, "1.23"),
        (0.99999, "1"),
        (0.00012345, "0.000123"),
        (1.5e-9, "1.50e-09"),
        (999.6, "1000"),
        (9_999.0, "9999"),
        (12_345.0, "12.3k"),
        (500e3, "500k"),
        (5e6, "5M"),
        (36_254_516.1, "36.3M"),
        (2.5e9, "2.5B"),
        (-1e12, "-1T"),
        (math.inf, "inf"),
    ],
)
def test_short_numbers(value: float | None, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(69500.7, "69500.7"), (1.11e-6, "0.00000111"), (100.0, "100"), (1e22, "1" + "0" * 22)],
)
def test_prices_have_all_their_digits(value: float, text: str) -> None:
    assert whole(value) == text


NUMBERS = st.floats(1e-9, 1e15) | st.floats(-1e15, -1e-9) | st.just(0.0)


@given(left=NUMBERS, right=NUMBERS)
def test_two_numbers_that_differ_look_different(left: float, right: float) -> None:
    texts = said(left, right)
    assert (texts[0] == texts[1]) == (left == right)
    for value, text in zip((left, right), texts, strict=True):
        assert number(text) == pytest.approx(value, rel=6e-3)


# -- the process ---------------------------------------------------------------------------------


def test_version_and_help(run: Command) -> None:
    assert run("--version").out == f"screener {screener.__version__}\n"
    for command in (["--help"], ["replay", "--help"], ["explain", "--help"], ["rules", "--help"]):
        told = run(*command)
        assert told.code == 0
        assert "Usage: screener" in told.out


@pytest.mark.parametrize(
    "arguments", [["replay", "--demo", "--limit", "-1"], ["nothing"], ["replay", "--evaluate=now"]]
)
def test_wrong_usage_exits_with_2(run: Command, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_ctrl_c_is_quiet(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("screener.cli.inputs.demo_market", interrupted)
    assert run("replay", "--demo") == Run(130, "", "")


def test_a_pipe_that_is_closed_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ended = subprocess.run(
            [*COMMAND, "rules", "show", "futures"], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["rules", "list"], ["rules", "list", "--json"]])
def test_output_that_cannot_be_written_is_told(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == b"error: the output cannot be written: No space left on device\n"


def test_the_library_is_free_of_the_command() -> None:
    code = "import sys, screener; print(*({'polars', 'typer', 'rich'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"
