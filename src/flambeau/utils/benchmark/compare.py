"""``Compare``: measurements as tables, a row for each sub-label, a column for each description."""

from __future__ import annotations

import math
from collections.abc import Iterable

from flambeau.utils.benchmark.measurement import (
    Measurement,
    ordered_unique,
    select_unit,
    trim_sigfig,
    unit_to_english,
)

__all__ = ["Compare"]

_BEST, _OTHER = "\033[92m\033[1m{}\033[0m\033[0m", "{}"


class Compare:
    """Tables of measurements: one for each label, in it a block for each number of threads.

    A cell is the median, in the unit that fits the smallest one of the table.

    >>> from flambeau.utils.benchmark import Measurement, TaskSpec
    >>> task = TaskSpec("f(x)", "pass", label="Sum", sub_label="[8]", description="ours")
    >>> print(Compare([Measurement(1, [2e-6], task)]))
    [----- Sum ------]
               |  ours
    1 threads: -------
          [8]  |  2.0
    <BLANKLINE>
    Times are in microseconds (us).
    <BLANKLINE>
    """

    def __init__(self, results: list[Measurement]) -> None:
        self._results: list[Measurement] = []
        self._trimmed = self._colored = self._warned = False
        self.extend_results(results)

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Adds measurements; ``ValueError`` for anything else."""
        for result in results:
            if not isinstance(result, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(result)}")
            self._results.append(result)

    def trim_significant_figures(self) -> None:
        """Shows only the digits that the times' spread leaves."""
        self._trimmed = True

    def colorize(self, rowwise: bool = False) -> None:
        """Shows the best of each column (or of each row) in green."""
        self._colored = True
        self._rowwise = rowwise

    def highlight_warnings(self) -> None:
        """Marks cells whose times vary much."""
        self._warned = True

    def print(self) -> None:
        """Prints the tables."""
        print(str(self))

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        groups: dict[str | None, list[Measurement]] = {}
        for m in merged:
            groups.setdefault(m.task_spec.label, []).append(m)
        return "\n".join(self._table(label, found) for label, found in groups.items())

    def _table(self, label: str | None, found: list[Measurement]) -> str:
        unit, scale = select_unit(min(m.median for m in found))
        rows = ordered_unique(
            (m.task_spec.num_threads, m.task_spec.env, m.as_row_name) for m in found
        )
        rows.sort(key=lambda row: row[0])
        columns = ordered_unique(m.task_spec.description for m in found)
        cells = {
            (m.task_spec.num_threads, m.task_spec.env, m.as_row_name, m.task_spec.description): m
            for m in found
        }
        digits = {
            c: max(self._decimals(m, scale) for k, m in cells.items() if k[-1] == c)
            for c in columns
        }
        first_of_all = min(found, key=lambda m: m.median)
        least = trim_sigfig(first_of_all.median, first_of_all.significant_figures)
        text = {k: self._cell(m, least, scale, digits[k[-1]]) for k, m in cells.items()}
        best = self._best(cells)
        widths = {
            c: max(len(c or ""), *(len(t) for k, t in text.items() if k[-1] == c)) for c in columns
        }
        first = max(len("      " + (f"({e})  " if e else "") + name) for _, e, name in rows)
        head = [" " * first, *((c or "").center(widths[c]) for c in columns)]
        width = len("  |  ".join(head))
        title = f" {label or ''} " if label else "-"
        lines = ["[" + title.center(width - 2, "-") + "]", "  |  ".join(head)]
        threads_before = None
        for threads, env, name in rows:
            if threads != threads_before:
                lines.append(f"{threads} threads: ".ljust(width, "-"))
                threads_before = threads
            row = [("      " + (f"({env})  " if env else "") + name).ljust(first)]
            for c in columns:
                key = (threads, env, name, c)
                shown = text.get(key, "").rjust(self._right(text, c)).center(widths[c])
                row.append((_BEST if key in best else _OTHER).format(shown))
            lines.append("  |  ".join(row))
        lines += ["", f"Times are in {unit_to_english(unit)}s ({unit}).", ""]
        if self._warned and any(m.has_warnings for m in found):
            lines.insert(-1, "(! XX%) Measurement has high variance, where XX is the IQR / median")
        return "\n".join(lines)

    def _decimals(self, m: Measurement, scale: float) -> int:
        """How many decimals are shown: one, or those that the times' spread leaves."""
        if not self._trimmed:
            return 1
        whole = len(str(int(m.median / scale)))
        return max(m.significant_figures - whole, 0)

    def _cell(self, m: Measurement, least: float, scale: float, decimals: int) -> str:
        value = m.median / scale
        if self._trimmed:
            # Down to the place of the smallest time's last digit worth showing.
            value = trim_sigfig(value, m.significant_figures + round(math.log10(m.median / least)))
        shown = f"{value:.{decimals}f}"
        if self._warned and m.has_warnings:
            shown += f" (! {100 * m.iqr / m.median:.0f}%)"
        return shown

    def _right(self, text: dict, column: str | None) -> int:
        return max(len(t) for k, t in text.items() if k[-1] == column)

    def _best(self, cells: dict) -> set:
        if not self._colored:
            return set()
        groups: dict[tuple, list] = {}
        for key, m in cells.items():
            groups.setdefault(key[:-1] if self._rowwise else key[-1:], []).append((m.median, key))
        return {min(group)[1] for group in groups.values()}
