"""What is compared of a distribution's samples: its form, moments, draws, densities, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import flambeau
from flambeau.run import program
from generated.comparing import Difference, first_line, same, same_gradients, same_refusal
from generated.functions import tolerance
from generated.operands import build
from generated.samples import Sample
from generated.sides import find, gradients, namespace, quiet, seen

# Facts of a distribution that are properties or take no arguments.
FACTS = (
    "batch_shape", "event_shape", "support", "has_rsample", "mean", "mode", "variance", "stddev",
    "entropy", "enumerate_support", "param_shape", "precision_matrix", "covariance_matrix",
)  # fmt: skip
# PyTorch's mode is nan but for parameters that it has none for.
UNLIKE = {("distributions.Kumaraswamy", "mode")}
# Functions of a value.
OF_VALUES = ("log_prob", "cdf", "icdf")


def run(library: Any, sample: Sample, tier: Callable[[], Any] = program.steady) -> dict[str, Any]:
    """All that can be seen of a distribution; what is raised stands under ``error``."""
    found: dict[str, Any] = {}
    with quiet(), tier():
        try:
            leaves = build(library, sample.operands, grad=True)
            names = namespace(library, leaves)
            made = eval(sample.making, {**names, "call": find(library, sample.name)})
            found["printed"] = repr(made)
        except Exception as e:  # whatever a library raises is what is compared
            return {"error": e}
        asked: dict[str, Callable[[], Any]] = {
            fact: lambda fact=fact: _fact(made, fact)
            for fact in FACTS
            if (sample.name, fact) not in UNLIKE
        }
        library.manual_seed(4)
        asked["sample"] = lambda: made.sample((3,))
        asked["rsample"] = lambda: made.rsample()
        asked["expand"] = lambda: made.expand((2, *made.batch_shape)).log_prob(made.sample())
        if sample.then is not None:
            value = eval(sample.then, names)
            for name in OF_VALUES:
                asked[name] = lambda name=name: getattr(made, name)(value)
        wanted = {n: t for n, t in leaves.items() if t.requires_grad}
        for what, ask in asked.items():
            try:
                result = ask()
                # Facts of a distribution share what they are computed of.
                grads, *_ = gradients(library, result, list(wanted.values()), False, retain=True)
                found[what] = seen(library, result)
                found[f"gradients of {what}"] = dict(zip(wanted, grads))
            except Exception as e:
                found[what] = e
        found["next draw"] = library.rand(()).item()
    return found


def _fact(made: Any, name: str) -> Any:
    fact = getattr(made, name)
    return fact() if callable(fact) and name in ("entropy", "enumerate_support") else fact


def compare(what: str, ours: dict[str, Any], theirs: dict[str, Any], near: float) -> None:
    """Raises :class:`Difference` unless both distributions are the same."""
    if "error" in theirs:
        same_refusal(what, ours.get("error"), theirs["error"])
        return
    if "error" in ours:
        raise Difference(f"{what}: raises {ours['error']!r}") from ours["error"]
    for key, their in theirs.items():
        our = ours.get(key)
        if isinstance(their, Exception):
            same_refusal(f"{what}: {key}", our if isinstance(our, Exception) else None, their)
        elif isinstance(our, Exception):
            raise Difference(
                f"{what}: {key} raises {type(our).__name__}: {first_line(our)}"
            ) from our
        elif key.startswith("gradients"):
            values = [list((found or {}).values()) for found in (our, their)]
            same_gradients(f"{what}: {key}", *values, list(their), near)
        else:
            same(f"{what}: {key}", our, their, tolerance=near, history=key != "expand")


def check(sample: Sample) -> None:
    """Everything that PyTorch's says of itself, or that both libraries refuse the parameters."""
    theirs = run(torch, sample)
    if sample.refused != ("error" in theirs):
        raise Difference(f"{sample}: PyTorch: {theirs.get('error', 'takes it')}")
    compare(str(sample), run(flambeau, sample), theirs, tolerance(sample))
