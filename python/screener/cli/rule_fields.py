"""What a file of rules may hold: the one list for the order of keys and for the schema."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["FIELDS", "GROUPS", "ORDER", "Field", "Kind"]


class Kind(Enum):
    """What the value of a field is."""

    NAME = auto()
    TEXT = auto()
    WINDOW = auto()
    CHOICE = auto()
    CONDITION = auto()
    LENGTH = auto()
    """At most a year."""
    DAY = auto()
    """A length of at most a day."""
    MOMENT = auto()
    HOURS = auto()
    COUNT = auto()
    FLAG = auto()
    SYMBOLS = auto()
    GROUPS = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a rule, of an override of one, or of both.

    Attributes:
        name: Its key.
        kind: What its value is.
        about: What it means, for people.
        example: A value, as TOML has it.
        choices: All values of a `Kind.CHOICE`.
        default: What is taken where it is not given.
        in_rule: Whether a rule has it.
        in_override: Whether an override has it.
        required: Whether a rule must have it.
    """

    name: str
    kind: Kind
    about: str
    example: str
    choices: tuple[str, ...] = ()
    default: str | bool | None = None
    in_rule: bool = True
    in_override: bool = True
    required: bool = False


GROUPS = (
    'Lists of symbols by name, for overrides: a symbol, or a pattern such as "BTC*" '
    "(* is any characters, ? is one)."
)

# In the order they are written.
FIELDS = (
    Field(
        "symbols",
        Kind.SYMBOLS,
        'For which symbols it is otherwise; patterns such as "BTC*" do.',
        '["BTCUSDT", "ETH*"]',
        in_rule=False,
    ),
    Field(
        "groups",
        Kind.GROUPS,
        "For the symbols of which groups it is otherwise.",
        '["majors"]',
        in_rule=False,
    ),
    Field(
        "name",
        Kind.NAME,
        "What the rule is called in alerts: letters, digits, _ and -, at most 64.",
        '"waking_up"',
        in_override=False,
        required=True,
    ),
    Field(
        "title",
        Kind.TEXT,
        "What people call it; by default its name.",
        '"Waking up"',
        in_override=False,
    ),
    Field(
        "timeframe",
        Kind.WINDOW,
        "The window whose price, volume and change an alert tells: 1m to 1d.",
        '"10m"',
        in_override=False,
        required=True,
    ),
    Field(
        "direction",
        Kind.CHOICE,
        "Where the price is expected to go.",
        '"up"',
        choices=("up", "down", "flat"),
        default="flat",
        in_override=False,
    ),
    Field(
        "severity",
        Kind.CHOICE,
        "How much it matters to whoever is told.",
        '"high"',
        choices=("low", "medium", "high"),
        default="medium",
    ),
    Field(
        "cooldown",
        Kind.LENGTH,
        "Shortest time between two alerts of a symbol: a whole number and ms, s, m, h or d.",
        '"15m"',
        default="5m",
    ),
    Field(
        "when",
        Kind.CONDITION,
        "The rule itself: metrics, numbers, + - * /, comparisons, and, or, not.",
        '"change_10m >= 1 and volume_ratio_10m >= 3"',
        required=True,
    ),
    Field(
        "floor",
        Kind.CONDITION,
        "Guards of liquidity, asked as well where floors are on (--floors).",
        '"quote_volume_1h > 1e6"',
    ),
    Field(
        "hold",
        Kind.DAY,
        "So long it has to have held at the close of every minute; at most 1d.",
        '"3m"',
    ),
    Field(
        "trigger",
        Kind.CHOICE,
        "cooldown: told whenever it holds; edge: told once each time it begins to hold.",
        '"edge"',
        choices=("cooldown", "edge"),
        default="cooldown",
    ),
    Field(
        "clear_when",
        Kind.CONDITION,
        'What ends it before it can be told again; implies trigger = "edge".',
        '"change_10m < 0.5"',
    ),
    Field(
        "repeat",
        Kind.LENGTH,
        'Told again after so long if it has not ended; implies trigger = "edge".',
        '"4h"',
    ),
    Field(
        "expires",
        Kind.MOMENT,
        "Not told from this date or time on, in UTC unless an offset says otherwise.",
        "2026-12-31",
    ),
    Field(
        "quiet_hours",
        Kind.HOURS,
        "Parts of the day at which it is not told, in UTC unless an offset says otherwise.",
        '"22:00-07:00+02:00"',
    ),
    Field(
        "max_per_hour",
        Kind.COUNT,
        "Most alerts of one symbol in any hour: 1 to 60.",
        "4",
    ),
    Field("enabled", Kind.FLAG, "Whether it is judged at all.", "false", default=True),
    Field(
        "shadow",
        Kind.FLAG,
        "Whether its alerts are only kept and scored, and not delivered.",
        "true",
        default=False,
    ),
)

ORDER = {field.name: place for place, field in enumerate(FIELDS)}
