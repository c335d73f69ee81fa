"""What is compared of a layer's samples: printed form, parameters, results, gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

import flambeau
from flambeau.run import program
from generated.comparing import (
    Difference,
    first_line,
    lacking,
    same,
    same_gradients,
    same_refusal,
)
from generated.functions import compiling, tolerance
from generated.nearness import as_near
from generated.operands import build
from generated.samples import Sample
from generated.sides import find, gradients, namespace, quiet, seen

# Roundings add up through several layers.
HALF = 0.2


def run(
    library: Any,
    sample: Sample,
    train: bool = True,
    half: bool = False,
    exact: bool = False,
    tier: Callable[[], Any] = program.steady,
) -> dict[str, Any]:
    """All that can be seen of a layer; what is raised is under ``error``.

    ``half``: in 16 bits; ``exact``, too: of those numbers, but computed in 64.
    """
    found: dict[str, Any] = {}
    dtype = "exact" if exact else "bfloat16" if half else None
    with quiet(), tier():
        try:
            leaves = build(library, sample.operands, dtype=dtype, grad=True)
            # A layer may write to what it gets, which is no leaf then.
            given = {n: t * 1 if t.requires_grad else t for n, t in leaves.items()}
            names = namespace(library, given)
            library.manual_seed(3)
            layer = eval(sample.making, {**names, "call": find(library, sample.name)})
            layer.train(train)
            if half:
                layer.bfloat16()
            if exact:
                layer.double()
            found["printed"] = repr(layer)
            if sample.then is None:
                found["state"] = state(library, layer)
                return found
            library.manual_seed(11)
            use = compile(f"layer({sample.then})", str(sample), "eval")
            result = eval(use, {**names, "layer": layer})
            found["next draw"] = library.rand(()).item()
            if not sample.marked("no-grad"):
                wanted = {n: t for n, t in leaves.items() if t.requires_grad}
                wanted |= {n: p for n, p in layer.named_parameters() if p.requires_grad}
                grads, *_ = gradients(library, result, list(wanted.values()), False)
                found["gradients"] = dict(zip(wanted, grads))
            found["result"] = seen(library, result)
            # Lazy layers are others by now.
            found["printed after"] = repr(layer)
            found["state"] = state(library, layer)
        except Exception as e:  # whatever a library raises is what is compared
            found["error"] = e
    return found


def state(library: Any, layer: Any) -> dict[str, Any]:
    return {key: seen(library, value) for key, value in layer.state_dict().items()}


def compare(what: str, ours: dict[str, Any], theirs: dict[str, Any], near: float) -> None:
    """Raises :class:`Difference` unless both layers did the same."""
    if "error" in theirs:
        same_refusal(what, ours.get("error"), theirs["error"])
        return
    if "error" in ours:
        e = ours["error"]
        raise Difference(f"{what}: raises {type(e).__name__}: {first_line(e)}") from e
    for key, their in theirs.items():
        if key != "gradients":
            same(f"{what}: {key}", ours[key], their, tolerance=near)
            continue
        names = list(their)
        if list(ours[key]) != names:
            raise Difference(f"{what}: gradients of {list(ours[key])}, not {names}")
        values = [list(found[key].values()) for found in (ours, theirs)]
        same_gradients(f"{what}: gradient", *values, names, near)


def check(sample: Sample) -> None:
    """In training and in evaluation, or that both libraries refuse it."""
    for train in (True, False):
        theirs = run(torch, sample, train)
        if sample.refused and "error" not in theirs:
            raise Difference(f"{sample}: PyTorch takes it")
        if not sample.refused and "error" in theirs:
            e = theirs["error"]
            raise Difference(f"{sample}: PyTorch refuses it: {type(e).__name__}: {first_line(e)}")
        what = f"{sample} in {'training' if train else 'evaluation'}"
        compare(what, run(flambeau, sample, train), theirs, tolerance(sample))
        if sample.refused:
            return


def check_compiled(sample: Sample) -> None:
    """Native code gives the same."""
    ours = run(flambeau, sample, tier=compiling)
    compare(f"{sample} compiled", ours, run(torch, sample), tolerance(sample))


def is_as_near(sample: Sample, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether results and gradients are as near to those of 64 bits as PyTorch's are."""
    exact = run(torch, sample, half=True, exact=True)
    if any("error" in found for found in (ours, theirs, exact)):
        return False
    parts = ("result", "gradients", "state")
    return as_near(*[[found.get(part) for part in parts] for found in (ours, theirs, exact)])


def check_halves(samples: Sequence[Sample]) -> None:
    """The layer and its inputs in 16 bits, where PyTorch has that."""
    wrong = []
    for sample in samples:
        theirs = run(torch, sample, half=True)
        if sample.refused or lacking(theirs.get("error")):
            continue
        try:
            ours = run(flambeau, sample, half=True)
            compare(f"{sample} in bfloat16", ours, theirs, 5e-2)
        except Difference as e:
            if not is_as_near(sample, ours, theirs):
                wrong.append(str(e))
    if wrong:
        raise Difference("\n".join(wrong))
