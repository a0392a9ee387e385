"""The compiled part of the package `screener`; import its names from `screener` itself."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, final

import polars as pl
from matplotlib.figure import Figure

from screener.types import ArrowFrame, Evaluate, Gaps, Rules

__all__ = [
    "Alert",
    "Candle",
    "Clause",
    "Engine",
    "Explanation",
    "Rule",
    "RuleSet",
    "__version__",
    "archive_minutes",
    "glance",
    "parquet_bytes",
    "preset",
    "presets",
    "replay",
    "windows",
]

__version__: str

@final
class Candle:
    """One minute of one symbol.

    Nothing is checked but the types and the source; the engine that takes the candle checks the
    rest, and refuses what is not valid with a `CandleError`.

    Args:
        symbol: Not empty, without control characters, at most 64 bytes of UTF-8.
        open_time: Start of the minute, ms since the epoch, UTC: a multiple of 60,000.
        open: First price, above 0 as all prices.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Traded amount of the base asset, 0 or more.
        quote_volume: Traded amount of the quote asset, 0 or more. Where it is not known give
            ``volume * (high + low + close) / 3``.
        trades: Number of trades; `None` is unknown.
        taker_buy_volume: Part of `volume` that takers bought; `None` is unknown.
        taker_buy_quote_volume: Part of `quote_volume` that takers bought; `None` is unknown.
        closed: Whether the minute is over; an open candle is an update of the running minute.
        event_time: When the exchange made this version, ms. An open candle needs it where
            ``evaluate="update"``.
        source: Where it comes from. Of two versions of a closed minute the higher ranked one
            stays: archive > rest > stream > synthetic. A synthetic candle says that the source
            has none for this minute.

    Raises:
        CandleError: The source is none of the four.

    Example:
        >>> from screener import Candle
        >>> Candle("BTCUSDT", 1_738_368_000_000, 100.0, 101.0, 99.5, 100.5, 2.0, 200.9).close_time
        1738368060000
    """

    def __new__(
        cls,
        symbol: str,
        open_time: int,
        open: float,  # noqa: A002 - the name it has everywhere
        high: float,
        low: float,
        close: float,
        volume: float,
        quote_volume: float,
        *,
        trades: float | None = None,
        taker_buy_volume: float | None = None,
        taker_buy_quote_volume: float | None = None,
        closed: bool = True,
        event_time: int | None = None,
        source: Literal["stream", "rest", "archive", "synthetic"] = "stream",
    ) -> Candle: ...
    @property
    def symbol(self) -> str:
        """The symbol."""
    @property
    def open_time(self) -> int:
        """Start of the minute, ms since the epoch, UTC."""
    @property
    def close_time(self) -> int:
        """End of the minute (start of the next), ms since the epoch, UTC."""
    @property
    def open(self) -> float:
        """First price."""
    @property
    def high(self) -> float:
        """Highest price."""
    @property
    def low(self) -> float:
        """Lowest price."""
    @property
    def close(self) -> float:
        """Last price."""
    @property
    def volume(self) -> float:
        """Traded amount of the base asset."""
    @property
    def quote_volume(self) -> float:
        """Traded amount of the quote asset."""
    @property
    def trades(self) -> float | None:
        """Number of trades, if known."""
    @property
    def taker_buy_volume(self) -> float | None:
        """Base volume bought by takers, if known."""
    @property
    def taker_buy_quote_volume(self) -> float | None:
        """Quote volume bought by takers, if known."""
    @property
    def closed(self) -> bool:
        """Whether the minute is over."""
    @property
    def event_time(self) -> int | None:
        """When the exchange made this version, ms since the epoch, UTC, if known."""
    @property
    def source(self) -> Literal["stream", "rest", "archive", "synthetic"]:
        """Where it comes from."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Alert:
    """A rule that held for a symbol, and the values it held by. Engines make them."""

    @property
    def id(self) -> str:
        """UUIDv5 of exchange, symbol, rule and `triggered_at`: the same in a replay."""
    @property
    def triggered_at(self) -> int:
        """Close of the judged candle, or the time of the update; ms since the epoch, UTC."""
    @property
    def exchange(self) -> str:
        """The exchange the engine was made for."""
    @property
    def symbol(self) -> str:
        """The symbol."""
    @property
    def rule(self) -> str:
        """Name of the rule; ``engine.rules[alert.rule]`` is the rule itself."""
    @property
    def timeframe(self) -> str:
        """The rule's window, such as ``"5m"``."""
    @property
    def price(self) -> float:
        """Last close."""
    @property
    def quote_volume(self) -> float | None:
        """Traded amount of the quote asset over the timeframe."""
    @property
    def change(self) -> float | None:
        """Change of price over the timeframe in %."""
    @property
    def vcp(self) -> float | None:
        """Volume-weighted position of the close in the range of the timeframe, about -1 to 1."""
    @property
    def state(self) -> Literal["confirmed", "provisional", "withdrawn"]:
        """Only ``evaluate="update"`` gives others than ``"confirmed"``.

        A provisional alert comes once more under its id when its minute closes: confirmed, or
        withdrawn.
        """
    @property
    def rule_version(self) -> str:
        """`Rule.version` of the rule it was judged by."""
    @property
    def evidence(self) -> dict[str, float | None]:
        """All that the rule names, with its value: what `RuleSet.explain` takes.

        For a rule that asks something of all symbols also ``members``: how many there were.
        """
    @property
    def absent(self) -> list[str]:
        """For a rule that asks something of all symbols: those not in time for the minute."""
    def to_dict(self) -> dict[str, object]:
        """All fields by name, in the order of a replay's columns."""
    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Engine:
    """Screens any number of symbols, minute by minute, with one set of rules.

    It holds the newest 1440 minutes of every symbol, at most 160 KB each, and may be shared by
    threads: calls take turns, and those on a frame let go of the interpreter lock.

    Args:
        rules: A `RuleSet`, a preset's name, or the path of a ``.toml`` file; `None` is
            ``"futures"``.
        floors: Whether the rules' floors are on, where `rules` is a name or a path.
        evaluate: ``"close"`` judges closed minutes, ``"update"`` every update of the running
            minute too.
        exchange: Part of every alert's id.
        gaps: ``"pending"``: rules over a missing minute do not hold. ``"absent"``: they may.
        windows: Windows to follow besides 5m 15m 1h 4h 8h 1d and those the rules name: names
            such as ``"10m"``, or minutes, 1 to 1440.

    Raises:
        RuleError: The rules cannot be loaded.
        ValueError: Another argument is none of what it can be.

    Example:
        >>> from screener import Engine, demo_market
        >>> engine = Engine(floors=True)
        >>> alerts = engine.update_many(demo_market())
        >>> alerts[0].symbol, alerts[0].rule
        ('NARWHALUSDT', 'big_bull_60m')
    """

    def __new__(
        cls,
        rules: Rules | None = None,
        *,
        floors: bool = False,
        evaluate: Evaluate = "close",
        exchange: str = "binance",
        gaps: Gaps = "pending",
        windows: Iterable[str | int] | str | int | None = None,
    ) -> Engine: ...
    def update(self, candle: Candle | Mapping[str, object]) -> list[Alert]:
        """Take one candle and judge the rules.

        The next minute of a symbol costs about a microsecond. Minutes missing before it are
        filled. An older minute that differs is a correction, at about 0.2 ms.

        Args:
            candle: A `Candle`, or a mapping with the names of its arguments. Of a mapping other
                keys are ignored, and `None` is as good as absent.

        Returns:
            The alerts it raised, ordered by ``triggered_at``, ``symbol``, ``rule``; mostly none.

        Raises:
            CandleError: It is not valid; nothing has changed.
        """
    def update_many(self, frame: ArrowFrame) -> list[Alert]:
        """Take the rows of a frame in their order, as `update` would, symbols in parallel.

        Args:
            frame: Columns as the arguments of `Candle`: the first eight are needed, the others
                may be absent or null, unknown ones are ignored. ``open_time`` and
                ``event_time`` are int64 ms, or timestamps.

        Returns:
            The alerts, ordered by ``triggered_at``, ``symbol`` and rule.

        Raises:
            CandleError: For the first row that is not valid; nothing has changed.
            DataError: A column is missing or of a wrong type; nothing has changed.
        """
    def warm_up(self, frame: ArrowFrame) -> None:
        """Take the rows of a frame by time, whatever their order, and raise no alert.

        Args:
            frame: As in `update_many`.

        Raises:
            CandleError: For the first row that is not valid; nothing has changed.
            DataError: A column is missing or of a wrong type; nothing has changed.
        """
    def warm_up_bars(self, frame: ArrowFrame, timeframe: str) -> None:
        """Take closed bars older than the minutes, for indicators that look back for weeks.

        Args:
            frame: Columns ``symbol``, ``open_time`` and ``close``; others are ignored. Of every
                symbol at least 34 bars make all indicators ready.
            timeframe: Their length: 5m, 15m, 1h, 4h, 8h or 1d.

        Raises:
            CandleError: For the first row that is not valid, or opens at no multiple of the
                length; nothing has changed.
            DataError: A column is missing or of a wrong type; nothing has changed.
            ValueError: The timeframe is none of the six.
        """
    def advance(self, now: int) -> list[Alert]:
        """Judge rules that ask something of all symbols, of minutes whose time is up.

        Such a minute is judged once, when every symbol has closed it, or 5 s after its end. Candles
        that arrive later tell that the time is up; call this where none may come for a while.

        Args:
            now: Ms since the epoch.

        Returns:
            The alerts, ordered as those of `update_many`; none when no rule asks that.
        """
    def restore_alerts(self, frame: ArrowFrame) -> None:
        """Restore cooldowns from alerts already raised, after a restart.

        Args:
            frame: Columns ``symbol``, ``rule`` (or ``alert_type``) and ``triggered_at``, with
                ``state`` where there are provisional ones. `Replay.alerts` has them.

        Raises:
            CandleError: For the first row that is no alert; nothing has changed.
            DataError: A column is missing or of a wrong type; nothing has changed.
        """
    def set_rules(self, rules: Rules, *, floors: bool = False) -> None:
        """Take other rules.

        Windows stay warm, and rules that keep their name keep their cooldowns.

        Args:
            rules: As for a new engine.
            floors: As for a new engine.

        Raises:
            RuleError: The rules cannot be loaded; the old ones stay.
        """
    def remove(self, symbol: str) -> bool:
        """Forget a symbol and give its memory back; whether it was there."""
    def set_market_cap(self, symbol: str, value: float | None) -> None:
        """Set the metric ``market_cap`` of a symbol, which need not have candles yet.

        Args:
            symbol: The symbol.
            value: 0 or more, in any unit your rules are written in; `None` takes it away.

        Raises:
            CandleError: The symbol is no name of one.
            DataError: The value is negative or not finite.
        """
    def metrics(self, symbol: str) -> Mapping[str, float | None]:
        """Every metric of a symbol at its newest minute, by name; `None` while it is not ready.

        Takes some 30 µs. The mapping is read-only and a copy: later candles do not change it.

        Raises:
            UnknownSymbolError: The symbol has no candle.
        """
    def snapshot(self) -> pl.DataFrame:
        """All metrics of all symbols: one row a symbol, sorted.

        Columns are ``symbol``, ``open_time`` (of its newest minute, int64 ms) and one a metric,
        null while it is not ready.
        """
    def candles(self, symbol: str, n: int | None = None) -> pl.DataFrame:
        """The newest minutes of a symbol, oldest first, filled ones among them.

        Args:
            symbol: The symbol.
            n: How many at most, 0 or more; all by default.

        Returns:
            Columns as the arguments of `Candle`, then ``synthetic`` (filled, or absent at the
            source) and ``pending`` (filled, and may still come).

        Raises:
            UnknownSymbolError: The symbol has no candle.
        """
    @property
    def symbols(self) -> list[str]:
        """The symbols that have candles, sorted."""
    @property
    def stats(self) -> dict[str, int]:
        """What the candles taken so far were counted as.

        Each candle is one of ``appended``, ``updated``, ``duplicate``, ``corrected``,
        ``outranked``, ``stale`` and ``too_old``. ``filled`` counts minutes that were missing,
        ``restarted`` fresh starts after more than a day was.
        """
    @property
    def rules(self) -> RuleSet:
        """The rules it judges."""
    @property
    def windows(self) -> list[str]:
        """The windows it follows, shortest first."""
    def save(self) -> bytes:
        """The whole state: candles, bars, cooldowns, rules and options; about 100 KB a symbol."""
    @staticmethod
    def load(blob: bytes) -> Engine:
        """The engine that was saved; it goes on exactly as that one would have.

        Raises:
            StateError: The blob is damaged, foreign, or of a version that is not read.
        """
    def plot(
        self,
        symbol: str,
        alerts: ArrowFrame | Iterable[Alert] | None = None,
        *,
        minutes: int | None = None,
        bar: str | None = None,
    ) -> Figure:
        """Draw the minutes it holds of a symbol: candles, volume and, given them, alerts.

        Args:
            symbol: The symbol.
            alerts: What `update` or `update_many` gave, or a frame as `Replay.alerts`; those of
                other symbols are left out. The engine keeps none itself.
            minutes: How many of the newest minutes, at least 1; all by default.
            bar: The length of a candle, such as ``"15m"``; by default the shortest of at most
                240.

        Returns:
            A matplotlib figure, as `screener.plot_alerts` tells it.

        Raises:
            DataError: matplotlib is not installed (``pip install 'screener[plot]'``), or the
                alerts, the minutes or the bar cannot be used.
            UnknownSymbolError: The symbol has no candle.
        """

@final
class RuleSet:
    """Rules that are judged together, in their order. Iterate for each `Rule`.

    Example:
        >>> from screener import RuleSet
        >>> rules = RuleSet.parse('''
        ...     [[rule]]
        ...     name = "jump"
        ...     timeframe = "5m"
        ...     when = "change_5m >= 3 and quote_volume_5m > 1e6"
        ... ''')
        >>> rules.evaluate({"change_5m": 3.2, "quote_volume_5m": 2.5e6})
        ['jump']
    """

    @staticmethod
    def load(rules: str | os.PathLike[str], *, floors: bool = False) -> RuleSet:
        """The rules of a preset or of a file.

        Args:
            rules: ``"futures"``, ``"classic"``, or a path that ends with ``.toml``.
            floors: Whether floors are on.

        Raises:
            RuleError: There is no such preset or file, or its text is wrong; with the line, the
                column and a suggestion.
        """
    @staticmethod
    def parse(text: str, *, floors: bool = False) -> RuleSet:
        """The rules of a TOML text.

        Args:
            text: A ``[[rule]]`` for each, with ``name``, ``timeframe``, ``when`` and, if wanted,
                ``title``, ``floor``, ``cooldown`` ("5m"), ``severity`` (low, medium, high),
                ``direction`` (up, down, flat), ``hold``, ``trigger`` (cooldown, edge),
                ``clear_when``, ``repeat``, ``expires``, ``quiet_hours``, ``max_per_hour``,
                ``enabled``, ``shadow`` and ``[[rule.override]]``.
            floors: Whether floors are on.

        Raises:
            RuleError: The text is wrong; with the line, the column and a suggestion.
        """
    @property
    def floors(self) -> bool:
        """Whether floors are on."""
    @property
    def names(self) -> list[str]:
        """The rules' names, in their order."""
    def evaluate(
        self, metrics: Mapping[str, float | None], *, symbol: str | None = None
    ) -> list[str]:
        """The names of the rules that hold.

        Args:
            metrics: Names and values, such as `Engine.metrics` gives. A metric that is absent or
                `None` is not ready; names that are no metrics are ignored. Pending minutes and
                cooldowns are the engine's to know, and play no part here.
            symbol: Whose rules, where there are overrides.

        Raises:
            DataError: This is no mapping, or a value is no number.
        """
    def explain(
        self, rule: str, metrics: Mapping[str, float | None], *, symbol: str | None = None
    ) -> Explanation:
        """Why a rule holds or does not.

        Args:
            rule: Its name.
            metrics: As in `evaluate`; an alert's evidence will do.
            symbol: For whom, where there are overrides.

        Raises:
            DataError: The metrics are no mapping, or a value is no number.
            RuleError: There is no such rule.
        """
    def to_toml(self) -> str:
        """The rules as TOML, canonical; `parse` reads it."""
    def _repr_html_(self) -> str: ...
    def __getitem__(self, name: str, /) -> Rule: ...
    def __contains__(self, name: str, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Rule]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Rule:
    """One rule of a set."""

    @property
    def name(self) -> str:
        """What it is called in alerts."""
    @property
    def title(self) -> str:
        """What people call it."""
    @property
    def timeframe(self) -> str:
        """The window whose change, volume and position an alert tells."""
    @property
    def when(self) -> str:
        """The rule itself, canonical."""
    @property
    def floor(self) -> str | None:
        """Guards of liquidity and over-extension, canonical, whether or not they are on."""
    @property
    def cooldown(self) -> int:
        """Shortest time between two alerts of a symbol, ms."""
    @property
    def hold(self) -> int:
        """So long it has to have held, at the close of every minute, ms; 0 for not at all."""
    @property
    def trigger(self) -> str:
        """``cooldown``: told whenever it holds; ``edge``: once each time it begins to hold."""
    @property
    def clear_when(self) -> str | None:
        """With an edge: what ends it, canonical; `None`: that the rule does not hold."""
    @property
    def repeat(self) -> int | None:
        """With an edge: told again after so long if it has not ended, ms."""
    @property
    def expires(self) -> int | None:
        """Not told from this time on, ms since the epoch."""
    @property
    def quiet_hours(self) -> list[str]:
        """Parts of the day at which it is not told, such as ``22:00-07:00`` (UTC)."""
    @property
    def max_per_hour(self) -> int | None:
        """Most alerts of one symbol in any hour."""
    @property
    def enabled(self) -> bool:
        """Whether it is judged at all."""
    @property
    def shadow(self) -> bool:
        """Whether its alerts are only kept and scored, and not delivered."""
    @property
    def among_all(self) -> bool:
        """Whether it asks something of all symbols, as ``rank`` or ``breadth`` do."""
    @property
    def overrides(self) -> list[tuple[list[str], Rule]]:
        """For which symbols, as patterns, it is another rule; the last that matches counts."""
    def for_symbol(self, symbol: str) -> Rule:
        """The rule as it is for a symbol."""
    @property
    def severity(self) -> Literal["low", "medium", "high"]:
        """How much it matters."""
    @property
    def direction(self) -> Literal["up", "down", "flat"]:
        """Where the price is expected to go."""
    @property
    def metrics(self) -> list[str]:
        """Every metric that is read, each once; those of the floor only where it is on."""
    @property
    def version(self) -> str:
        """Changes with the name, the rule, its cooldown, and its floor where it is on."""
    def to_toml(self) -> str:
        """The rule as TOML that reads back to the same."""
    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Explanation:
    """A rule's truth table; `print` it."""

    @property
    def rule(self) -> str:
        """The rule's name."""
    @property
    def holds(self) -> bool:
        """Whether the rule holds."""
    @property
    def clauses(self) -> list[Clause]:
        """The conditions that must all hold, those of `Rule.when` first."""
    @property
    def not_ready(self) -> list[str]:
        """Metrics the rule needs and that are not ready."""
    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Clause:
    """One of the conditions of a rule, with its values."""

    @property
    def text(self) -> str:
        """The condition, canonical."""
    @property
    def part(self) -> Literal["when", "floor"]:
        """Which part of the rule it belongs to."""
    @property
    def left(self) -> float | None:
        """Left value of a comparison; `None` when it is not ready."""
    @property
    def operator(self) -> str | None:
        """Operator of a comparison; `None` for any other condition."""
    @property
    def right(self) -> float | None:
        """Right value of a comparison; `None` when it is not ready."""
    @property
    def held(self) -> bool | None:
        """Whether it holds; `None` when that cannot be said."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

def presets() -> list[str]:
    """The names of the rule sets that come with the package, the default first."""

def preset(name: str) -> str:
    """The TOML text of a preset, with its comments.

    Raises:
        RuleError: There is no such preset.
    """

def replay(
    frame: ArrowFrame,
    rules: Rules,
    *,
    floors: bool,
    evaluate: Evaluate,
    exchange: str,
    gaps: Gaps,
    start: int | None,
) -> tuple[ArrowFrame, dict[str, int]]:
    """The alerts as a table, and the counters: `screener.replay` without its comforts."""

def windows(frame: ArrowFrame, metrics: Sequence[str] | None, *, gaps: Gaps) -> ArrowFrame:
    """Every minute's metrics as a table: `screener.windows` without its comforts."""

def archive_minutes(text: bytes | bytearray, skip: int) -> pl.DataFrame | None:
    """The minutes of an archive file's CSV, from byte `skip` on: what follows its header.

    Returns:
        `open_time` (ms), the numbers of a minute; `None` for a text that is not in every line as
        the archive's are, which a slower reader has to judge.
    """

def parquet_bytes(frame: ArrowFrame, metadata: Sequence[tuple[str, str]]) -> bytes:
    """A frame as a Parquet file, compressed with Zstandard, with keys and values of its own.

    Raises:
        DataError: The frame has a column of a type that Parquet does not have.
    """

def glance(
    frame: ArrowFrame, step: float, spread: float, volume: float
) -> tuple[bool, bool, bool, int]:
    """One look at the candles of one symbol; what it doubts need not be wrong.

    Args:
        frame: The columns `open_time` (int64 ms), `open`, `high`, `low`, `close`, `volume`, and
            what there is of the others.
        step: The largest usual |open / close before - 1|.
        spread: The largest usual high / low - 1.
        volume: The largest usual volume.

    Returns:
        Whether each row is a minute after the one before it; whether none breaks SPEC section 1;
        whether none is beyond what is usual; how many have no volume.

    Raises:
        DataError: A column is missing or holds no numbers.
    """
