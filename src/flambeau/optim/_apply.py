"""Runs an optimizer's update rule over its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from operator import is_, itemgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import flambeau
from flambeau.record.alias import version_of
from flambeau.record.patterns import repeated
from flambeau.record.update import Given, given, quick_update, recorded_update

if TYPE_CHECKING:
    from flambeau import Tensor
    from flambeau.optim.optimizer import Optimizer

# What rules count with besides tensors.
_COUNTERS = ("step", "mu_product", "eta", "mu")

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
    before = Before(items[0].param, [([i.state], i.state) for i in items])
    try:
        apply_with(optimizer, items, [optimizer.numbers(i.state, i.group) for i in items])
    except BaseException as error:
        before.restore(error)
        raise


class Before:
    """What optimizers count with, before a step that may be refused or interrupted."""

    __slots__ = ("param", "version", "values")

    def __init__(self, param: Tensor, alike: Iterable[tuple[Sequence[State], State]]) -> None:
        """``alike``: states that have the counters of one of them."""
        self.param = param
        self.version = version_of(param)
        self.values = [
            (states, [(k, _value(one[k])) for k in _COUNTERS if k in one]) for states, one in alike
        ]

    def restore(self, error: BaseException) -> None:
        """Undoes the counting, unless the step was taken all the same, as by an interrupt."""
        if not isinstance(error, Exception) and version_of(self.param) != self.version:
            return
        for states, values in self.values:
            for state in states:
                for k, value in values:
                    if isinstance(state[k], flambeau.Tensor):
                        store(state[k], value)
                    else:
                        state[k] = value


def apply_with(
    optimizer: Optimizer, items: Sequence[Item], numbers: Sequence[dict[str, Number]]
) -> None:
    """``apply`` with the numbers of each item."""
    optimizer._recipe = None
    if not all(map(_plain, items)):
        for (param, grad, state, group), n in zip(items, numbers, strict=True):
            with flambeau.set_grad_enabled(bool(group.get("differentiable", False))):
                run_rule(optimizer, param, grad, state, SimpleNamespace(**n))
        return
    layout = [
        tuple([k for k, v in state.items() if isinstance(v, flambeau.Tensor) and k != "step"])
        for _, _, state, _ in items
    ]
    tensors = [item.param for item in items]
    tensors += [item.grad for item in items]
    tensors += [item.state[k] for item, kept in zip(items, layout, strict=True) for k in kept]
    changed: list[tuple[int, str]] = []

    def body(given: list[dict[str, Any]]) -> list[Any]:
        results = []
        for i, (item, kept, n) in enumerate(zip(items, layout, given, strict=True)):
            given_to = [item.param, item.grad, *[item.state[k] for k in kept]]
            one, run = (type(optimizer), kept), partial(_new_state, optimizer, item, n)
            for k, v in repeated(one, given_to, n, run):
                changed.append((i, k))
                results.append(v)
        # Here: after an interrupt the edge is known, and the body runs no more.
        _made.setdefault((rule, len(results)), tuple(changed[len(changed) - len(results) :]))
        return results

    rule = _rules.setdefault((type(optimizer), tuple(layout)), Rule())
    fresh = recorded_update(rule, tensors, numbers, body)
    if fresh:
        # Which entries of the state the rule makes is learnt when its body runs.
        for (i, k), t in zip(_made[rule, len(fresh)], fresh, strict=True):
            items[i].state[k] = t
    else:
        optimizer._recipe = Recipe.of(optimizer, items, rule, layout, numbers)


def _new_state(optimizer: Optimizer, item: Item, numbers: dict[str, Any]) -> list[tuple[str, Any]]:
    """Runs the rule on one parameter; what its state has then that it did not have before."""
    after = dict(item.state)
    run_rule(optimizer, item.param, item.grad, after, SimpleNamespace(**numbers))
    return [(k, v) for k, v in after.items() if v is not item.state.get(k)]


class Rule:
    """Stands for a class of optimizers and which tensors there are in its states."""


_rules: dict[tuple, Rule] = {}


class Share(NamedTuple):
    """A group's part of a recipe."""

    group: Group
    params: list[Tensor]
    states: list[State]
    # Takes the tensors out of a state; None: there are none.
    kept: Callable[[State], Any] | None
    single: bool
    # Whether all parameters have the numbers of the first.
    shared: bool
    # The options, where the same ones give the same numbers.
    options: list[Any] | None

    def alike(self) -> list[tuple[Sequence[State], State]]:
        """States of the same counters, and one of them."""
        if self.shared:
            return [(self.states, self.states[0])]
        return [([state], state) for state in self.states]


class Recipe:
    """What a step found out that the next one only has to check."""

    __slots__ = ("rule", "shares", "states", "sizes", "kept", "given")

    def __init__(
        self, rule: Any, shares: list[Share], states: list[State], kept: list[Any]
    ) -> None:
        self.rule = rule
        self.shares = shares
        # All that the optimizer has, and how many entries.
        self.states = states
        self.sizes = sum(map(len, states))
        # The tensors in states that the rule knows, all different.
        self.kept = kept
        # The numbers of the last step, until an option changes.
        self.given: Given | None = None

    @classmethod
    def of(
        cls,
        optimizer: Optimizer,
        items: Sequence[Item],
        rule: Any,
        layout: Sequence[tuple[str, ...]],
        numbers: Sequence[dict[str, Number]],
    ) -> Recipe | None:
        """The recipe of a step that was just taken; None where steps differ from each other."""
        shares, at = [], 0
        for group in optimizer.param_groups:
            mine = [i for i in items if i.group is group]
            if not mine:
                continue
            names = layout[at]
            given = numbers[at]
            steps = [_count(i.state) for i in mine]
            for i, kept in zip(mine, layout[at : at + len(mine)], strict=True):
                if kept != names or len(i.state) != len(names) + ("step" in i.state):
                    return None
            shared = (
                all(step == steps[0] for step in steps)
                and all(n == given for n in numbers[at : at + len(mine)])
                and _independent(optimizer, mine[0], given)
            )
            shares.append(
                Share(
                    group,
                    [i.param for i in mine],
                    [i.state for i in mine],
                    itemgetter(*names) if names else None,
                    len(names) == 1,
                    shared,
                    list(group.values()) if shared and steps[0] is None and _fixed(group) else None,
                )
            )
            at += len(mine)
        states = [state for share in shares for state in share.states]
        if at != len(items) or (any(states) and not all(states)):
            return None
        kept = [i.state[k] for i, names in zip(items, layout, strict=True) for k in names]
        if len(set(map(id, kept))) != len(kept):
            return None
        return cls(rule, shares, list(optimizer.state.values()), kept)

    def take(self, optimizer: Optimizer) -> bool:
        """The step, if it is the same as the last one; False: nothing was done."""
        known = optimizer.state
        if len(known) != len(self.states):
            return False
        if known and not (
            all(map(is_, known.values(), self.states)) and sum(map(len, self.states)) == self.sizes
        ):
            return False
        params: list[Any] = []
        kept: list[Any] = []
        shares = iter(self.shares)
        for group in optimizer.param_groups:
            active = [p for p in group["params"] if p._grad is not None]
            if not active:
                continue
            share = next(shares, None)
            if share is None or share.group is not group or len(active) != len(share.params):
                return False
            if not all(map(is_, active, share.params)):
                return False
            if group.get("differentiable") or group.get("capturable"):
                return False
            params += active
            if share.kept is not None:
                found = map(share.kept, share.states)
                kept += found if share.single else chain.from_iterable(found)
        if next(shares, None) is not None:
            return False
        if kept and not all(map(is_, kept, self.kept)):
            return False
        before = None
        if self.states:
            before = Before(params[0], chain.from_iterable([s.alike() for s in self.shares]))
        try:
            # First of all: they may read values.
            numbers = self.given
            if numbers is None or not self.unchanged():
                numbers = given(self.rule, self.numbers(optimizer))
                self.given = None if any(s.options is None for s in self.shares) else numbers
            if quick_update(self.rule, [*params, *[p._grad for p in params]], kept, numbers):
                return True
            if not self.states:
                return False
            # The counters have moved on: the long way takes it from here.
            items = [
                Item(p, p._grad, state, share.group)
                for share in self.shares
                for p, state in zip(share.params, share.states, strict=True)
            ]
            apply_with(optimizer, items, [n for n, count in numbers.runs for _ in range(count)])
        except BaseException as error:
            if before is not None:
                before.restore(error)
            raise
        return True

    def unchanged(self) -> bool:
        """Whether all groups have the options that they had the last time."""
        same = True
        for share in self.shares:
            options = share.options
            if not all(map(is_, share.group.values(), options)):
                share.options[:] = share.group.values()  # type: ignore[index]
                same = False
        return same

    def numbers(self, optimizer: Optimizer) -> list[tuple[dict[str, Number], int]]:
        """The numbers of this step, with how many parameters in a row have them."""
        found = []
        for share in self.shares:
            states = share.states
            if share.shared and advance_together(states):
                found.append((optimizer.numbers(states[0], share.group), len(states)))
            else:
                found += [(optimizer.numbers(s, share.group), 1) for s in states]
        return merged(found)


def advance_together(states: Sequence[State]) -> bool:
    """Adds one to the counters of all states but the first, if all are the same."""
    if "step" not in states[0]:
        return True
    counters = [s["step"]._storage for s in states]
    if not all([c.plain for c in counters]):
        return False
    arrays = [c.writable() for c in counters]
    value = arrays[0].item()
    if [a.item() for a in arrays] != [value] * len(arrays):
        return False
    value += 1
    for c, a in zip(counters[1:], arrays[1:]):
        a.fill(value)
        c.version += 1
    return True


def merged(
    runs: Sequence[tuple[dict[str, Number], int]],
) -> list[tuple[dict[str, Number], int]]:
    """The same with neighbours that are equal in one."""
    found = runs[:1]
    for n, count in runs[1:]:
        if n == found[-1][0]:
            found[-1] = (found[-1][0], found[-1][1] + count)
        else:
            found.append((n, count))
    return list(found)


def _fixed(group: Group) -> bool:
    """Whether an option is the same as long as it is the same object."""
    return all(
        v is None
        or isinstance(v, (float, int, str))
        or (isinstance(v, tuple) and all(isinstance(x, float) for x in v))
        for k, v in group.items()
        if k not in ("params", "param_names")
    )


def _count(state: State) -> float | None:
    return _value(state.get("step"))


def _value(counter: Any) -> Any:
    if not isinstance(counter, flambeau.Tensor):
        return counter
    storage = counter._storage
    return storage.memory.item() if storage is not None and storage.plain else counter.item()


def _independent(optimizer: Optimizer, item: Item, given: dict[str, Number]) -> bool:
    """Whether numbers come of the group and the counter alone, not of other tensors' values."""
    stand_ins = {k: _StandIn() for k in item.state}
    if "step" in item.state:
        stand_ins["step"] = new_counter(_count(item.state) - 1)
    try:
        return optimizer.numbers(stand_ins, item.group) == given
    except (_Asked, TypeError):
        return False


class _Asked(Exception):
    """A stand-in was asked for something."""


class _StandIn:
    """Takes the place of a tensor that numbers should not depend on."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _Asked


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
        value = storage.writable()
        value += 1
        storage.version += 1
        return float(value)
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
