"""Order along dimensions: sorting, selection, distinct values."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

import flambeau.ir.scattering
import flambeau.ir.sorting  # noqa: F401  (declares primitives)
from flambeau import dtypes, return_types
from flambeau.functions import dims as _dims
from flambeau.functions import extremes as _extremes
from flambeau.functions import inplace as _inplace
from flambeau.functions import reduction as _reduction
from flambeau.functions.checks import _need_order, _refuse
from flambeau.functions.underived import _underived
from flambeau.ir import reference
from flambeau.record.absent import is_absent
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor, concrete


def _ordered(input: Tensor, dim: int, descending: bool, stable: bool, name: str = "sort") -> tuple:
    _extremes._no_complex(name, input)
    shape = input._meta.shape
    d = _dims.wrap_dim(dim, len(shape))
    x = input if shape else ops.reshape(input, shape=(1,))
    at = ops.argsort(x, dim=d, descending=bool(descending), stable=bool(stable))
    values = ops.gather(x, at, dim=d)
    if not shape:
        return ops.reshape(values, shape=()), ops.reshape(at, shape=())
    return values, at


@function(grad="SortBackward0")
def _sort(input: Tensor, dim: int, descending: bool, stable: bool) -> Any:
    return return_types.sort(_ordered(input, dim, descending, stable))


def sort(
    input: Tensor,
    dim: int = -1,
    descending: builtins.bool = False,
    *,
    stable: builtins.bool = False,
    out: Any = None,
) -> Any:
    """Elements in order along ``dim``, and where they came from.

    Equals keep their order if ``stable``, else are where PyTorch has them. NaN counts as the
    greatest.

    >>> sort(tensor([3, 1, 2])).values
    tensor([1, 2, 3])
    """
    if isinstance(dim, bool):
        dim, descending = -1, dim
    return _sort(input, dim, descending, bool(stable), out=out)


@function
def _argsort(input: Tensor, dim: int, descending: bool, stable: bool) -> Tensor:
    return _ordered(input, dim, descending, stable, "argsort")[1]


def argsort(
    input: Tensor,
    dim: int = -1,
    descending: builtins.bool = False,
    *,
    stable: builtins.bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The positions that sort along ``dim``; equals keep their order if ``stable``.

    >>> argsort(tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    return _argsort(input, dim, descending, bool(stable), out=out)


@function(grad="SortBackward0")
def msort(input: Tensor) -> Tensor:
    """Elements in order along the first dimension.

    >>> msort(tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    return _ordered(input, 0, False, False)[0]


@function
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The ``k`` greatest (or least) elements along ``dim``, best first, and their positions.

    Raises ``RuntimeError`` if there are fewer than ``k``.

    >>> topk(tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    _extremes._no_complex("topk", input)
    if input.dtype.category == 0:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    shape = input._meta.shape
    d = _dims.wrap_dim(dim, len(shape))
    k = _dims.as_int(k, "k")
    if k < 0 or k > (shape[d] if shape else 1):
        raise RuntimeError("selected index k out of range")
    x = input if shape else ops.reshape(input, shape=(1,))
    if k or not shape:
        at = ops.argtopk(x, dim=d, k=k or 1, largest=bool(largest), sorted=bool(sorted))
    else:
        at = ops.full(0, shape=(*shape[:d], 0, *shape[d + 1 :]), dtype=dtypes.int64)
    values = ops.gather(x, at, dim=d)
    if not shape:
        values, at = ops.reshape(values, shape=()), ops.reshape(at, shape=())
    return return_types.topk((values, at))


@function
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The ``k``-th least element (from 1) along ``dim``, and its position.

    >>> kthvalue(tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    if input._meta.shape:
        _need_order("kthvalue_cpu", input)
    shape = input._meta.shape
    d = _dims.wrap_dim(dim, len(shape))
    n, k = shape[d] if shape else 1, _dims.as_int(k, "k")
    if shape and input.dtype is dtypes.bool_:
        _refuse("kthvalue_cpu", input.dtype)
    if shape and n == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    return return_types.kthvalue(
        _extremes._gathered(input, "argkth", "kthvalue", dim, keepdim, k=k)
    )


def _middle_of(kernel: str, input: Tensor) -> None:
    """``NotImplementedError`` for what has no middle: complex numbers, and bools."""
    _need_order(kernel, input)
    if input.dtype is dtypes.bool_:
        _refuse(kernel, input.dtype)


def _middle(input: Tensor, name: str) -> Tensor:
    x = _reduction._line(input)
    if not x._meta.shape[0]:
        empty = float("nan") if input.dtype.category == 2 else -(2**63)
        none = ops.full(empty, shape=(), dtype=input.dtype)
        return ops.rebase(none, _extremes._evenly(x, none)) if x._meta.requires_grad else none
    at = getattr(ops, "arg" + name)(x, dim=0)
    value = ops.reshape(ops.gather(ops.detach(x), at, dim=0), shape=())
    # The gradient is shared evenly among the elements equal to it.
    return ops.rebase(value, _extremes._evenly(x, value)) if x._meta.requires_grad else value


@function(grad="MedianBackward0")
def _median_all(input: Tensor) -> Tensor:
    _middle_of("median_cpu", input)
    return _middle(input, "median")


@function(grad="MedianBackward1")
def _median_dim(input: Tensor, dim: int, keepdim: bool) -> Any:
    _extremes._no_complex("median", input)
    _middle_of("median_out", input)
    return return_types.median(_extremes._gathered(input, "argmedian", "median", dim, keepdim))


def median(
    input: Tensor,
    dim: int | None = None,
    keepdim: builtins.bool = False,
    *,
    out: Any = None,
    axis: int | None = None,
    keepdims: builtins.bool = False,
) -> Any:
    """The lower of the middle elements; along ``dim``: (values, indices). NaN if there is one.

    >>> median(tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    """
    dim, keepdim = _reduction._common(dim, keepdim, axis, keepdims)
    if dim is None:
        return _median_all(input, out=out)
    return _median_dim(input, dim, keepdim, out=out)


@function(grad="NanmedianBackward0")
def _nanmedian_all(input: Tensor) -> Tensor:
    _middle_of("median_cpu", input)
    return _middle(input, "nanmedian")


@function(grad="NanmedianBackward1")
def _nanmedian_dim(input: Tensor, dim: int, keepdim: bool) -> Any:
    _middle_of("median_out", input)
    return return_types.nanmedian(
        _extremes._gathered(input, "argnanmedian", "median", dim, keepdim)
    )


def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: builtins.bool = False, *, out: Any = None
) -> Any:
    """``median`` of what is not NaN.

    >>> nanmedian(tensor([4.0, torch.nan, 3.0]))
    tensor(3.)
    """
    if dim is None:
        return _nanmedian_all(input, out=out)
    return _nanmedian_dim(input, dim, keepdim, out=out)


@function
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along ``dim`` (the least of several), and its last position.

    >>> mode(tensor([2, 1, 2])).values
    tensor(2)
    """
    if input._meta.shape:
        _need_order("mode_cpu", input)
    return return_types.mode(_extremes._gathered(input, "argmode", "mode", dim, keepdim))


# --------------------------------------------------------------------------- distinct values


def _array(t: Tensor) -> np.ndarray:
    return np.asarray(t.detach()._value()._array())


def _results(
    name: str, found: tuple, input: Tensor, return_inverse: bool, return_counts: bool
) -> Any:
    values = concrete(np.array(found[0], order="C"), input.dtype)
    values = _underived(name, values, input)
    parts = [values]
    for wanted, array in ((return_inverse, found[1]), (return_counts, found[2])):
        if wanted:
            parts.append(concrete(np.array(array, np.int64, order="C"), dtypes.int64))
    return tuple(parts) if len(parts) > 1 else values


def unique(
    input: Tensor,
    sorted: builtins.bool = True,
    return_inverse: builtins.bool = False,
    return_counts: builtins.bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order (slices across ``dim``), and on demand where each element
    went and how often each value occurs.

    >>> unique(tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    d = None if dim is None else _dims.wrap_dim(dim, input.dim())
    _need_order("unique", input)
    if d is None and not (return_inverse or return_counts):
        values = concrete(reference.distinct(_array(input)), input.dtype)
        return _underived("_unique2", values, input)
    found = reference.unique(_array(input), d)
    name = "_unique2" if d is None else "unique_dim"
    return _results(name, found, input, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor,
    return_inverse: builtins.bool = False,
    return_counts: builtins.bool = False,
    dim: int | None = None,
) -> Any:
    """Runs of equal elements (slices across ``dim``) made one.

    >>> unique_consecutive(tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    d = None if dim is None else _dims.wrap_dim(dim, input.dim())
    _need_order("unique", input)
    if d is None and not (return_inverse or return_counts):
        values = concrete(reference.distinct_consecutive(_array(input)), input.dtype)
        return _underived("unique_consecutive", values, input)
    found = reference.unique_consecutive(_array(input), d)
    return _results("unique_consecutive", found, input, return_inverse, return_counts)


def isin(
    elements: Any,
    test_elements: Any,
    *,
    assume_unique: builtins.bool = False,
    invert: builtins.bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Whether each element is among others.

    >>> isin(tensor([1, 2, 3]), tensor([2, 3]))
    tensor([False,  True,  True])
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): one of the arguments must be a Tensor")
    for v in (elements, test_elements):
        if not isinstance(v, (Tensor, int, float, complex)):
            raise TypeError(f"isin(): arguments must be Tensor or Number, not {type(v).__name__}")
        if isinstance(v, Tensor) and v.dtype.category in (0, 3):
            raise RuntimeError(
                f"Unsupported input type encountered for isin(): {_inplace.title(v.dtype)}"
            )
    without = [v for v in (elements, test_elements) if isinstance(v, Tensor) and is_absent(v)]
    if without:
        shape = tuple(elements.shape) if isinstance(elements, Tensor) else ()
        found = without[0].new_empty(shape, dtype=dtypes.bool_)
        return found if out is None else _inplace.write_out(out, found, "isin")
    x, y = (
        _array(v) if isinstance(v, Tensor) else np.asarray(v) for v in (elements, test_elements)
    )
    found = concrete(np.asarray(np.isin(x, y, invert=invert)), dtypes.bool_)
    return found if out is None else _inplace.write_out(out, found, "isin")


SAMPLES = {
    "sort": "x; x, 0; x, 1, True; i; i, 1, True; special; special, descending=True; s; empty;"
    "truth, 1; x, dim=-2; i, stable=True; i, dim=0, descending=True, stable=True; half; !c; !x, 2;"
    "!2",
    "argsort": "x; x, 0; x, 1, True; special; i, stable=True;"
    "i, dim=0, descending=True, stable=True; s; empty; !c; !x, 2",
    "msort": "x; i; v; cube; special; s; !c",
    "topk": "x, 2; x, 2, 0; x, 3, 1, False; i, 2; special, 3; x, 2, largest=False, sorted=True;"
    "x, 0; s, 1; x, 4, -1; !x, 5; !x, 2, 2; !x, -1; !c, 1; !truth, 1",
    "kthvalue": "x, 2; x, 1, 0; x, 3, 1, True; v, 4; special, 8; s, 1; big, 2, -1; !x, 5; !x, 0;"
    "!x, 1, 2; !c, 1; !empty, 1, 0",
    "median": "x; x, 1; x, 0, True; v; i; i, 1; special; special, 0; s; s, 0; empty; u, -1; !c;"
    "!truth; !x, 2; !empty, 0",
    "nanmedian": "x; x, 1; special; special, 0; i, 1; s; x.where(truth, nan), 0, True; x * nan;"
    "empty; !c; !truth; !x, 2; !empty, 0",
    "mode": "i; k, 1; labels; truth, 0; x; counts, -1, True; s; special, 0; !c; !x, 2; !empty, 0",
    "isin": "i, j[0]; i, 3; 3, i; x, x[0]; i, j[0], invert=True;"
    "i, torch.tensor([1, 2, 3]), assume_unique=True; i, j[:0]; i, counts.int();"
    "k, torch.arange(50); empty, v; !c, c; !truth, truth; !3, 4",
    "unique": "i; counts, return_inverse=True; counts, return_counts=True; i, True, True, True;"
    "k, dim=0; i, dim=1, return_inverse=True, return_counts=True; truth; x; special; empty; s;"
    "i, sorted=False; small; !c; !i, dim=2",
    "unique_consecutive": "counts; counts, True, True; i; k, dim=1; counts, return_counts=True; x;"
    "empty; s; torch.tensor([1, 1, 2, 2, 1]), return_inverse=True;"
    "k[[0, 0, 1]], dim=0, return_counts=True; !i, dim=2",
}
