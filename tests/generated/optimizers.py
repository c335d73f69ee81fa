"""What is compared of the samples of optimizers and of schedules: steps, state, printed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import flambeau
from flambeau.run import program
from generated.comparing import Difference, close, first_line, same, same_refusal
from generated.functions import compiling, tolerance
from generated.operands import build
from generated.samples import Sample
from generated.sides import array_of, find, name_of, namespace, quiet, seen

STEPS, MORE = 5, 3
SHAPES = [(3, 4), (4,), (2, 3, 2), ()]
# Muon's parameters are matrices, SparseAdam's gradients are sparse.
MATRICES = [(3, 4), (5, 2)]
# Its line search goes by differences of losses that are nearly the same: in 64 bits.
FINE = {"optim.LBFGS"}


def problem(library: Any, name: str) -> tuple[list[Any], Callable[[], Any]]:
    """Parameters, and a closure that computes a loss and its gradients."""
    rng = np.random.default_rng(0)
    shapes = MATRICES if name in ("optim.Muon", "optim.SparseAdam") else SHAPES
    dtype = np.float64 if name in FINE else np.float32
    starts, scales = (
        [library.from_numpy(np.asarray(rng.uniform(low, 2, shape), dtype)) for shape in shapes]
        for low in (-2, 0.2)
    )
    params = [library.nn.Parameter(start) for start in starts]

    def closure() -> Any:
        for param in params:
            param.grad = None
        loss = sum((f * (p - 0.3) ** 2).sum() for f, p in zip(scales, params))
        loss.backward()
        if name == "optim.SparseAdam":
            for param in params:
                rows = library.tensor([[0, 2]])
                param.grad = library.sparse_coo_tensor(
                    rows, param.grad[rows[0]], tuple(param.shape)
                )
        return loss

    return params, closure


def make(library: Any, sample: Sample, params: list[Any]) -> Any:
    names = namespace(library, build(library, sample.operands))
    comma = ", " if sample.arguments else ""
    code = compile(f"call(params{comma}{sample.arguments})", str(sample), "eval")
    return eval(code, {**names, "call": find(library, sample.name), "params": params})


def step(optimizer: Any, closure: Callable[[], Any]) -> float:
    return float(optimizer.step(closure))


def run(
    library: Any, sample: Sample, loaded: Any = None, tier: Callable[[], Any] = program.steady
) -> dict[str, Any]:
    """All that can be seen of some steps; ``loaded`` is a state to start from, in arrays."""
    found: dict[str, Any] = {}
    with quiet(), tier():
        try:
            params, closure = problem(library, sample.name)
            optimizer = make(library, sample, params)
            found["printed"] = repr(optimizer)
            found["defaults"] = {k: seen(library, v) for k, v in optimizer.defaults.items()}
            if loaded is not None:
                optimizer.load_state_dict(given(library, loaded))
            steps = STEPS if loaded is None else MORE
            found["losses"] = [step(optimizer, closure) for _ in range(steps)]
            found["parameters"] = [seen(library, p) for p in params]
            found["state"] = seen(library, optimizer.state_dict())
            found["saved"] = taken(library, optimizer.state_dict())
            found["kept"] = [sorted(optimizer.state[p]) for p in params]
        except Exception as e:  # whatever a library raises is what is compared
            found["error"] = e
    return found


def taken(library: Any, value: Any) -> Any:
    """A state dict with arrays for tensors."""
    if isinstance(value, library.Tensor):
        return (array_of(library, value), name_of(value.dtype))
    if isinstance(value, dict):
        return {k: taken(library, v) for k, v in value.items()}
    if isinstance(value, list):
        return [taken(library, v) for v in value]
    return value


def given(library: Any, value: Any) -> Any:
    """The reverse of :func:`taken`."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray):
        return library.from_numpy(value[0].copy()).to(getattr(library, value[1]))
    if isinstance(value, dict):
        return {k: given(library, v) for k, v in value.items()}
    if isinstance(value, list):
        return [given(library, v) for v in value]
    return value


def compare(what: str, ours: dict[str, Any], theirs: dict[str, Any], near: float) -> None:
    """Raises :class:`Difference` unless both optimizers did the same."""
    if "error" in theirs:
        same_refusal(what, ours.get("error"), theirs["error"])
        return
    if "error" in ours:
        e = ours["error"]
        raise Difference(f"{what}: raises {type(e).__name__}: {first_line(e)}") from e
    for key in ("printed", "defaults", "kept", "parameters", "state"):
        our, their = ({"": found[key]} for found in (ours, theirs))
        same(f"{what}: {key}", listed(our), listed(their), tolerance=near)
    close(f"{what}: losses", np.array(ours["losses"]), np.array(theirs["losses"]), near)


def listed(value: Any) -> Any:
    """Lists as dictionaries, which ``same`` goes into; keys in order: theirs is no promise."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return value
    return {k: listed(value[k]) for k in sorted(value, key=str)}


def check(sample: Sample) -> None:
    """Steps from the start and from the other library's state, or that both refuse it."""
    theirs, ours = run(torch, sample), run(flambeau, sample)
    if sample.refused != ("error" in theirs):
        raise Difference(f"{sample}: PyTorch: {theirs.get('error', 'takes it')}")
    near = tolerance(sample)
    compare(str(sample), ours, theirs, near)
    if sample.refused:
        return
    for state, whose in ((theirs["saved"], "PyTorch's"), (ours["saved"], "Flambeau's")):
        further = [run(library, sample, state) for library in (flambeau, torch)]
        compare(f"{sample} from {whose} state", *further, near)


def check_compiled(sample: Sample) -> None:
    """Native code gives the same."""
    ours = run(flambeau, sample, tier=compiling)
    compare(f"{sample} compiled", ours, run(torch, sample), tolerance(sample))


def schedule(library: Any, sample: Sample) -> dict[str, Any]:
    """The learning rates that a schedule sets in 12 steps; an exception under ``error``."""
    found: dict[str, Any] = {}
    with quiet():
        try:
            params, closure = problem(library, "optim.SGD")
            optimizer = library.optim.SGD(
                [{"params": params[:2]}, {"params": params[2:], "lr": 0.1}], lr=0.5, momentum=0.9
            )
            names = namespace(library, build(library, sample.operands))
            names |= {"optimizer": optimizer, "call": find(library, sample.name)}
            made = eval(f"call({of_optimizer(sample)})", names)
            metric = isinstance(made, library.optim.lr_scheduler.ReduceLROnPlateau)
            rates, momenta = [], []
            for at in range(12):
                step(optimizer, closure)
                made.step(*[abs(at - 5.0)] * metric)
                rates.append([group["lr"] for group in optimizer.param_groups])
                momenta.append([group["momentum"] for group in optimizer.param_groups])
            found["rates"], found["momenta"] = np.array(rates), np.array(momenta)
            found["keys"] = sorted(made.state_dict())
        except Exception as e:  # whatever a library raises is what is compared
            found["error"] = e
    return found


def of_optimizer(sample: Sample) -> str:
    """The arguments of a schedule; one that is made of others takes no optimizer first."""
    first = next(iter(inspect.signature(find(torch, sample.name)).parameters))
    return ", ".join(["optimizer"] * (first == "optimizer") + [sample.arguments])


def check_schedule(sample: Sample) -> None:
    """The same rates at each step, or that both libraries refuse it."""
    theirs, ours = schedule(torch, sample), schedule(flambeau, sample)
    if sample.refused != ("error" in theirs):
        raise Difference(f"{sample}: PyTorch: {theirs.get('error', 'takes it')}")
    if sample.refused:
        same_refusal(str(sample), ours.get("error"), theirs["error"])
        return
    if "error" in ours:
        raise Difference(f"{sample}: raises {ours['error']!r}") from ours["error"]
    close(f"{sample}: rates", ours["rates"], theirs["rates"], 1e-9)
    close(f"{sample}: momenta", ours["momenta"], theirs["momenta"], 1e-9)
    if ours["keys"] != theirs["keys"]:
        raise Difference(f"{sample}: state {ours['keys']}, not {theirs['keys']}")
