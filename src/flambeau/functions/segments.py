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
    "mean": ("sum", 0.0),
    "prod": ("prod", 1.0),
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
            f"segment_reduce(): Expected axis to be the last dimension of lengths but got {axis}."
        )
    counts = _counts(lengths, offsets, data.shape[axis], unsafe)
    _need_floats("_segment_reduce_cpu", data)
    shape = tuple(data.shape)
    runs = counts.shape[-1]
    name, empty = _REDUCTIONS[reduce]
    start = empty if initial is None else float(initial)
    # Rows behind the last run go to one run more, which is cut off.
    place = np.full((*shape[: axis + 1],), runs, np.int64)
    for at in np.ndindex(*counts.shape[:-1]):
        where = np.repeat(np.arange(runs), counts[at])[: shape[axis]]
        place[at][: len(where)] = where
    rest = (1,) * (data.dim() - axis - 1)
    index = concrete(place, dtypes.int64).reshape((*place.shape, *rest)).expand(shape)
    begun = full((*shape[:axis], runs + 1, *shape[axis + 1 :]), start, dtype=data.dtype)
    found = scatter_reduce(begun, axis, index, data, name).narrow(axis, 0, runs)
    if reduce != "mean":
        return found
    many = concrete(counts, dtypes.int64).reshape((*counts.shape, *rest))
    if initial is not None:
        many = many.clamp(min=1)
    return found / many


SAMPLES = {
    "segment_reduce": "x, 'sum', lengths=torch.tensor([2, 1]);"
    "x, 'mean', lengths=torch.tensor([1, 2]); x, 'max', lengths=torch.tensor([3]);"
    "v, 'min', lengths=torch.tensor([1, 3]); positive, 'prod', lengths=torch.tensor([2, 0, 1]);"
    "v, 'sum', offsets=torch.tensor([0, 1, 4]);"
    "x, 'sum', lengths=torch.tensor([[2, 2], [1, 3], [4, 0]]), axis=1;"
    "x, 'max', lengths=torch.tensor([3, 0]), initial=0.5;"
    "x, 'mean', lengths=torch.tensor([1, 2]), axis=0;"
    "v, 'sum', lengths=torch.tensor([1, 1]), unsafe=True; !x, 'sum';"
    "!x, 'sum', lengths=torch.tensor([1, 1]); !x, 'sum', lengths=torch.tensor([-1, 4]);"
    "!x, 'other', lengths=torch.tensor([3]); !i, 'sum', lengths=torch.tensor([3]);"
    "!x, 'sum', lengths=u",
}
