"""`screener rules preview` as a user types it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import pytest

import screener
from screener.cli import main
from screener.history import Store

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_767_571_200_000  # of the made-up market
RULES = """
[[rule]]
name = "waking_up"
timeframe = "10m"
direction = "up"
when = "change_10m >= 1"
floor = "quote_volume_1h > 1e9"
"""


@dataclass(frozen=True)
class Run:
    """What a command wrote, and its exit code."""

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
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `screener rules preview` in this process, on a store of its own."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SCREENER_HISTORY", str(tmp_path / "store"))

    def call(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["screener", "rules", "preview", *map(str, arguments)])
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


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(RULES)
    return path


def test_the_table_is_the_library_s(run: Command, market: pl.DataFrame, rules: Path) -> None:
    told = run(rules, "--demo", "--last", "24h")
    expected = screener.preview(rules, market, start=START + DAY)
    assert (told.code, told.out) == (0, f"{expected}\n")
    assert told.err.startswith("read 34,560 rows of 12 symbols in ")
    assert "waking_up" in told.out
    assert re.search(
        r"^waking_up  pioneer_bull +against +\d+ of \d+ +\d+%$", told.out, re.MULTILINE
    )
    assert "\x1b" not in told.out


def test_json_holds_everything(run: Command, market: pl.DataFrame) -> None:
    told = run("futures", "--demo", "--floors", "--last", "1d", "--json").json
    expected = screener.preview("futures", market, floors=True, start=START + DAY)
    alerts = told.pop("alerts")
    assert told == expected.to_dict()
    assert [alert["id"] for alert in alerts] == expected.alerts["id"].to_list()
    assert alerts[0]["time"].startswith("2026-01-06T0")
    named = screener.RuleSet.load("futures", floors=True)[alerts[0]["rule"]].metrics
    assert list(alerts[0]["evidence"]) == named


def test_options_reach_the_preview(run: Command, market: pl.DataFrame, rules: Path) -> None:
    start, end = START + 30 * 60 * MINUTE, START + 40 * 60 * MINUTE
    told = run(
        rules, "--demo", "--json", "--start", start, "--end", end, "--against", "classic",
        "--quiet", "10m", "--storm", 2, "--gaps", "absent", "--symbols", "TEACUPUSDT, 月饼USDT",
        "--symbols", "BISCUITUSDT",
    ).json  # fmt: skip
    some = market.filter(pl.col("symbol").is_in(["TEACUPUSDT", "月饼USDT", "BISCUITUSDT"]))
    expected = screener.preview(
        rules, some, start=start, end=end, others="classic", quiet="10m", storm=2, gaps="absent"
    )
    del told["alerts"]
    assert told == expected.to_dict()
    assert told["total"] > 0
    alone = run(rules, "--demo", "--json", "--against", "none").json
    assert alone["overlap"] == []
    assert run(rules, "--demo", "--json", "--floors").json["total"] == 0


def test_the_store_is_read_with_the_day_before(
    run: Command, market: pl.DataFrame, rules: Path, tmp_path: Path
) -> None:
    Store(tmp_path / "store").merge(market)
    Store(tmp_path / "other").merge(market.filter(pl.col("symbol") == "TEACUPUSDT"))
    told = run("futures", "--last", "12h", "--json").json
    expected = screener.preview("futures", market, start=START + DAY * 3 // 2)
    alerts = told.pop("alerts")
    assert told == expected.to_dict()
    assert [alert["id"] for alert in alerts] == expected.alerts["id"].to_list()
    assert told["cold"] == 0
    ended = run(rules, "--last", "6h", "--end", "2026-01-06T12:00", "--json").json
    assert (ended["start"], ended["end"]) == (START + DAY * 5 // 4, START + DAY * 3 // 2)
    other = run(rules, "--store", tmp_path / "other", "--json").json
    assert (other["symbols"], other["candles"], other["cold"]) == (1, 2880, 1)
    later = run(rules, "--start", "2027-01-01", "--symbols", "TEACUPUSDT,月饼USDT", "--json")
    assert later.json["candles"] == 0
    assert later.err == (
        "note: no minute of the range or the day before: 2 symbols (TEACUPUSDT, 月饼USDT)\n"
    )
    wrong = run(rules, "--symbols", "TEACUPUSD")
    assert wrong.code == 1
    assert "did you mean 'TEACUPUSDT'?" in wrong.err


def test_files_that_name_no_symbol(
    run: Command, market: pl.DataFrame, rules: Path, tmp_path: Path
) -> None:
    file = tmp_path / "candles.parquet"
    market.filter(pl.col("symbol") == "TEACUPUSDT").drop("symbol", "quote_volume").write_parquet(
        file
    )
    options = ("--symbol", "CUP", "--quote-volume", "typical", "--json")
    assert {a["symbol"] for a in run(rules, file, *options).json["alerts"]} == {"CUP"}
    assert "--quote-volume typical" in run(rules, file, "--symbol", "CUP").err


def test_a_wrong_rule_is_shown_where_it_is(run: Command, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(RULES.replace("change_10m >= 1", "chnge_10m >= 1"))
    for arguments in ((path, "--demo"), ("futures", "--demo", "--against", path)):
        told = run(*arguments)
        assert (told.code, told.out) == (1, "")
        assert f"{path}:6:9: rule 'waking_up', when: " in told.err
        assert "did you mean 'change_10m'?" in told.err
        assert "read" not in told.err
    missing = run(tmp_path / "no.toml", "--demo")
    assert missing.code == 1
    assert "did you mean" in run("futurs", "--demo").err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--demo", "--last", "2w"], 2, "'2w' is no length of time"),
        (["--demo", "--last", "0h"], 2, "is no length of time"),
        (["--demo", "--quiet", "long"], 2, "'long' is no length of time"),
        (["--demo", "--storm", "0"], 2, "--storm"),
        (["--demo", "--start", "yesterday"], 2, "'yesterday' is no time"),
        (["--demo", "--start", "2026-01-06", "--last", "1h"], 2, "give no --start with it"),
        (["--demo", "--start", "2026-01-06", "--end", "2026-01-05"], 1, "the range is empty"),
        (["--demo", "--symbols", ","], 2, "--symbols names none"),
        (["--demo", "--symbols", "TEACUPUSD"], 1, "did you mean 'TEACUPUSDT'?"),
        (["x.csv", "--demo"], 2, "give files or --demo, not both"),
        (["--demo", "--store", "x"], 2, "give --demo or --store, not both"),
        (["--store", "x", "--database", "y"], 2, "give --store or --database, not both"),
        (["--symbol", "AUSDT"], 2, "--symbol is for files"),
        (["--quote-volume", "typical"], 2, "--quote-volume is for files"),
        (["nothing.csv"], 1, "nothing.csv: there is no such file"),
        ([], 1, "nothing is stored here"),
        (["--database", "no.db"], 1, "start screenerd once with this database"),
    ],
)
def test_what_is_refused(run: Command, arguments: list[str], code: int, words: str) -> None:
    told = run("futures", *arguments)
    assert (told.code, told.out) == (code, "")
    assert words in told.err
