"""Runs an optimizer's update rule over its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import flambeau
from flambeau.record.update import recorded_update

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
    named numbers: the whole step is recorded as one edge, in which they are run-time arguments.
    """
    items = list(items)
    if not items:
        return
    numbers = [optimizer.numbers(state, group) for _, _, state, group in items]
    if not all(map(_plain, items)):
        for (param, grad, state, group), n in zip(items, numbers, strict=True):
            with flambeau.set_grad_enabled(bool(group.get("differentiable", False))):
                run_rule(optimizer, param, grad, state, SimpleNamespace(**n))
        return
    tensors, layout = [], []
    for param, grad, state, _ in items:
        kept = [k for k, v in state.items() if isinstance(v, flambeau.Tensor) and k != "step"]
        layout.append(tuple(kept))
        tensors += [param, grad, *[state[k] for k in kept]]
    changed: list[tuple[int, str]] = []

    def body(given: list[dict[str, Any]]) -> list[Any]:
        results = []
        for i, ((param, grad, state, _), n) in enumerate(zip(items, given, strict=True)):
            after = dict(state)
            run_rule(optimizer, param, grad, after, SimpleNamespace(**n))
            for k, v in after.items():
                if v is not state.get(k):
                    changed.append((i, k))
                    results.append(v)
        return results

    rule = (type(optimizer), tuple(layout))
    fresh = recorded_update(rule, tensors, numbers, body)
    if fresh:
        # Which entries of the state the rule makes is learnt when its body runs.
        places = _made.setdefault((rule, len(fresh)), tuple(changed[-len(fresh) :]))
        for (i, k), t in zip(places, fresh, strict=True):
            items[i].state[k] = t


_made: dict[Any, tuple[tuple[int, str], ...]] = {}


def _plain(item: Item) -> bool:
    """Whether the rule can be recorded as it stands."""
    dtype = item.param._meta.dtype
    return (
        dtype.is_floating_point
        and item.grad._meta.dtype is dtype
        and not item.grad.is_sparse
        and not item.group.get("differentiable")
    )


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
    storage = counter._storage
    if storage is not None and storage.trace is None and counter.dim() == 0:
        # Nothing that is recorded reads a counter: it is written in place.
        storage.array += 1
        storage.version += 1
        return float(storage.array)
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
