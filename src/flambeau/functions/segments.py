"""Runs of rows reduced, each run to one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _refuse
from flambeau.functions.creation import full
from flambeau.functions.dims import wrap_dim
from flambeau.functions.gathering import scatter_reduce
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from flambeau.functions.promotion import Number

# The name for ``scatter_reduce``, and what a run of nothing gives.
_REDUCTIONS = {
    "sum": ("sum", 0.0),
    "prod": ("prod", 1.0),
    "mean": ("mean", math.nan),
    "max": ("amax", -math.inf),
    "amax": ("amax", -math.inf),
    "min": ("amin", math.inf),
    "amin": ("amin", math.inf),
}


def _counts(lengths: Tensor | None, offsets: Tensor | None, n: int, unsafe: bool) -> np.ndarray:
    """How long each run is."""
    given = lengths if lengths is not None else offsets
    if given is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if given.dtype not in (dtypes.int32, dtypes.int64):
        _refuse("_segment_reduce_lengths_cpu_kernel1", given.dtype)
    array = given.detach()._value()._array().astype(np.int64)
    if lengths is None:
        array = np.diff(array, axis=-1)
    if (array < 0).any():
        raise RuntimeError("lengths contains negative value!")
    if not unsafe and (array.sum(-1) != n).any():
        raise RuntimeError(
            "segment_reduce(): Expected all rows of lengths along axis to sum to "
            "data.size(lengths.dim()-1) when !unsafe."
        )
    return array


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Number | None = None,
) -> Tensor:
    """Runs along ``axis`` reduced: as long as ``lengths`` says, or beginning at ``offsets``.

    ``reduce`` is "sum", "prod", "mean", "max" or "min"; ``initial`` is the value a run begins
    with. Shapes: ``data`` is ``(*batch, n, *rest)``, ``lengths`` ``(*batch, runs)``, the result
    ``(*batch, runs, *rest)``. Raises ``RuntimeError`` for lengths that are negative or do not sum
    to n (unless ``unsafe``), ``NotImplementedError`` for other data than floats.

    >>> torch.segment_reduce(tensor([1.0, 2.0, 3.0]), "sum", lengths=tensor([2, 1]))
    tensor([3., 3.])
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    axis = wrap_dim(axis, data.dim())
    given = lengths if lengths is not None else offsets
    if given is not None and axis != given.dim() - 1:
        raise RuntimeError(
            "segment_reduce(): Expected axis to be the last dimension of lengths but got "
            f"{axis}."
        )
    counts = _counts(lengths, offsets, data.shape[axis], unsafe)
    _need_floats("_segment_reduce_cpu", data)
    shape = tuple(data.shape)
    runs, total = counts.shape[-1], int(counts.sum(-1).max(initial=0))
    name, empty = _REDUCTIONS[reduce]
    start = empty if initial is None else float(initial)
    begun = full((*shape[:axis], runs, *shape[axis + 1 :]), start, dtype=data.dtype)
    # A run for each row: what lies behind the last one goes to one more, which is cut off.
    place = np.full((*shape[:axis], shape[axis]), runs, np.int64)
    for at in np.ndindex(*counts.shape[:-1]):
        where = np.repeat(np.arange(runs), counts[at])
        place[at][: len(where)] = where
    rows = data.narrow(axis, 0, min(total, shape[axis]))
    index = concrete(np.ascontiguousarray(place[..., : rows.shape[axis]]), dtypes.int64)
    index = index.reshape(*index.shape, *(1,) * (data.dim() - axis - 1)).expand(rows.shape)
    padded = full((*shape[:axis], runs + 1, *shape[axis + 1 :]), start, dtype=data.dtype)
    kept = initial is not None
    found = scatter_reduce(padded, axis, index, rows, name, include_self=kept and name != "mean")
    del begun
    return found.narrow(axis, 0, runs)
