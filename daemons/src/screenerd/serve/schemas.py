"""What is asked and what is answered, as models: they check requests and make the document."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from screenerd.model import ServiceState, State
from screenerd.store.port import Settings

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+ -]\d\d:\d\d)?", re.ASCII
)
_LEAP = 60


def _moment(value: object) -> int:
    """ISO 8601 as ms since the epoch; without an offset it is UTC."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a time: write 2026-01-31T12:00:00Z")
    *numbers, fraction, offset = found.groups()
    year, month, day, hour, minute, second = (int(number) for number in numbers)
    # A leap second is the last of its minute; a + in a query may have become a space.
    whole = datetime(max(year, 1), month, day, hour, minute, min(second, _LEAP - 1), tzinfo=UTC)
    if second > _LEAP:
        raise ValueError("a minute has no such second")
    ms = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return ms + int(float(fraction or 0) * 1000) - _offset_ms(offset)


def _offset_ms(offset: str | None) -> int:
    if offset is None or offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset from UTC")
    ms = (hours * 60 + minutes) * 60_000
    return -ms if offset[0] == "-" else ms


def _whole(value: object) -> object:
    """JSON knows one kind of number: 5.0 is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}),
]
Cooldown = Annotated[int, Field(ge=1, le=86_400), BeforeValidator(_whole)]
SymbolName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
RuleName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
DISCORD_WEBHOOK = (
    r"^https://(discord|discordapp)\.com/api/webhooks/[0-9]{1,20}/[A-Za-z0-9_\-]{1,200}$"
)
"""Where a user may be told: nowhere else, so that nobody makes the server call what it likes."""

Interval = Literal["1m", "5m", "15m", "1h", "4h", "8h", "1d"]
Iso = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Number = float | None


class Asked(BaseModel):
    """A request's part: what it does not know is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AlertsQuery(Asked):
    """Which alerts."""

    symbol: SymbolName | None = None
    type: RuleName | None = None
    since: Moment | None = None
    shadow: bool = False
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


class ScorecardQuery(Asked):
    """Which alerts are counted."""

    type: RuleName | None = None
    since: Moment | None = None


class CandlesQuery(Asked):
    """Which candles; without `start` the newest."""

    symbol: SymbolName
    interval: Interval = "1m"
    start: Moment | None = None
    end: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=1500)] = 500


class ExplainQuery(Asked):
    """Which rule, and of which symbol."""

    symbol: SymbolName
    rule: RuleName


class RuleChange(Asked):
    """What is to be changed of a rule; a cooldown of `null` is the rule's own again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    enabled: bool | None = None
    cooldown_seconds: Cooldown | None = None


class SettingsChange(Asked):
    """What a user chooses; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    selected_alerts: Annotated[list[RuleName], Field(max_length=200)] | None = None
    webhook_url: Annotated[str, StringConstraints(pattern=DISCORD_WEBHOOK)] | None = None
    notification_enabled: bool | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """The settings with what was given."""
        given = self.model_fields_set
        selected = self.selected_alerts
        return Settings(
            selected_alerts=tuple(selected) if selected is not None else settings.selected_alerts,
            webhook_url=self.webhook_url if "webhook_url" in given else settings.webhook_url,
            notification_enabled=(
                settings.notification_enabled
                if self.notification_enabled is None
                else self.notification_enabled
            ),
        )


class Told(BaseModel):
    """An answer's part; for the document only."""

    model_config = ConfigDict(extra="forbid")


class ErrorAnswer(Told):
    """What went wrong: a code for programs, a text for people, and the field it lies in."""

    error: str
    message: str
    field: str | None = None


class Services(Told):
    """What each part is doing."""

    data_collector: ServiceState
    metrics_calculator: ServiceState
    alert_engine: ServiceState
    database: ServiceState
    nats: ServiceState


class TroubleAnswer(Told):
    """Something that is not well."""

    where: str
    told: str
    remedy: str


class Latency(Told):
    """From a closing frame's receipt to its alert, ms, over the newest alerts."""

    p50: Number
    p99: Number


class HealthDetails(Told):
    """More of the same, for people."""

    state: State
    troubles: list[TroubleAnswer]
    behind_seconds: Number
    symbols: int
    warmed: int
    latency_ms: Latency
    clients: int
    speed: float
    now: Iso


class HealthAnswer(Told):
    """Healthy means that data is fresh."""

    status: Literal["healthy", "degraded", "unhealthy"]
    services: Services
    timestamp: Iso
    details: HealthDetails


class ProbeAnswer(Told):
    """Whether the process lives, or is ready."""

    status: Literal["ok", "unavailable"]


class SymbolAnswer(Told):
    """One symbol, and how fresh it is."""

    symbol: str
    exchange: str
    last_close: Iso | None
    warm: bool
    missing: int


class SymbolsAnswer(Told):
    """Every symbol that is followed."""

    symbols: list[SymbolAnswer]


class Clause(Told):
    """One condition of a rule, with its two values."""

    clause: str
    left: Number
    right: Number


class Stamps(Told):
    """When the alert passed each station."""

    exchange_close: Iso
    exchange_event: Iso | None
    received: Iso
    decided: Iso
    stored: Iso | None
    sent: Iso | None


class AlertMetadata(Told):
    """What else is known of an alert."""

    title: str
    direction: str
    vcp: Number
    evidence: dict[str, Number]
    reason: list[Clause] | None
    stamps: Stamps


class AlertAnswer(Told):
    """An alert."""

    id: str
    triggered_at: Iso
    exchange: str
    symbol: str
    alert_type: str
    timeframe: str
    price: float
    volume: Number
    change_pct: Number
    state: Literal["confirmed", "provisional", "withdrawn"]
    rule_version: str
    shadow: bool
    metadata: AlertMetadata


class AlertsAnswer(Told):
    """A page of alerts, newest first."""

    alerts: list[AlertAnswer]
    total: int
    limit: int
    offset: int


class Timeframe(Told):
    """The metrics of one window; null while one is not ready."""

    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    quote_volume: Number
    change_pct: Number
    vwap: Number
    vcp: Number
    volume_ratio: Number
    rsi_14: Number
    macd: Number
    macd_signal: Number
    bb_upper: Number
    bb_middle: Number
    bb_lower: Number
    fib_r3: Number
    fib_r2: Number
    fib_r1: Number
    fib_pivot: Number
    fib_s1: Number
    fib_s2: Number
    fib_s3: Number


class MetricsAnswer(Told):
    """The metrics of a symbol at its newest minute."""

    symbol: str
    timestamp: Iso
    price: Number
    timeframes: dict[str, Timeframe]


class SparklinesAnswer(Told):
    """The newest closes of every symbol, oldest first."""

    minutes: int
    symbols: dict[str, list[float]]


class CandleAnswer(Told):
    """A candle."""

    open_time: Iso
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: Number
    taker_buy_volume: Number
    taker_buy_quote_volume: Number
    source: str
    synthetic: bool


class CandlesAnswer(Told):
    """Candles, oldest first; `next` is the `start` of the page after this one."""

    symbol: str
    interval: Interval
    candles: list[CandleAnswer]
    next: Iso | None


class RuleAnswer(Told):
    """A rule, as it is for the caller."""

    name: str
    title: str
    timeframe: str
    direction: str
    when: str
    floor: str | None
    cooldown_seconds: float
    enabled: bool
    shadow: bool
    version: str


class RulesFaultAnswer(Told):
    """Why a file of rules is not in force as it is now: the rules are those before."""

    file: str
    message: str
    line: int | None
    column: int | None
    since: Iso


class RulesAnswer(Told):
    """Every rule; since when they are in force; what keeps their files from it, if anything."""

    rules: list[RuleAnswer]
    loaded_at: Iso
    fault: RulesFaultAnswer | None


class HorizonAnswer(Told):
    """How a rule did over a horizon; returns are with the alert's sign, in %."""

    n: int
    missing: int
    hit_rate: Number
    mean: Number
    median: Number
    profit_factor: Number
    mfe: Number
    mae: Number


class ScoreAnswer(Told):
    """How a rule did; `title`, `direction` and `shadow` are null for one that is not in force."""

    rule: str
    title: str | None
    direction: str | None
    shadow: bool | None
    alerts: int
    versions: int
    horizons: dict[str, HorizonAnswer]


class ScorecardAnswer(Told):
    """Every rule, those in force first; when the oldest and the newest scored alert was."""

    horizons: list[str]
    first: Iso | None
    last: Iso | None
    rules: list[ScoreAnswer]


class MarginAnswer(Told):
    """One condition of a rule, and how far it is from the point where it begins to hold.

    `margin` is in the unit of the two values, `share` that of the larger of them: positive where
    it holds, negative where it fails.
    """

    clause: str
    part: Literal["when", "floor"]
    left: Number
    operator: Literal["<", "<=", ">", ">=", "==", "!="] | None
    right: Number
    held: bool | None
    margin: Number
    share: Number


class NeedAnswer(Told):
    """A metric, and the value at which what fails would hold."""

    metric: str
    value: float
    needed: float


class ExplainAnswer(Told):
    """What a rule sees of a symbol at its newest minute; `told` is the nearest miss in words."""

    symbol: str
    timestamp: Iso
    price: Number
    title: str
    version: str
    rule: str
    holds: bool
    clauses: list[MarginAnswer]
    not_ready: list[str]
    distance: Number
    needs: list[NeedAnswer]
    told: str


class SettingsAnswer(Told):
    """What the caller has chosen."""

    selected_alerts: list[str]
    webhook_url: str | None
    notification_enabled: bool


def schema_of(model: Any) -> dict[str, Any]:
    """A model's JSON schema, with what it refers to under `$defs`."""
    schema: dict[str, Any] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return schema
