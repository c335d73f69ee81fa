"""The other guises of a function's samples: views, dtypes, methods, in place, ``out=``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import torch

import flambeau
from generated.comparing import Difference, lacking
from generated.functions import compare, compare_low, comparing, pair, run
from generated.operands import ARRAYS, DTYPES, build
from generated.samples import Sample, tables
from generated.sides import find, flat, name_of, namespace, quiet, seen, target

# By where a function is: where the method and what does the same in place are.
GUISES = {
    "": ("", "Tensor."),
    "Tensor": ("Tensor.",),
    "nn.functional": ("nn.functional.", "", "Tensor."),
}


def variants(sample: Sample) -> Iterator[tuple[str, Callable[[], None]]]:
    """The other guises of a sample, and what is asked of each."""
    if any(ARRAYS[n].ndim for n in sample.operands):
        for layout in ("transposed", "spread"):
            yield layout, lambda layout=layout: _layout(sample, layout)
    # What PyTorch takes of an empty tensor, without a look at its dtype, is chance.
    if "empty" not in sample.operands and any(ARRAYS[n].dtype.kind == "f" for n in sample.operands):
        for dtype in DTYPES:
            # So is what C libraries make of complex infinities.
            if dtype == "complex64" and "special" in sample.operands:
                continue
            if not dtype.startswith(("float", "bfloat")) and sample.marked("floats"):
                continue
            yield dtype, lambda dtype=dtype: _other_dtype(sample, dtype)
    for path in guises(sample):
        writes = path.endswith("_") or None
        yield path, lambda path=path, writes=writes: _guise(sample, path, writes=writes)
    if "out=" not in sample.arguments and sample.then is None and "Tensor." not in sample.name:
        yield "out=", lambda: _out(sample)


def _layout(sample: Sample, layout: str) -> None:
    ours, theirs = pair(sample, layout=layout)
    if theirs.error is not None:
        usual = run(torch, sample).result
        if not (isinstance(usual, torch.Tensor) and usual._is_view()):
            # Its kernel wants contiguous memory. Where the result would be a view, that is part of
            # what the function means.
            return
    # PyTorch draws in the order of memory.
    drew = theirs.drawn is not None
    comparing(sample)(f"{sample} {layout}", sample, ours, theirs, values=not drew)


def _other_dtype(sample: Sample, dtype: str) -> None:
    # Gradients at infinities are not the same for all of PyTorch's dtypes.
    grad = dtype not in ("int64", "bool") and "special" not in sample.operands
    how: dict[str, Any] = {"dtype": dtype, "grad": grad, "early": True}
    how["again"] = dtype == "float64"
    theirs = run(torch, sample, **how)
    if theirs.error is not None and how["grad"]:
        # What PyTorch cannot differentiate it may compute.
        how["grad"] = False
        theirs = run(torch, sample, **how)
    if not lacking(theirs.error):
        ours = run(flambeau, sample, **how)
        f = compare_low if dtype == "bfloat16" else comparing(sample)
        f(f"{sample} {dtype}", sample, ours, theirs, **how)


@lru_cache(None)
def guises(sample: Sample) -> tuple[str, ...]:
    """The names of what does the same: the method, in place, without ``nn.functional``."""
    space, _, last = sample.name.rpartition(".")
    spaces = GUISES.get(space)
    if spaces is None or sample.then is not None or _self(sample) is None:
        return ()
    into = [] if "out=" in sample.arguments or last.endswith("_") else [f"{last}_"]
    names = [f"{s}{name}" for s in spaces for name in (last, *into)]
    found = [name for name in names if name != sample.name and _has(name)]
    if space == "nn.functional":
        # The function below it may have other arguments, and samples of its own.
        found = [n for n in found if n not in tables() and _taken(sample, n)]
    return tuple(found)


@lru_cache(None)
def _self(sample: Sample) -> tuple[str, list[str]] | None:
    """The text of the first argument, if it is a tensor, and of the others."""
    tree = sample.tree
    if not tree.args or isinstance(tree.args[0], ast.Starred) or sample.then is not None:
        return None
    first, *rest = [ast.unparse(a) for a in tree.args]
    names = namespace(torch, build(torch, sample.operands))
    with quiet():
        if not isinstance(eval(first, names), torch.Tensor):
            return None
    return first, [*rest, *(ast.unparse(k) for k in tree.keywords)]


def _has(path: str) -> bool:
    try:
        return callable(find(torch, path))
    except AttributeError:
        return False


def _code(sample: Sample, path: str) -> CodeType:
    """A sample as a call of another name."""
    first, rest = _self(sample) or ("", [])
    owner, _, last = path.rpartition(".")
    call = f"({first}).{last}(" if owner == "Tensor" else f"call({first}, "
    return compile(f"{call}{', '.join(rest)})", f"{path} of {sample}", "eval")


def _taken(sample: Sample, path: str) -> bool:
    found = run(torch, sample, call=target(torch, path), code=_code(sample, path), grad=False)
    return not isinstance(found.error, TypeError)


def _guise(sample: Sample, path: str, writes: bool | None = None) -> None:
    try:
        calls = [target(m, path) for m in (flambeau, torch)]
    except AttributeError:
        raise Difference(f"{sample}: there is no {path}") from None
    how: dict[str, Any] = {"calls": calls, "code": _code(sample, path), "writes": writes}
    comparing(sample)(f"{sample} {path}", sample, *pair(sample, **how))


def _out(sample: Sample) -> None:
    """``out=``, where PyTorch's function has it: the result is written to it and is it."""
    plain = run(torch, sample, grad=False)
    tensors = flat(torch, plain.result)
    if plain.error is not None or not tensors:
        return
    separator = ", " if sample.arguments else ""
    code = compile(f"call({sample.arguments}{separator}out=out)", f"{sample} out=", "eval")
    found = []
    for library in (torch, flambeau):
        outs = tuple(
            library.ones(tuple(t.shape), dtype=find(library, name_of(t.dtype))) for t in tensors
        )
        single = isinstance(plain.result, torch.Tensor)
        outcome = run(
            library, sample, code=code, grad=False, writes=True, out=outs[0] if single else outs
        )
        if isinstance(outcome.error, TypeError) and library is torch:
            return
        for t, out in zip(flat(library, outcome.result), outs):
            if t is not out and library is flambeau:
                raise Difference(f"{sample} out=: the result is not the tensor given")
        outcome.after |= {f"out{i}": seen(library, t) for i, t in enumerate(outs)}
        found.append(outcome)
    compare(f"{sample} out=", sample, found[1], found[0])


def check(samples: Sequence[Sample]) -> None:
    """All guises of a name's samples; what is wrong with any is said together."""
    wrong = []
    for sample in samples:
        if sample.refused:
            continue
        for _, ask in variants(sample):
            try:
                ask()
            except Difference as e:
                wrong.append(str(e))
    if wrong:
        raise Difference("\n".join(wrong))
