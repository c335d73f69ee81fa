"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
TOLERANCE_CHANGE = 1e-9


@dataclass
class Point:
    """A step length with the loss, gradient and slope found there."""

    t: Any
    loss: float
    grad: Any
    slope: Any


def strong_wolfe(
    evaluate: Callable[[Any], tuple[float, Any]],
    t: Any,
    direction: Any,
    loss: float,
    grad: Any,
    slope: Any,
    most: int,
) -> tuple[float, Any, Any, int]:
    """A step length at which the loss has decreased enough and the slope is flat enough.

    Brackets a minimum, then zooms in by cubic interpolation [Nocedal and Wright 2006, algorithms
    3.5 and 3.6], in ``most`` steps or fewer. Returns loss, gradient, length, and how often
    ``evaluate`` was called.
    """
    scale = direction.abs().max()
    start = Point(0, loss, grad.clone(), slope)

    calls = 0

    def at(t: Any) -> Point:
        nonlocal calls
        calls += 1
        loss, grad = evaluate(t)
        return Point(t, loss, grad, grad.dot(direction))

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + SUFFICIENT_DECREASE * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * start.slope

    bracket, steps = _bracket(at, at(t), start, too_high, flat, most)
    if len(bracket) > 1:
        bracket[0] = _zoom(at, bracket, most - steps, scale, too_high, flat)
    best = bracket[0]
    return best.loss, best.grad, best.t, calls


def _bracket(
    at: Callable, point: Point, start: Point, too_high: Callable, flat: Callable, most: int
) -> tuple[list[Point], int]:
    """Two points with a minimum between them, or one that is good enough; and the steps taken."""
    previous = start
    for step in range(most):
        if too_high(point) or (step > 1 and point.loss >= previous.loss):
            return [previous, point], step
        if flat(point):
            return [point], step
        if point.slope >= 0:
            return [previous, point], step
        lower = point.t + 0.01 * (point.t - previous.t)
        upper = point.t * 10
        t = interpolate(previous, point, (lower, upper))
        previous, point = point, at(t)
        point.grad = point.grad.clone()
    return [start, point], most


def _zoom(
    at: Callable,
    bracket: list[Point],
    left: int,
    scale: Any,
    too_high: Callable,
    flat: Callable,
) -> Point:
    """Shrinks the bracket around a good point; returns the lower end."""
    low, high = sorted(bracket, key=lambda point: point.loss)
    stalled = False
    for _ in range(left):
        if abs(high.t - low.t) * scale < TOLERANCE_CHANGE:
            break
        ends = (min(low.t, high.t), max(low.t, high.t))
        t = interpolate(*_in_order(low, high))
        # A trial too near an end shrinks the bracket too little: keep a tenth away from it, the
        # second time.
        margin = 0.1 * (ends[1] - ends[0])
        if min(ends[1] - t, t - ends[0]) < margin:
            if stalled or t >= ends[1] or t <= ends[0]:
                t = ends[1] - margin if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        trial = at(t)
        if too_high(trial) or trial.loss >= low.loss:
            high = trial
            if high.loss < low.loss:
                low, high = high, low
            continue
        if flat(trial):
            return trial
        if trial.slope * (high.t - low.t) >= 0:
            high = low
        low = trial
    return low


def _in_order(low: Point, high: Point) -> tuple[Point, Point]:
    return (low, high) if low.t <= high.t else (high, low)


def interpolate(a: Point, b: Point, bounds: tuple[Any, Any] | None = None) -> Any:
    """Where the cubic through two points and their slopes is least, within bounds.

    Source: Nocedal and Wright 2006, equation 3.59.
    """
    lower, upper = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (lower + upper) / 2.0
    d2 = square**0.5
    if a.t <= b.t:
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(t, lower), upper)
