"""What is compared of a function's samples: values, gradients, and the same in every guise."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import torch

import flambeau
from flambeau.run import program
from generated.comparing import (
    FINE,
    LOOSE,
    USUAL,
    Difference,
    first_line,
    infinite,
    same,
    same_gradients,
    same_refusal,
)
from generated.nearness import as_near
from generated.operands import HALVES, build
from generated.samples import Sample
from generated.sides import gradients, namespace, quiet, seed, seen, target

# Results that are memory nobody has written to: shape and dtype alone are defined.
UNWRITTEN = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "Tensor.new_empty",
    "Tensor.new_empty_strided", "Tensor.resize_", "Tensor.resize_as_",
}  # fmt: skip
# Second gradients are less exact: two sums of many numbers in 32 bits.
SECOND = 5e-4


@dataclass
class Outcome:
    """What a call did in one library."""

    # What the call raised; what its gradients and what their gradients raised.
    error: Exception | None = None
    undone: Exception | None = None
    not_twice: Exception | None = None
    value: Any = None
    first: Sequence[Any] = ()
    second: Sequence[Any] = ()
    # The floating-point operands that have gradients, and all operands after the call.
    leaves: Sequence[str] = ()
    after: dict[str, Any] = field(default_factory=dict)
    # The next number of the generator, if the call drew any.
    drawn: Any = None
    result: Any = None


def run(
    library: Any,
    sample: Sample,
    *,
    call: Callable | None = None,
    code: CodeType | None = None,
    dtype: str | None = None,
    layout: str = "contiguous",
    grad: bool = True,
    again: bool = False,
    early: bool = False,
    writes: bool | None = None,
    tier: Callable[[], Any] = program.steady,
    **more: Any,
) -> Outcome:
    """Calls a sample in a library, for other ``code`` and ``call`` than its own if they are given.

    ``grad``: of floating-point operands; ``again``: second gradients, too; ``early``: values are
    read before gradients are computed; ``writes``: to operands, which are no leaves then; ``tier``:
    the context that it runs in, interpreted or compiled.
    """
    grad = grad and not sample.marked("no-grad")
    again = again and grad and not sample.marked("no-second")
    writes = writing(sample) if writes is None else writes
    found = Outcome()
    with quiet(), tier():
        try:
            leaves = build(library, sample.operands, dtype=dtype, layout=layout, grad=grad)
            given = leaves
            if writes and grad:
                given = {n: t.clone() if t.requires_grad else t for n, t in leaves.items()}
            names = namespace(library, given) | more
            names["call"] = call or target(library, sample.name)
            seed(library, 0)
            state = library.get_rng_state() if library is torch else None
            found.result = eval(code or sample.code, names)
            if state is None or not torch.equal(state, torch.get_rng_state()):
                found.drawn = library.rand(()).item()
            if early:
                found.value = seen(library, found.result)
            wanted = {n: t for n, t in leaves.items() if t.requires_grad}
            found.leaves = list(wanted)
            try:
                found.first, found.second, found.not_twice = gradients(
                    library, found.result, list(wanted.values()), again
                )
            except Exception as e:  # whatever a library raises is what is compared
                found.undone = e
            if not early:
                found.value = seen(library, found.result)
            found.after = {n: seen(library, t) for n, t in given.items()}
        except Exception as e:
            found.error = e
    return found


def pair(
    sample: Sample,
    *,
    calls: Sequence[Any] = (None, None),
    theirs: Outcome | None = None,
    **how: Any,
) -> tuple[Outcome, Outcome]:
    """What Flambeau and PyTorch did (``theirs`` if known); without gradients where it has none."""
    theirs = theirs or run(torch, sample, call=calls[1], **how)
    if theirs.error is not None and re.search("derivative|differentia", str(theirs.error)):
        how["grad"] = False
        theirs = run(torch, sample, call=calls[1], **how)
    return run(flambeau, sample, call=calls[0], **how), theirs


def writing(sample: Sample) -> bool:
    """Whether a call changes its operands."""
    last = sample.name.rpartition(".")[2]
    changes = last.endswith("_") and not last.endswith("__")
    return changes or last.startswith("__i") or "out=" in sample.arguments


def tolerance(sample: Sample) -> float:
    return LOOSE if sample.marked("loose") else USUAL


def compare(
    what: str,
    sample: Sample,
    ours: Outcome,
    theirs: Outcome,
    *,
    low: bool = False,
    values: bool = True,
    dtype: str | None = None,
    **_: Any,
) -> None:
    """Raises :class:`Difference` unless both libraries did the same.

    What PyTorch computes but cannot differentiate Flambeau may differentiate.
    """
    if theirs.error is not None:
        same_refusal(what, ours.error, theirs.error)
        return
    for e in (ours.error, ours.undone if theirs.undone is None else None):
        if e is not None:
            raise Difference(f"{what}: raises {type(e).__name__}: {first_line(e)}") from e
    near = 5e-2 if low else tolerance(sample)
    if dtype == "float64" and near == USUAL:
        near = FINE
    values = values and sample.name not in UNWRITTEN
    how = {"tolerance": near, "values": values, "sign": sample.marked("sign")}
    same(what, ours.value, theirs.value, **how)
    same(f"{what}: operands after it", ours.after, theirs.after, **how)
    if theirs.drawn is not None and ours.drawn != theirs.drawn:
        raise Difference(f"{what}: the next draw is {ours.drawn}, not {theirs.drawn}")
    if not values or theirs.undone is not None:
        return
    names = theirs.leaves
    same_gradients(f"{what}: gradient", ours.first, theirs.first, names, near)
    if theirs.second:
        if ours.not_twice is not None:
            raise Difference(f"{what}: second gradient: {ours.not_twice}") from ours.not_twice
        second = ours.second or [None] * len(names)
        near = max(near, SECOND) if near >= USUAL else near
        what = f"{what}: second gradient"
        same_gradients(what, second, theirs.second, names, near, apart=infinite)


def compare_low(
    what: str, sample: Sample, ours: Outcome, theirs: Outcome, values: bool = True, **how: Any
) -> None:
    """:func:`compare` of 16 bits; what is as near to the exact result as PyTorch's is as good."""
    try:
        compare(what, sample, ours, theirs, low=True, values=values)
    except Difference:
        if not values or ours.error is not None or theirs.error is not None:
            raise
        compare(what, sample, ours, theirs, values=False)
        exact = run(torch, sample, **how | {"dtype": "exact"})
        found = [(o.value, o.first, o.second or None) for o in (ours, theirs, exact)]
        if exact.error is not None or not as_near(*found):
            raise


def comparing(sample: Sample) -> Callable:
    """What compares a sample: operands of 16 bits are less exact."""
    return compare_low if HALVES.keys() & set(sample.operands) else compare


def check(sample: Sample) -> None:
    """The call itself: values, first and second gradients, or that both refuse it."""
    theirs = run(torch, sample, again=True)
    if sample.refused:
        refusals = [found.error or found.undone for found in (run(flambeau, sample), theirs)]
        if refusals[1] is None:
            raise Difference(f"{sample}: PyTorch takes it")
        same_refusal(str(sample), *refusals)
        return
    if theirs.error is not None:
        without = run(torch, sample, grad=False)
        if (e := without.error) is not None:
            raise Difference(f"{sample}: PyTorch refuses it: {type(e).__name__}: {first_line(e)}")
    comparing(sample)(str(sample), sample, *pair(sample, again=True), again=True)
    if theirs.error is not None:
        # It takes nothing that requires grad.
        compare(str(sample), sample, run(flambeau, sample, grad=False), without)


@contextmanager
def compiling() -> Iterator[None]:
    """Programs are compiled at their first run."""
    program.compile_at_once(True)
    try:
        yield
    finally:
        program.compile_at_once(False)


def all_compiled() -> bool:
    """Whether each sample is compiled, not the first of a name alone."""
    return bool(os.environ.get("SAMPLES_COMPILE"))


def check_compiled(sample: Sample) -> None:
    """Native code gives the same."""
    theirs = run(torch, sample, again=True)
    if theirs.error is None:
        ours = run(flambeau, sample, again=True, tier=compiling)
        comparing(sample)(f"{sample} compiled", sample, ours, theirs, again=True)
