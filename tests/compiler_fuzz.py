"""Runs random programs under every tier and with PyTorch, and compares what they compute.

``check(seed)`` is the fuzzer's unit of work: ``None``, or what differs. ``reduced`` takes lines out
of a failing program for as long as it fails.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

import flambeau
from flambeau.record import trace
from flambeau.run import program as tiers
from fuzz_programs import EPS, FuzzProgram, generate, optimizer, place

__all__ = ["Failure", "check", "generate", "judge", "reduced", "run"]

TIERS = {"interpret": (2, 6), "compile": (1, 1), "auto": (2, 6)}
# Relative, by type; and how much of what a small disturbance of the inputs does is allowed.
TOLERANCE = {"float64": 1e-9, "float32": 4e-5, "float16": 8e-3, "bfloat16": 6e-2}
DISTURBED = 150.0
# How much of what PyTorch's own rounding does to a value is.
ROUNDED = 32.0


@dataclass
class Outcome:
    """What a run showed: (what, type, array or text) in order; the error that ended it."""

    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    error: str = ""
    at: int = -1


@dataclass
class Failure:
    program: FuzzProgram
    kind: str
    text: str

    def __str__(self) -> str:
        return f"seed {self.program.seed}: {self.kind}: {self.text}"


def fresh(tier: str) -> None:
    """Forgets all paths and programs; those to come run in this tier."""
    trace.renew(trace.open_.trace)
    trace.trie.roots.clear()
    trace.trie.count = 0
    trace.renew(trace.open_.trace)
    tiers.TIER = tier
    tiers.START, tiers.PROMOTE = TIERS[tier]


def seen(what: str, value: Any) -> tuple[str, str, Any]:
    """A value as it is compared."""
    if value is None or isinstance(value, str):
        return what, "text", str(value)
    if isinstance(value, np.ndarray):
        return (
            what,
            value.dtype.name,
            np.array(value, np.float64 if value.dtype.kind == "f" else None),
        )
    if hasattr(value, "requires_grad"):
        dtype = str(value.dtype).split(".")[-1]
        array = np.array(value.detach().tolist())
        return what, f"{dtype}{list(value.shape)}", array.reshape(tuple(value.shape))
    array = np.array(value)
    # A Python float says nothing of what it was computed in.
    return what, "number" if array.dtype.kind == "f" else array.dtype.name, array


class Shaken:
    """Functions whose normalisations get inputs that are a little disturbed.

    Of a row of equals the last bits decide what is left when the mean is taken off.
    """

    def __init__(self, functions: Any, noise: float) -> None:
        self.functions = functions
        self.noise = noise

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.functions, name)
        if not name.endswith("_norm"):
            return found

        def shaken(x: Any, *args: Any, **options: Any) -> Any:
            eps = EPS[str(x.dtype).split(".")[1]]
            rng = np.random.default_rng([int(self.noise), x.numel()])
            factor = 1 + eps * rng.uniform(-1, 1, tuple(x.shape))
            return found(x * torch.tensor(factor, dtype=x.dtype), *args, **options)

        return shaken


def run(module: Any, p: FuzzProgram, noise: float = 0.0) -> Outcome:
    """All iterations of a program with a framework; ``noise`` disturbs its inputs a little."""
    space: dict[str, Any] = {}
    exec(compile(p.text(), f"<seed {p.seed}>", "exec"), space)
    function, out = space["program"], Outcome()
    functions = module.nn.functional
    if noise:
        functions = Shaken(functions, noise)
    fixed, states = {}, {}
    for i in p.inputs:
        if i.role != "x":
            made = place(module, i, i.array(p.seed, 0, noise))
            (fixed if i.role == "w" else states)[i.name] = made
    leaves = list(fixed.values())
    opt = optimizer(module, p.optimizer, leaves) if p.optimizer and leaves else None
    held: list[Any] = []
    results: list[Any] = []
    for t in range(p.iterations):
        given = {
            i.name: fixed[i.name] if i.role == "w" else states[i.name] if i.role == "s"
            else place(module, i, i.array(p.seed, t, noise))
            for i in p.inputs
        }  # fmt: skip
        looks: list[Any] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", message="the compiler failed")
                found = function(
                    module, functions, np, t, looks.append, held.append, opt, states,
                    **given,
                )  # fmt: skip
                for k, value in enumerate(looks):
                    out.seen.append(seen(f"look {k} at {t}", value))
                if t in p.reads:
                    for name, value in zip(p.returns, found, strict=True):
                        out.seen.append(seen(f"{name} at {t}", value))
                results = [*results, found] if p.keeps else [found]
        except Exception as e:
            out.error, out.at = f"{type(e).__name__}: {e}", t
            break
        del given, found, looks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="the compiler failed")
        try:
            for n, values in enumerate(results):
                for name, value in zip(p.returns, values, strict=True):
                    out.seen.append(seen(f"{name} of result {n} in the end", value))
            for name, value in (*fixed.items(), *states.items()):
                out.seen.append(seen(f"{name} in the end", value))
                out.seen.append(seen(f"{name}.grad", value.grad))
            for n, value in enumerate(held):
                out.seen.append(seen(f"held {n}", value))
        except Exception as e:
            out.error, out.at = f"{type(e).__name__}: {e}", p.iterations
    return out


def coarsest(p: FuzzProgram) -> float:
    """What values of any type may have been rounded to on their way, if that is not their own."""
    text = p.text() + " ".join(i.dtype for i in p.inputs)
    if p.coarse:
        return TOLERANCE["bfloat16" if "bfloat16" in text else "float16"]
    narrow = "float32" in text or "float()" in text or "type_as" in text
    wide = "float64" in text or "double()" in text
    return TOLERANCE["float32"] if narrow and wide else 0.0


def differs(
    a: tuple, b: tuple, disturbed: list[tuple], least: float, wide: tuple | None = None
) -> str:
    """Why two values differ; empty if they agree. ``wide``: the value computed in float64."""
    if a[:2] != b[:2]:
        # A gradient of zeros and none.
        if "grad" in a[0] and "text" in (a[1], b[1]):
            present = b[2] if a[1] == "text" else a[2]
            return "" if not np.any(present) else f"{a[0]}: {a[2]} and {b[2]}"
        if any(d[:2] != b[:2] for d in disturbed):
            return ""
        return f"{a[:2]} and {b[:2]}"
    x, y = a[2], b[2]
    if isinstance(x, str):
        return "" if x == y else f"{a[0]}: {x} and {y}"
    if x.dtype.kind != "f":
        wrong = x != y
        for d in disturbed:
            if isinstance(d[2], np.ndarray) and d[2].shape == y.shape:
                wrong &= d[2] == y
        # A few of many that the last bit of a 16-bit value decides.
        few = least > 1e-3 and np.count_nonzero(wrong) <= 0.02 * wrong.size
        return "" if few or not np.any(wrong) else worst(a[0], x, y, wrong)
    slack = np.zeros(y.shape)
    unsure = np.zeros(y.shape, bool)
    with np.errstate(all="ignore"):
        for d in disturbed:
            if not isinstance(d[2], np.ndarray) or d[2].shape != y.shape:
                return ""
            gap = np.abs(d[2] - y)
            unsure |= np.isfinite(d[2]) != np.isfinite(y)
            slack = np.maximum(slack, np.where(np.isfinite(gap), gap, 0.0))
        finite = np.abs(y[np.isfinite(y)])
        scale = float(finite.max()) if finite.size else 1.0
        name = next((n for n in TOLERANCE if a[1].startswith(n)), "float32")
        rtol = max(TOLERANCE[name], least)
        # An element is as exact as its neighbours make it.
        if slack.size:
            slack = np.maximum(slack, float(slack.max()) * 0.05)
        limit = rtol * np.abs(y) + rtol * 0.25 * max(scale, 1.0) + DISTURBED * slack + 1e-30
        if wide and isinstance(wide[2], np.ndarray) and wide[2].shape == y.shape:
            gap = np.abs(wide[2] - y)
            limit = limit + ROUNDED * np.where(np.isfinite(gap), gap, 0.0)
        same = (x == y) | (np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= limit) | unsure
    return "" if np.all(same) else worst(a[0], x, y, ~same)


def worst(what: str, x: np.ndarray, y: np.ndarray, wrong: np.ndarray) -> str:
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    count = int(np.count_nonzero(wrong))
    return f"{what}: {count} of {x.size} differ, at {list(at)} {x[at]!r} and {y[at]!r}"


def disagree(
    a: Outcome, b: Outcome, disturbed: list[Outcome], least: float, wide: Outcome | None
) -> str:
    if (a.at, bool(a.error)) != (b.at, bool(b.error)):
        return f"errors {a.error!r} at {a.at} and {b.error!r} at {b.at}"
    if len(a.seen) != len(b.seen):
        return f"{len(a.seen)} and {len(b.seen)} values"
    for k, (x, y) in enumerate(zip(a.seen, b.seen, strict=True)):
        near = [d.seen[k] for d in disturbed if len(d.seen) == len(b.seen)]
        exact = wide.seen[k] if wide and len(wide.seen) == len(b.seen) else None
        found = differs(x, y, near, least, exact)
        if found:
            return found
    return ""


def at_once(p: FuzzProgram) -> FuzzProgram:
    """The program with every value that may be refused read where it is computed."""
    lines = [re.sub(r"^try: (\w+) = (.*)", r"try: \1 = (\2); \1.item()", x) for x in p.lines]
    return replace(p, lines=lines, reads_at_once=True)


def judge(p: FuzzProgram, names: tuple[str, ...] = tuple(TIERS)) -> Failure | None:
    """Runs a program everywhere; what differs, the tiers among themselves first."""
    truth = with_torch(p)
    outcomes: dict[str, Outcome] = {}
    before = tiers.TIER, tiers.START, tiers.PROMOTE
    try:
        for name in names:
            fresh(name)
            outcomes[name] = run(flambeau, p)
        fresh("interpret")
    finally:
        tiers.TIER, tiers.START, tiers.PROMOTE = before
    wanted = 0 if p.reads_at_once else sum(map(_refused, truth.seen))
    if wanted and sum(map(_refused, outcomes[names[0]].seen)) < wanted:
        # A computed value is found bad when it is needed, after the call or never: asked for at
        # once, it must be refused where PyTorch refuses it.
        return judge(at_once(p), names)
    if compared(p, names, outcomes, truth, [], None) is None:
        return None
    # Where the inputs' last bits decide what happens, nothing can be said.
    disturbed = [with_torch(p, noise) for noise in (1.0, 2.0)]
    if any((d.at, len(d.seen)) != (truth.at, len(truth.seen)) for d in disturbed):
        return None
    return compared(p, names, outcomes, truth, disturbed, with_torch(widened(p)))


def widened(p: FuzzProgram) -> FuzzProgram:
    """The program with float64 for float32: what PyTorch's own values are inexact by."""
    lines = [x.replace("float32", "float64").replace("float()", "double()") for x in p.lines]
    inputs = [replace(i, dtype=i.dtype.replace("float32", "float64")) for i in p.inputs]
    return replace(p, lines=lines, inputs=inputs)


def with_torch(p: FuzzProgram, noise: float = 0.0) -> Outcome:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run(torch, p, noise)
    finally:
        torch.set_num_threads(threads)


def _refused(value: tuple) -> bool:
    """Whether something looked at was refused (its last part may be an array, too)."""
    return len(value) == 3 and value[2].__class__ is str and value[2] == "refused"


def compared(
    p: FuzzProgram,
    names: tuple[str, ...],
    outcomes: dict[str, Outcome],
    truth: Outcome,
    disturbed: list[Outcome],
    wide: Outcome | None,
) -> Failure | None:
    least = coarsest(p)
    first = outcomes[names[0]]
    for name in names[1:]:
        found = disagree(outcomes[name], first, disturbed, least, wide)
        if found:
            return Failure(p, f"{name} and {names[0]}", found)
    found = disagree(first, truth, disturbed, least, wide)
    if found and truth.error:
        # What PyTorch refuses half way (a value written over) need not be refused, or not then;
        # bad values are refused within the program.
        return None
    return Failure(p, f"{names[0]} and PyTorch", found) if found else None


def check(seed: int, names: tuple[str, ...] = tuple(TIERS)) -> Failure | None:
    """What is wrong with the program of a seed."""
    return judge(generate(seed), names)


def reduced(failure: Failure, rounds: int = 4) -> Failure:
    """The same failure with as few lines and results as will do."""
    best = failure
    names = tuple(dict.fromkeys([failure.kind.split(" and ")[-1], failure.kind.split(" and ")[0]]))
    names = ("interpret", *[n for n in names if n in TIERS and n != "interpret"])

    def attempt(p: FuzzProgram) -> bool:
        nonlocal best
        try:
            found = judge(p, names)
        except Exception:
            return False
        if found is None or found.kind != failure.kind:
            return False
        if ("errors" in found.text) != ("errors" in failure.text):
            return False
        best = found
        return True

    for _ in range(rounds):
        before = len(best.program.lines) + len(best.program.returns)
        for size in (8, 4, 2, 1):
            k = len(best.program.lines) - size
            while k >= 0:
                lines = [*best.program.lines[:k], *best.program.lines[k + size :]]
                text = "\n".join(lines)
                returns = [n for n in best.program.returns if f"{n} =" in text or f"{n}, =" in text]
                attempt(replace(best.program, lines=lines, returns=returns))
                k -= 1
        for name in list(best.program.returns):
            attempt(replace(best.program, returns=[n for n in best.program.returns if n != name]))
        used = [i for i in best.program.inputs if i.name in "\n".join(best.program.lines)]
        attempt(replace(best.program, inputs=used))
        if best.program.optimizer:
            attempt(replace(best.program, optimizer=""))
        if len(best.program.lines) + len(best.program.returns) == before:
            break
    for n in range(1, 8):
        if attempt(replace(best.program, iterations=n)):
            break
    return best
