"""A rewrite for primitives that have kernels of 32-bit floats only: 16-bit ones are converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Const, Entry
from flambeau.ir.primitive import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["widen_halves"]

HALVES = frozenset({dtypes.float16, dtypes.bfloat16})
# Their references compute in float32, and round once, at the end.
WIDENED = frozenset(
    {
        "convolution", "convolution_input_gradient", "convolution_weight_gradient", "max_pool",
        "adaptive_max_pool", "plane_add", "plane_take", "avg_pool", "avg_pool_gradient",
        "adaptive_avg_pool", "adaptive_avg_pool_gradient", "embedding_gradient", "scatter_add",
        "scatter_reduce",
        "index_put",
    }
)  # fmt: skip


def widen_halves(entries: Sequence[Entry], outs: Collection[int]) -> list[Entry]:
    """Computes what the references do in float32 in float32, and rounds the result.

    What lies between two conversions is often a nest (an activation, a normalisation), of which
    they become part.
    """
    fresh = 1 + max((s for e in entries for s in e.outputs), default=-1)
    kept: list[Entry] = []
    # A weight is read by a convolution and its gradient: converted once.
    wide: dict[int, int] = {}
    for e in entries:
        if not _is_widened(e):
            kept.append(e)
            continue
        inputs: list[Any] = []
        for i, aval in zip(e.inputs, e.in_avals, strict=True):
            if aval.dtype not in HALVES:
                inputs.append(i)
                continue
            if i.__class__ is Const:
                inputs.append(Const(np.asarray(i.value).astype(np.float32)))
                continue
            if i not in wide:
                kept.append(_cast(i, fresh, aval, dtypes.float32))
                wide[i] = fresh
                fresh += 1
            inputs.append(wide[i])
        outputs = []
        narrow = []
        for slot, aval in zip(e.outputs, e.out_avals, strict=True):
            if aval.dtype not in HALVES:
                outputs.append(slot)
                continue
            outputs.append(fresh)
            narrow.append(_cast(fresh, slot, Aval(aval.shape, dtypes.float32), aval.dtype))
            fresh += 1
        kept.append(
            Entry(
                e.prim, tuple(inputs), tuple(outputs), e.attrs,
                tuple(_widened(a) for a in e.in_avals), tuple(_widened(a) for a in e.out_avals),
                e.grad,
            )
        )  # fmt: skip
        kept += narrow
    return kept


def _is_widened(e: Entry) -> bool:
    if e.prim.name not in WIDENED or HALVES.isdisjoint(a.dtype for a in e.in_avals):
        return False
    # What is only put there is moved.
    return e.prim.name != "index_put" or bool(e.attrs["accumulate"])


def _widened(aval: Aval) -> Aval:
    return Aval(aval.shape, dtypes.float32) if aval.dtype in HALVES else aval


def _cast(source: int, to: int, aval: Aval, dtype: dtypes.dtype) -> Entry:
    out = Aval(aval.shape, dtype)
    return Entry(PRIMITIVES["cast"], (source,), (to,), {"dtype": dtype}, (aval,), (out,), False)
