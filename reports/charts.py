"""
Charts as inline SVG, drawn here so that a page needs no script.

Presentation attributes and classes only: a page whose style is stripped still shows the shapes.
Lines differ by dash and by a label at their end, never by colour alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from reports.view import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.record.histogram import Latencies
    from harness.record.model import Figure

__all__ = ["block_strip", "percentile_curves"]

_DASHES = ("", "6 3", "2 3", "9 3 2 3")
_NS_PER_MS = 1e6


def block_strip(figure: Figure) -> str:
    """One dot per block in the order of measuring, with the median and the target as lines."""
    width, height, left, bottom, top = 640, 132, 56, 22, 12
    shown = [*figure.blocks, figure.value, *([figure.target] if figure.target is not None else [])]
    low, high = _padded(min(shown), max(shown))
    plot_w, plot_h = width - left - 12, height - top - bottom

    def x(place: int) -> float:
        return left + plot_w * (place + 0.5) / len(figure.blocks)

    def y(value: float) -> float:
        return top + plot_h * (high - value) / (high - low)

    parts = [_axis_y(left, width - 12, y, _ticks(low, high, 3), figure.unit)]
    if figure.target is not None:
        parts.append(_rule(left, width - 12, y(figure.target), "target", "target"))
    parts.append(_rule(left, width - 12, y(figure.value), "median", "median"))
    for place, value in enumerate(figure.blocks):
        told = f"block {place + 1}: {number(value)} {figure.unit}"
        parts.append(
            f'<circle class="dot" cx="{x(place):.1f}" cy="{y(value):.1f}" r="3.5">'
            f"<title>{escape(told)}</title></circle>"
        )
    parts.append(
        f'<text class="label" x="{left}" y="{height - 6}">'
        f"{len(figure.blocks)} blocks in the order of measuring</text>"
    )
    label = f"{figure.name} by block, {number(min(shown))} to {number(max(shown))} {figure.unit}"
    return _svg(width, height, label, parts)


def percentile_curves(histograms: Mapping[str, Latencies]) -> str:
    """Latency over percentile, one line per histogram; both axes logarithmic, tail to the right."""
    width, height, left, bottom, top, right = 720, 300, 56, 34, 14, 118
    curves = {name: _points(one) for name, one in sorted(histograms.items()) if one.count}
    if not curves:
        return ""
    values = [value for points in curves.values() for _, value in points if value > 0]
    low, high = math.log10(min(values)), math.log10(max(values))
    low, high = math.floor(low * 2) / 2, math.ceil(high * 2) / 2 or 1.0
    tail = max(place for points in curves.values() for place, _ in points)
    plot_w, plot_h = width - left - right, height - top - bottom

    def x(place: float) -> float:
        return left + plot_w * place / tail

    def y(value_ms: float) -> float:
        return top + plot_h * (high - math.log10(max(value_ms, 1e-6))) / max(high - low, 0.1)

    decades = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    ticks = sorted({*decades, *(3 * one for one in decades if math.log10(3 * one) <= high)})
    parts = [_axis_y(left, width - right, y, ticks, "ms")]
    for share, told in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")):
        place = -math.log10(1 - share)
        if place <= tail:
            parts.append(
                f'<line class="grid" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{top}" '
                f'y2="{height - bottom}"/><text class="label" text-anchor="middle" '
                f'x="{x(place):.1f}" y="{height - bottom + 16}">{told}</text>'
            )
    ends: list[float] = []
    for place, (name, points) in enumerate(curves.items()):
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        dash = f' stroke-dasharray="{_DASHES[place % len(_DASHES)]}"' if place else ""
        end = _free(y(points[-1][1]) + 4, ends)
        parts.append(
            f'<polyline class="curve c{place % 4}" fill="none" stroke="currentColor" '
            f'points="{path}"{dash}><title>{escape(name)}</title></polyline>'
            f'<text class="label c{place % 4}" x="{width - right + 6}" y="{end:.1f}">'
            f"{escape(name[:18])}</text>"
        )
    names = ", ".join(curves)
    return _svg(width, height, f"Latency in milliseconds over percentile: {names}", parts)


def _points(latencies: Latencies) -> list[tuple[float, float]]:
    """`(-log10(1 - share), milliseconds)` of the percentiles that the sample size supports."""
    return [(-math.log10(1 - share), value / _NS_PER_MS) for share, value in latencies.curve()]


def _free(wanted: float, taken: list[float]) -> float:
    """A height for a label that does not lie on another."""
    while any(abs(wanted - other) < 13 for other in taken):
        wanted -= 13
    taken.append(wanted)
    return wanted


def _padded(low: float, high: float) -> tuple[float, float]:
    span = (high - low) or abs(high) or 1.0
    return low - span * 0.12, high + span * 0.12


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between both ends."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(one for one in (1, 2, 5, 10) if (high - low) / (step * one) <= about + 1)
    first = math.ceil(low / step)
    return [round(step * place, 10) for place in range(first, math.floor(high / step) + 1)]


def _axis_y(left: float, right: float, y: object, ticks: Sequence[float], unit: str) -> str:
    assert callable(y)
    lines = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text class="label" text-anchor="end" x="{left - 6}" y="{y(tick) + 4:.1f}">'
        f"{number(tick)}</text>"
        for tick in ticks
    )
    return f'{lines}<text class="label" x="4" y="10">{escape(unit)}</text>'


def _rule(left: float, right: float, at: float, kind: str, told: str) -> str:
    return (
        f'<line class="{kind}" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="label" text-anchor="end" x="{right}" y="{at - 4:.1f}">{told}</text>'
    )


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label, {chr(34): "&quot;"})}">{"".join(parts)}</svg>'
    )
