"""The geometry of the charts: figures in, places out. Templates draw them as SVG.

All lengths are units of the view box; SVG scales them. Nothing is coloured here: a series has a number, which
the style sheet gives its colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

__all__ = ["Bar", "Chart", "Meter", "Tick", "burn_down", "meter", "share", "stacked"]

WIDTH: Final = 720
HEIGHT: Final = 220
LEFT: Final = 48
RIGHT: Final = 12
BOTTOM: Final = 24
TOP: Final = 8
# As many colours as the eye keeps apart; the rest of the series is one.
MOST_SERIES: Final = 7
OTHERS: Final = "others"
GAP: Final = Decimal("0.22")
STEPS: Final = tuple(Decimal(step) for step in ("1", "1.2", "1.6", "2", "2.4", "3.2", "4", "6", "8", "10"))


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of one series."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it is, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything to draw. `line` and `pace` are the points of polylines, empty where there are none."""

    bars: Sequence[Bar]
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    series: Sequence[str]
    line: str = ""
    pace: str = ""
    cap_at: float | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of a cap is used, in percent of the whole: spent, held, and what both leave."""

    spent: float
    held: float
    is_near: bool
    is_over: bool


def stacked(figures: Mapping[tuple[str, str], Decimal], buckets: Sequence[str]) -> Chart:
    """Bars, one a bucket, of the largest series; `figures` is by bucket and series."""
    totals: dict[str, Decimal] = {}
    for (_, name), value in figures.items():
        totals[name] = totals.get(name, Decimal(0)) + value
    largest = sorted(totals, key=lambda name: (-totals[name], name))
    series = largest if len(largest) <= MOST_SERIES else [*largest[: MOST_SERIES - 1], OTHERS]
    heights: dict[tuple[str, str], Decimal] = {}
    for (bucket, name), value in figures.items():
        place = bucket, name if name in series else OTHERS
        heights[place] = heights.get(place, Decimal(0)) + value
    sums = {bucket: sum(heights.get((bucket, name), Decimal(0)) for name in series) for bucket in buckets}
    top = ceiling(max([Decimal(total) for total in sums.values()], default=Decimal(0)))
    bars = []
    for number, bucket in enumerate(buckets):
        below = Decimal(0)
        for index, name in enumerate(series):
            value = heights.get((bucket, name), Decimal(0))
            if value > 0:
                x, width = _slot(number, len(buckets))
                y = _y(below + value, top)
                title = f"{bucket} {name}: {value.normalize():f}"
                bars.append(Bar(x, y, width, _y(below, top) - y, index, title))
                below += value
    return Chart(bars, _rows(top), _columns(buckets), series)


def burn_down(days: Sequence[tuple[str, Decimal]], cap: Decimal, all_days: int) -> Chart:
    """What was spent up to the end of each day of a window, beside an even pace that ends at the cap."""
    totals, total = [], Decimal(0)
    for _, value in days:
        total += value
        totals.append(total)
    top = ceiling(max([cap, *totals]))
    count = max(all_days, len(days), 1)
    places = [(_x(number + 1, count), _y(value, top)) for number, value in enumerate(totals)]
    start = (_x(0, count), _y(Decimal(0), top))
    labels = [day for day, _ in days] + [""] * (count - len(days))
    return Chart(
        [],
        _rows(top),
        _columns(labels),
        [],
        line=_points([start, *places]),
        pace=_points([start, (_x(count, count), _y(cap, top))]),
        cap_at=_y(cap, top),
    )


def share(part: Decimal, whole: Decimal) -> Meter:
    """The bar of a part of a whole, which warns of nothing."""
    return Meter(float(part * 100 / whole) if whole > 0 else 0.0, 0.0, is_near=False, is_over=False)


def meter(spent: Decimal, held: Decimal, cap: Decimal) -> Meter:
    """The bar of a budget."""
    if cap <= 0:
        return Meter(100.0 if spent + held > 0 else 0.0, 0.0, is_near=False, is_over=spent + held > 0)
    used = min(Decimal(100), max(Decimal(0), spent * 100 / cap))
    reserved = min(Decimal(100) - used, max(Decimal(0), held * 100 / cap))
    return Meter(float(used), float(reserved), is_near=80 <= used < 100, is_over=used >= 100)


def ceiling(value: Decimal) -> Decimal:
    """The next round figure, for the top of an axis."""
    if value <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(value.adjusted())
    return next(step * power for step in STEPS if step * power >= value)


def _slot(number: int, count: int) -> tuple[float, float]:
    wide = Decimal(WIDTH - LEFT - RIGHT) / max(count, 1)
    return float(LEFT + wide * number + wide * GAP / 2), float(wide * (1 - GAP))


def _x(number: int, count: int) -> float:
    return float(LEFT + Decimal(WIDTH - LEFT - RIGHT) * number / count)


def _y(value: Decimal, top: Decimal) -> float:
    return float(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _rows(top: Decimal) -> list[Tick]:
    return [Tick(_y(top * part / 4, top), f"{(top * part / 4).normalize():f}") for part in range(5)]


def _columns(labels: Sequence[str]) -> list[Tick]:
    """At most eight labels, so that none touches the next."""
    every = -(-len(labels) // 8) or 1
    found = []
    for number in range(0, len(labels), every):
        x, width = _slot(number, len(labels))
        found.append(Tick(x + width / 2, labels[number]))
    return found
