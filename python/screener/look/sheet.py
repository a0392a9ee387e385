"""What figures have in common: paper, colours, fonts that have the characters, an axis of time.

Nothing global is changed: no pyplot, no rcParams, so that a notebook's own style is kept.
"""

from __future__ import annotations

import io
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib import dates, font_manager, ticker
from matplotlib.figure import Figure as Paper
from matplotlib.font_manager import FontProperties
from matplotlib.transforms import offset_copy
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform
    from numpy.typing import NDArray

__all__ = [
    "DOWN",
    "FLAT",
    "MUTED",
    "UP",
    "Figure",
    "Steps",
    "days",
    "key",
    "lettered",
    "name_lines",
    "quiet",
    "raised",
    "short",
    "time_axis",
    "title",
]

# Okabe and Ito's colours, which people who are colour-blind tell apart.
UP: Final = "#0072B2"
DOWN: Final = "#D55E00"
FLAT: Final = "#CC79A7"
MUTED: Final = "#8A8A8A"

_DPI: Final = 100
_COLOURS: Final = 128
"""Of a picture: a dozen, and their shades where lines meet paper."""
_LONGEST: Final = 24
"""Characters of a name, so that names leave room for what they name."""
# Of the usual systems, with Chinese, Japanese and Korean characters, which the usual font has not.
_FALLBACKS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Unifont",
)


class Figure(Paper):
    """A matplotlib figure that a notebook shows by itself, whatever its backend."""

    def __init__(self, width: float, height: float) -> None:
        """Paper of so many inches."""
        super().__init__(figsize=(width, height), dpi=_DPI, layout="constrained")

    def _repr_png_(self) -> bytes:
        """A third of the size it would have with millions of colours, which no chart has."""
        with io.BytesIO() as full, io.BytesIO() as small:
            self.savefig(full, format="png")
            picture = Image.open(full)
            if picture.getextrema()[-1] != (255, 255):
                return full.getvalue()  # a style with paper that shows through
            few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
            few.save(small, format="png", optimize=True)
            return small.getvalue()


def days(times: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Times in ms since the epoch as matplotlib counts them."""
    stamps = np.asarray(times, dtype=np.int64).astype("datetime64[ms]")
    numbers = dates.date2num(stamps)  # type: ignore[no-untyped-call]
    return np.asarray(numbers, dtype=np.float64)


def time_axis(axes: Axes, start: int, end: int) -> None:
    """From the first moment to the last, ms, told in UTC; `axes` is the lowest panel."""
    axes.set_xlim(*days([start, end]))
    locator = dates.AutoDateLocator(tz=UTC, minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    form = dates.ConciseDateFormatter(locator, tz=UTC, show_offset=False)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(form)
    axes.set_xlabel("UTC", loc="right", fontsize=9, labelpad=2)


def quiet(axes: Axes, label: str) -> None:
    """No box, a grid that stays behind, and what goes upwards."""
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def title(axes: Axes, text: str, below: str) -> None:
    """A headline, and a smaller line under it."""
    props: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    head = lettered(text)
    axes.annotate(xy=(0, 1), xytext=(0, 24), fontsize=13, fontweight="bold", **head, **props)
    axes.annotate(below, xy=(0, 1), xytext=(0, 8), fontsize=9, alpha=0.8, **props)


def raised(axes: Axes, place: Transform, points: float) -> Transform:
    """A place, so many points higher."""
    return offset_copy(place, axes.get_figure(root=True), y=points, units="points")


def key(axes: Axes, entries: Sequence[tuple[Artist, str]], points: float = 0) -> None:
    """What colours and forms mean, on the right, so many points above the axes."""
    handles, names = zip(*entries, strict=True)
    above = raised(axes, axes.transAxes, points)
    axes.legend(
        handles, names, loc="lower right", bbox_to_anchor=(1, 1), bbox_transform=above,
        ncols=len(names), fontsize=9,
        frameon=False, borderaxespad=0.2, handletextpad=0.4, columnspacing=1.2, handlelength=1.2,
    )  # fmt: skip


class Steps(ticker.Formatter):
    """Numbers with as many decimals as their distance asks for."""

    def __init__(self, unit: str = "", *, signed: bool = False) -> None:
        """The unit is put after the number."""
        self._unit = unit
        self._sign = "+" if signed else ""

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - matplotlib's
        """The label of one number alone."""
        return f"{x:{self._sign}z,.6g}{self._unit}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of all ticks together."""
        gaps = np.diff(np.sort(np.asarray(values, dtype=np.float64)))
        gap = float(gaps[gaps > 0].min(initial=np.inf))
        if not np.isfinite(gap):
            return [self(value) for value in values]
        decimals = max(0, -int(np.floor(np.log10(gap) + 1e-9)))
        # A gap such as 2.5 asks for one decimal more than its size tells.
        decimals += not np.isclose(gap * 10**decimals, round(gap * 10**decimals), rtol=1e-6)
        labels = []
        for value in values:
            sign = self._sign if round(value, decimals) else ""
            labels.append(f"{value:{sign}z,.{decimals}f}{self._unit}")
        return labels


def short(value: float, pos: int | None = None) -> str:  # noqa: ARG001 - matplotlib's
    """A large number in few characters.

    Example:
        >>> [short(value) for value in (0, 950, 12_500, 2e6, 3.25e9)]
        ['0', '950', '12.5k', '2M', '3.25B']
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def lettered(text: str, more: str = "") -> dict[str, Any]:
    """Any name as the arguments of a text: as it is, in fonts that have its characters.

    A dollar is no formula, a line break no line. A character that no font has is told by its
    number, as Python writes it. The end of a long name is cut off; `more` comes after it.
    """
    families = [*FontProperties().get_family()]
    shown = ""
    for character in text:
        family = _family_with(character)
        if family is None:
            letters = character.encode("unicode_escape").decode("ascii")
        else:
            letters = character
            families += [family] if family and family not in families else []
        if len(shown) + len(letters) > _LONGEST:
            shown = f"{shown[: _LONGEST - 1]}…"
            break
        shown += letters
    return {"text": shown + more, "fontfamily": families, "parse_math": False}


def name_lines(axes: Axes, names: Sequence[dict[str, Any]], size: float) -> None:
    """Names as `lettered` gives them beside the lines 0, 1, … of a panel, the first on top."""
    axes.set_yticks(range(len(names)), [name["text"] for name in names], fontsize=size)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set(**name)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=7)


@lru_cache(maxsize=4096)
def _family_with(character: str) -> str | None:
    """The family to add for a character: none for one of the usual font, None for none at all."""
    if not character.isprintable():
        return None
    usual = font_manager.findfont(FontProperties())
    if _has(usual, character):
        return ""
    known = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
    found = (name for name in _FALLBACKS if name in known and _has(known[name], character))
    return next(found, None)


def _has(path: str, character: str) -> bool:
    return font_manager.get_font(path).get_char_index(ord(character)) != 0
