"""Charts as SVG, written by hand: lines over steps, and matrices of counts.

Colours are CSS variables of the page, so that a chart follows its light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

__all__ = ["Series", "line_chart", "matrix", "ticks"]

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 40
_MOST_POINTS = 300
# From here up a cell is so full that light text reads better on it.
_FULL = 0.55


class Series(NamedTuple):
    """A line: what it is called, its CSS colour, its points, and whether it stands behind."""

    name: str
    colour: str
    points: Sequence[tuple[int, float]]
    faint: bool = False


def ticks(low: float, high: float, least: int = 4) -> list[float]:
    """Round numbers from ``low`` to ``high``: as few as there may be, but ``least``.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    power = math.floor(math.log10(high - low))
    found: list[float] = []
    for step in (m * 10.0**p for p in (power, power - 1) for m in (5, 2, 1)):
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        found = [float(f"{i * step:.12g}") for i in range(first, last + 1)]
        if len(found) >= least:
            break
    return found


def shown(value: float) -> str:
    """A number as short as it reads well.

    >>> shown(0.25), shown(12000.0), shown(3e-06)
    ('0.25', '12 000', '3e-6')
    """
    if value and (abs(value) < 1e-3 or abs(value) >= 1e7):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return text.replace(",", " ")


class _Axis:
    """From values to places along an axis."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        self.log = log
        if log:
            low, high = math.log10(low), math.log10(high)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        at = math.log10(value) if self.log else value
        return self.start + (at - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.low, self.high)
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        few = len(powers) <= 4
        marks = [m * 10.0**p for p in powers for m in ((1, 2, 5) if few else (1,))]
        return [v for v in marks if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]


def line_chart(series: Sequence[Series], title: str, x_label: str = "step") -> str:
    """Lines over steps, with axes, a grid, and each value under the pointer.

    The vertical axis is logarithmic where positive values span more than a factor of 100 and the
    title speaks of a loss.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    if not xs:
        return ""
    log = "loss" in title and min(ys) > 0 and max(ys) / min(ys) > 100
    low, high = min(ys), max(ys)
    if not log:
        margin = (high - low) * 0.04
        low, high = low - margin, high + margin
    across = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT, False)
    up = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP, log)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)} by {escape(x_label)}">'
    ]
    for value in up.ticks():
        y = up(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{shown(value)}</text>"
        )
    base = _HEIGHT - _BOTTOM
    parts.append(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>'
    )
    for value in across.ticks():
        if value == int(value):
            parts.append(
                f'<text class="tick" x="{across(value):.1f}" y="{base + 17}" '
                f'text-anchor="middle">{shown(value)}</text>'
            )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for one in sorted(series, key=lambda s: not s.faint):
        parts.append(_line(one, across, up))
    return "".join([*parts, "</svg>"])


def _line(one: Series, across: _Axis, up: _Axis) -> str:
    points = thinned(one.points)
    places = [(across(x), up(y)) for x, y in points]
    kind = "line faint" if one.faint else "line"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="{kind}" style="stroke:{one.colour}" points="{path}"/>']
    for (x, y), (step, value) in zip(places, points):
        # A dot where there are few enough to tell apart; else only what the pointer finds.
        dot = (
            f'<circle r="3" cx="{x:.1f}" cy="{y:.1f}" style="fill:{one.colour}"/>'
            if len(points) == 1 or (len(points) <= 40 and not one.faint)
            else ""
        )
        parts.append(
            f'<g>{dot}<circle class="hit" r="7" cx="{x:.1f}" cy="{y:.1f}"/>'
            f"<title>{escape(one.name)}, step {step}: {value:.6g}</title></g>"
        )
    return "".join(parts)


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """So few points that they can be drawn: the means of neighbours, the last as it is."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    groups = np.array_split(np.array(points[:-1], dtype=np.float64), _MOST_POINTS - 1)
    return [*((int(g[-1, 0]), float(g[:, 1].mean())) for g in groups), points[-1]]


def matrix(counts: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix: rows are what things are, columns what they were taken for.

    A cell is as full as its part of the row; mistakes, which are few, by the root of theirs.
    """
    classes = len(counts)
    cell = 44 if classes <= 12 else max(16, 480 // classes)
    numbers = cell >= 22
    longest = max((len(name) for name in names), default=1)
    left = 30 + 7 * min(longest, 14)
    slanted = longest * 7 > cell
    top = 34 + (5 * min(longest, 14) if slanted else 14)
    size = classes * cell
    right = 3.5 * longest if slanted else 4
    parts = [
        f'<svg class="matrix" viewBox="0 0 {left + size + right:.0f} {top + size + 4}" '
        f'style="width:{left + size + right:.0f}px" role="img" aria-label="confusion matrix">',
        f'<text class="label" x="{left + size / 2}" y="14" text-anchor="middle">taken for</text>',
        f'<text class="label" text-anchor="middle" transform="translate(14 {top + size / 2}) '
        'rotate(-90)">is</text>',
    ]
    sums = counts.sum(1)
    for i, name in enumerate(names):
        x, y = left + i * cell + cell / 2, top + i * cell + cell / 2
        turn = f' transform="rotate(-40 {x} {top - 8})"' if slanted else ""
        anchor = "start" if slanted else "middle"
        label = escape(name if len(name) <= 14 else name[:13] + "…")
        parts.append(
            f'<text class="tick" x="{x}" y="{top - 8}" text-anchor="{anchor}"{turn}>{label}</text>'
            f'<text class="tick" x="{left - 8}" y="{y + 4}" text-anchor="end">{label}</text>'
        )
    for i in range(classes):
        for j in range(classes):
            parts.append(_cell(counts[i, j], sums[i], names[i], names[j], i == j, numbers,
                               left + j * cell, top + i * cell, cell))  # fmt: skip
    return "".join([*parts, "</svg>"])


def _cell(
    count: int,
    of: int,
    true: str,
    said: str,
    right: bool,
    number: bool,
    x: float,
    y: float,
    size: int,
) -> str:
    part = count / of if of else 0.0
    full = part if right else math.sqrt(part)
    colour = "var(--right)" if right else "var(--wrong)"
    text = "on" if full > _FULL else "cell"
    drawn = (
        f'<text class="{text}" x="{x + size / 2}" y="{y + size / 2 + 4}" text-anchor="middle">'
        f"{count}</text>"
        if number and count
        else ""
    )
    return (
        f'<g><rect class="empty" x="{x + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}" '
        'rx="2"/>'
        f'<rect x="{x + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}" rx="2" '
        f'style="fill:{colour};fill-opacity:{full:.3f}"/>{drawn}'
        f"<title>{escape(true)} taken for {escape(said)}: {count} of {of} ({part:.1%})</title></g>"
    )
