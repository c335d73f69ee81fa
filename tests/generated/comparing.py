"""When two results are the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from generated.operands import ARRAYS
from generated.sides import Seen

LOW = {"float16": 1e-2, "bfloat16": 5e-2}
USUAL, LOOSE = 1e-4, 1e-3
# Of numbers of 64 bits where all operands are.
FINE = 1e-6


# PyTorch has no kernel for a dtype: Flambeau may, its primitives take all.
LACKING = re.compile(
    "not implemented for|not supported for|does not support|unsupported dtype"
    "|expected scalar type|same dtype|support tensors of type|Expected self to be a floating-point"
)


class Difference(AssertionError):
    """Flambeau answered, but differently."""


def close(what: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Raises :class:`Difference` unless two arrays are alike: integers equal, others near.

    ``tolerance`` is relative to each value, and a tenth of it to the largest: a hundredth of
    :data:`FINE`.
    """
    if ours.shape != theirs.shape:
        raise Difference(f"{what}: shape {ours.shape}, not {theirs.shape}")
    if theirs.size == 0:
        return
    if theirs.dtype.kind not in "fc":
        if not np.array_equal(ours, theirs):
            raise Difference(f"{what}: {ours}, not {theirs}")
        return
    if theirs.dtype in (np.float32, np.complex64):
        tolerance = max(tolerance, USUAL)
    finite = np.abs(theirs[np.isfinite(theirs)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    part = 0.01 if tolerance <= FINE else 0.1
    with np.errstate(all="ignore"):
        alike = np.isclose(
            ours, theirs, rtol=tolerance, atol=part * tolerance * scale, equal_nan=True
        )
    if not alike.all():
        at = np.unravel_index(int(np.argmin(alike)), alike.shape)
        count = int((~alike).sum())
        raise Difference(
            f"{what}: {count} of {alike.size} values differ, first {ours[at]}, not {theirs[at]}"
        )


def same(
    what: str, ours: Any, theirs: Any, *, tolerance: float = USUAL, values: bool = True,
    sign: bool = False, history: bool = True,
) -> None:  # fmt: skip
    """Raises :class:`Difference` unless two results, as ``sides.seen`` tells of them, are alike.

    ``values=False`` compares shapes and dtypes; ``sign`` magnitudes; ``history=False`` leaves out
    whether tensors require grad.
    """
    more = {"tolerance": tolerance, "values": values, "sign": sign, "history": history}
    if isinstance(theirs, Seen):
        if not isinstance(ours, Seen):
            raise Difference(f"{what}: {ours!r}, not a tensor")
        for fact in ("dtype", "layout", *["requires_grad"] * history):
            if getattr(ours, fact) != getattr(theirs, fact):
                raise Difference(
                    f"{what}: {fact} {getattr(ours, fact)}, not {getattr(theirs, fact)}"
                )
        a, b = ours.array, theirs.array
        if not values:
            a, b = np.zeros(a.shape), np.zeros(b.shape)
        elif sign:
            a, b = np.abs(a), np.abs(b)
        close(what, a, b, max(tolerance, LOW.get(theirs.dtype, 0)))
    elif isinstance(theirs, dict):
        if not isinstance(ours, dict) or list(ours) != list(theirs):
            keys = list(ours) if isinstance(ours, dict) else ours
            raise Difference(f"{what}: {keys}, not {list(theirs)}")
        for key, value in theirs.items():
            same(f"{what}[{key!r}]", ours[key], value, **more)
    elif isinstance(theirs, (float, complex)) and isinstance(ours, type(theirs)):
        if values:
            close(what, np.asarray(ours), np.asarray(theirs), tolerance)
    elif type(ours) is not type(theirs) or (values and ours != theirs):
        raise Difference(f"{what}: {ours!r}, not {theirs!r}")


def same_gradients(
    what: str,
    ours: Sequence[np.ndarray | None],
    theirs: Sequence[np.ndarray | None],
    names: Sequence[str],
    tolerance: float = USUAL,
    apart: Callable[[np.ndarray], np.ndarray] = np.isnan,
) -> None:
    """Raises :class:`Difference` unless gradients are alike; none is one of zeros.

    Where PyTorch's is none of a number, any is as good; so is it at an operand that is none, or
    whatever else ``apart`` says of it.
    """
    absent = [None] * len(names)
    for a, b, name in zip(ours or absent, theirs or absent, names, strict=True):
        if a is None and b is None:
            continue
        known = b if a is None else a
        zeros = np.zeros(known.shape, known.dtype)
        a, b = (zeros if g is None else g for g in (a, b))
        if a.shape == b.shape:
            at = ARRAYS.get(name, np.zeros(()))
            free = np.isnan(b) | (apart(at) if at.shape == b.shape else False)
            a = np.where(free, b, a)
        close(f"{what} of {name}", a, b, tolerance)


def same_refusal(what: str, ours: Exception | None, theirs: Exception) -> None:
    """Raises :class:`Difference` unless Flambeau's error is what PyTorch's is, or a kind of it."""
    if ours is None:
        raise Difference(f"{what}: taken; PyTorch: {type(theirs).__name__}: {first_line(theirs)}")
    kinds = [k.__name__ for k in type(ours).__mro__]
    # Their own name for NumPy's LinAlgError begins with an underscore.
    if type(theirs).__name__.lstrip("_") not in kinds:
        raise Difference(
            f"{what}: {type(ours).__name__}: {first_line(ours)}; "
            f"PyTorch: {type(theirs).__name__}: {first_line(theirs)}"
        )


def infinite(a: np.ndarray) -> np.ndarray:
    return ~np.isfinite(a)


def first_line(e: Exception) -> str:
    return str(e).partition("\n")[0][:150]


def lacking(e: Exception | None) -> bool:
    """Whether PyTorch refused a dtype for want of a kernel."""
    return e is not None and LACKING.search(str(e)) is not None
