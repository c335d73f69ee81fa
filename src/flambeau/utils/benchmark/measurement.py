"""What was timed and how long it took."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Measurement",
    "TaskSpec",
    "ordered_unique",
    "select_unit",
    "trim_sigfig",
    "unit_to_english",
]

_UNITS = {"ns": (1e-9, "nanosecond"), "us": (1e-6, "microsecond"), "ms": (1e-3, "millisecond")}
_UNITS["s"] = (1.0, "second")


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which ``t`` seconds read best, and its length in seconds.

    >>> from flambeau.utils.benchmark import select_unit
    >>> select_unit(0.02)
    ('ms', 0.001)
    """
    fitting = [unit for unit, (scale, _) in _UNITS.items() if t >= scale]
    unit = fitting[-1] if fitting else "ns"
    return unit, _UNITS[unit][0]


def unit_to_english(u: str) -> str:
    """``"us"`` is ``"microsecond"``."""
    return _UNITS[u][1]


def trim_sigfig(x: float, n: int) -> float:
    """``x`` with ``n`` significant digits.

    >>> from flambeau.utils.benchmark import trim_sigfig
    >>> trim_sigfig(1234.5, 2)
    1200.0
    """
    return float(f"{x:.{n - 1}e}")


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """Each element once, in the order in which they first come."""
    return list(dict.fromkeys(elements))


@dataclass(frozen=True)
class TaskSpec:
    """What was timed: the statement, its setup, and how it is called in tables."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label with the sub-label, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        if "\n" not in self.stmt:
            return self.stmt
        return f"stmt:{f' ({self.sub_label})' if self.sub_label else ''}\n" + _indented(self.stmt)

    def summarize(self) -> str:
        """The title, the description and the setup, a line or paragraph each."""
        lines = [self.title, self.description or ""]
        if self.setup and self.setup != "pass":
            several = "\n" in self.setup
            lines.append(
                f"\nsetup:\n{_indented(self.setup)}\n" if several else f"setup: {self.setup}"
            )
        return "\n".join(line for line in lines if line)


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


@dataclass(frozen=True, repr=False)
class Measurement:
    """Times of a statement: ``raw_times`` are of blocks of ``number_per_run`` runs, in seconds."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    @property
    def times(self) -> list[float]:
        """Seconds a run, block by block."""
        return [raw / self.number_per_run for raw in self.raw_times]

    @property
    def median(self) -> float:
        """The median of :attr:`times`."""
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        """The mean of :attr:`times`."""
        return statistics.fmean(self.times)

    @property
    def iqr(self) -> float:
        """The distance between the quartiles of :attr:`times`."""
        if len(self.times) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.times, n=4, method="inclusive")
        return third - first

    @property
    def significant_figures(self) -> int:
        """How many digits of the median mean something, by the quartiles' distance.

        It is what a normal distribution's spread of its median leaves, between 1 and 4 (Wall and
        Jenkins, *Practical Statistics for Astronomers*).
        """
        n = len(self.times)
        if n < 5:
            return 1
        # Of a normal distribution the quartiles lie 1.349 standard deviations apart.
        spread = 1.645 * 1.253 * self.iqr / 1.349 / math.sqrt(n)
        upper = math.ceil(math.log10(self.median))
        lower = math.floor(math.log10(spread)) if spread > 0 else upper - 5
        return min(max(upper - lower - 1, 1), 5)

    @property
    def has_warnings(self) -> bool:
        """Whether the times vary so much that the median says little."""
        return not self.meets_confidence(0.1)

    def meets_confidence(self, threshold: float = 0.1) -> bool:
        """Whether the quartiles are within ``threshold`` of the median."""
        return self.iqr / self.median < threshold

    @property
    def title(self) -> str:
        """What the measurement is called."""
        return self.task_spec.title

    @property
    def env(self) -> str:
        """Where it was taken, if several places are compared."""
        return "Unspecified env" if self.task_spec.env is None else self.task_spec.env

    @property
    def as_row_name(self) -> str:
        """The row it is in in a table."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """The measurements of each task as one."""
        found: dict[TaskSpec, list[Measurement]] = {}
        for m in measurements:
            found.setdefault(m.task_spec, []).append(m)
        return [
            Measurement(1, [t for m in several for t in m.times], spec)
            for spec, several in found.items()
        ]

    def __getattr__(self, name: str) -> Any:
        # A measurement has what its task has.
        if name.startswith("__") or name == "task_spec":
            raise AttributeError(name)
        return getattr(self.task_spec, name)

    def __repr__(self) -> str:
        several = len(self.times) > 1
        unit, scale = select_unit(self.median)
        lines = [object.__repr__(self), self.task_spec.summarize()]
        if several:
            lines.append(f"  Median: {self.median / scale:.2f} {unit}")
        if len(self.times) > 3:
            first, _, third = statistics.quantiles(self.times, n=4, method="inclusive")
            spread = f"{first / scale:.2f} to {third / scale:.2f}"
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit} ({spread})")
        if not several:
            lines.append(f"  {self.median / scale:.2f} {unit}")
        threads = self.task_spec.num_threads
        lines.append(
            f"  {len(self.times)} measurement{'s' if several else ''}, {self.number_per_run} runs "
            f"{'per measurement,' if several else ','} {threads} "
            f"thread{'s' if threads > 1 else ''}"
        )
        if several and self.has_warnings:
            share = 100 * self.iqr / self.median
            lines += [
                f"  WARNING: Interquartile range is {share:.1f}% of the median measurement.",
                "           This suggests significant environmental influence.",
            ]
        return "\n".join(lines)
