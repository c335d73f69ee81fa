"""Runs an optimizer's update rule over its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import flambeau

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.optim.optimizer import Optimizer

State = dict[str, Any]
Group = dict[str, Any]
Number = float | int | bool | None


class Item(NamedTuple):
    """One parameter's share of a step."""

    param: Tensor
    grad: Tensor
    state: State
    group: Group


def apply(optimizer: Optimizer, items: Iterable[Item]) -> None:
    """Updates every item's parameter and state by the optimizer's rule.

    The numbers are worked out in Python first, so that ``update`` is a pure rule of tensors and
    named numbers.
    """
    for param, grad, state, group in items:
        numbers = SimpleNamespace(**optimizer.numbers(state, group))
        with flambeau.set_grad_enabled(bool(group.get("differentiable", False))):
            run_rule(optimizer, param, grad, state, numbers)


def run_rule(
    optimizer: Optimizer, param: Tensor, grad: Tensor, state: State, numbers: SimpleNamespace
) -> None:
    """One parameter's update: downhill, or uphill with ``maximize``; complex numbers as pairs of
    reals.
    """
    if numbers.maximize:
        grad = -grad
    if not (param.is_complex() and optimizer.complex_as_pairs):
        optimizer.update(param, grad, state, numbers)
        return
    pairs = {key: _as_pairs(value) for key, value in state.items()}
    known = dict(pairs)
    optimizer.update(flambeau.view_as_real(param), flambeau.view_as_real(grad), pairs, numbers)
    for key, value in pairs.items():
        if value is not known.get(key):
            state[key] = flambeau.view_as_complex(value)


def _as_pairs(value: Any) -> Any:
    if isinstance(value, flambeau.Tensor) and value.is_complex():
        return flambeau.view_as_real(value)
    return value


def new_counter(value: float = 0.0) -> Tensor:
    """A counter as PyTorch's state dicts hold it: a float32 tensor without dimensions."""
    return flambeau.tensor(float(value), dtype=flambeau.float32)


def advance(counter: Tensor) -> float:
    """Adds one to a counter; returns what it then holds."""
    with flambeau.no_grad():
        counter += 1
    return counter.item()


def store(cell: Tensor, value: float) -> float:
    """Writes ``value`` into a tensor without dimensions; returns it as rounded to the tensor's
    dtype.
    """
    with flambeau.no_grad():
        cell.fill_(value)
    return cell.item()


def number(value: Any) -> Any:
    """A hyper-parameter as a Python number: one-element tensors are read."""
    return value.item() if isinstance(value, flambeau.Tensor) else value
