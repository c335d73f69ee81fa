"""The results in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["geometric_mean", "one_side", "speed", "starts", "summary"]

Result = dict[str, Any]


def geometric_mean(values: Iterable[float]) -> float:
    """
    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    logs = [math.log(v) for v in values]
    return math.exp(math.fsum(logs) / len(logs))


def number(value: float) -> str:
    """Three digits that say something.

    >>> number(0.01234), number(12.34), number(1234.5)
    ('0.0123', '12.3', '1234')
    """
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(titles: Sequence[str]) -> list[str]:
    return [line(titles), line(["---"] * len(titles))]


def speed(peers: Sequence[str]) -> tuple[list[str], Any]:
    """Head of the table of times, and the function that makes a row of a result."""
    titles = [
        "workload", "PyTorch ms", "Flambeau ms", "ratio", "wanted", *(f"{p} ms" for p in peers),
        "PyTorch mean, p99", "Flambeau mean, p99", "losses differ by",
        "programs, flushes, misses a step",
    ]  # fmt: skip

    def row(result: Result) -> str:
        times = result["times"]
        others = [
            number(times[p]["median"]) if p in times else result["skipped"].get(p, "")
            for p in peers
        ]
        tails = [
            f"{number(times[side]['mean'])}, {number(times[side]['p99'])}"
            for side in ("torch", "flambeau")
        ]
        counts = ", ".join(number(result["counts"][k]) for k in ("programs", "flushes", "misses"))
        return line([
            result["title"], number(times["torch"]["median"]), number(times["flambeau"]["median"]),
            f"{result['ratio']:.2f}", f"{result['target']:g}", *others, *tails,
            f"{result['difference']:.0e}", counts,
        ])  # fmt: skip

    return head(titles), row


def starts(results: Sequence[Result]) -> list[str]:
    """The table of first steps and memory; each cell from processes of their own."""
    titles = [
        "workload", "first step: PyTorch ms", "cold", "warm", "until full speed: PyTorch ms",
        "cold", "warm", "compiling, cold", "waited (times)", "peak: PyTorch MiB", "Flambeau MiB",
    ]  # fmt: skip
    lines = head(titles)
    for result in results:
        parts = result["starts"]
        torch, cold, warm = parts["torch"], parts["cold"], parts["warm"]
        lines.append(line([
            result["name"],
            *(number(p["first"]) for p in (torch, cold, warm)),
            *(number(p["lost"]) for p in (torch, cold, warm)),
            number(cold["compiling"]), f"{number(cold['waited'])} ({cold['waits']:.0f})",
            number(torch["peak"]), number(cold["peak"]),
        ]))  # fmt: skip
    return lines


def summary(results: Sequence[Result], peers: Sequence[str]) -> list[str]:
    """Geometric means, and what is under its target."""
    mean = geometric_mean(r["ratio"] for r in results)
    lines = [f"Geometric mean of the ratios: {mean:.2f} ({len(results)} workloads)"]
    for peer in peers:
        ratios = [
            r["times"][peer]["median"] / r["times"]["flambeau"]["median"]
            for r in results
            if peer in r["times"]
        ]
        if ratios:
            lines.append(
                f"{peer} / Flambeau: {geometric_mean(ratios):.2f} ({len(ratios)} workloads), "
                f"least {min(ratios):.2f}"
            )
    below = [
        f"{r['name']} ({r['ratio']:.2f} of {r['target']:g})"
        for r in results
        if r["ratio"] < r["target"]
    ]
    lines.append(f"Under what is wanted: {', '.join(below) or 'none'}")
    return lines


def one_side(name: str, report: dict[str, float]) -> str:
    """A line for one side alone."""
    return (
        f"{name}: {number(report['steady'])} ms a step (mean {number(report['mean'])}, p99 "
        f"{number(report['p99'])}, {report['steps']:.0f} steps), first {number(report['first'])} "
        f"ms, {number(report['lost'])} ms until full speed, peak {number(report['peak'])} MiB"
    )
