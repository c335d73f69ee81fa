"""Spread, norms, quantiles and histograms of values."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau.ir.scattering
import flambeau.ir.statistics  # noqa: F401  (declares primitives)
from flambeau import dtypes, return_types
from flambeau.functions import dims as _dims
from flambeau.functions import inplace as _inplace
from flambeau.functions import promotion as _promotion
from flambeau.functions import reduction as _reduction
from flambeau.functions.checks import _need_tensor, _refuse
from flambeau.functions.promotion import Number
from flambeau.functions.underived import _underived
from flambeau.ir import reference
from flambeau.record.builder import Num
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Sequence

_cast = _promotion.cast

# -------------------------------------------------------------------------------- the spread


def _spread_of(
    input: Tensor, dim: Any, correction: Any, keepdim: bool, name: str
) -> tuple[Tensor, tuple[int, ...]]:
    if input.dtype.category < 2:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    dims = _dims.wrap_dims(dim, input.dim())
    n = math.prod(input._meta.shape[d] for d in dims)
    if n - correction <= 0:
        warnings.warn(
            f"{name.split()[0]}(): degrees of freedom is <= 0. Correction should be strictly less "
            "than the reduction factor (input numel divided by output numel).",
            UserWarning,
            stacklevel=4,
        )
    prim = ops.std if name.startswith("std") else ops.var
    return prim(input, dims=dims, keepdim=keepdim, correction=correction), dims


@function(grad="StdBackward0")
def _std(input: Tensor, dim: Any, correction: Any, keepdim: bool) -> Tensor:
    if isinstance(correction, Num):
        bool(correction)
    return _spread_of(input, dim, correction, keepdim, "std and var")[0]


@function(grad="VarBackward0")
def _var(input: Tensor, dim: Any, correction: Any, keepdim: bool) -> Tensor:
    if isinstance(correction, Num):
        bool(correction)
    return _spread_of(input, dim, correction, keepdim, "var and std")[0]


@function(grad="StdMeanBackward0")
def _std_mean(input: Tensor, dim: Any, correction: Any, keepdim: bool) -> Any:
    if isinstance(correction, Num):
        bool(correction)
    found, dims = _spread_of(input, dim, correction, keepdim, "std and var")
    return found, _reduction._mean_of(input, dims, keepdim)


@function(grad="VarMeanBackward0")
def _var_mean(input: Tensor, dim: Any, correction: Any, keepdim: bool) -> Any:
    if isinstance(correction, Num):
        bool(correction)
    found, dims = _spread_of(input, dim, correction, keepdim, "var and std")
    return found, _reduction._mean_of(input, dims, keepdim)


def _arguments(
    dim: Any, unbiased: Any, keepdim: bool, correction: Any, axis: Any, keepdims: bool
) -> tuple[Any, Any, bool]:
    """(dim, correction, keepdim) of the forms that var and std are called in."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return (dim if axis is None else axis), correction, keepdim or keepdims


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    r"""Standard deviation: :math:`\sqrt{\frac{1}{n - c} \sum_i (x_i - \bar x)^2}`.

    ``correction`` c is 1 (or 0 with ``unbiased=False``). No gradient where it is 0.

    >>> std(tensor([1.0, 3.0]))
    tensor(1.4142)
    """
    args = _arguments(dim, unbiased, keepdim, correction, axis, keepdims)
    return _std(input, *args, out=out)


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Tensor | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    r"""Variance: :math:`\frac{1}{n - c} \sum_i (x_i - \bar x)^2`; see ``std``.

    >>> var(tensor([1.0, 3.0]))
    tensor(2.)
    """
    args = _arguments(dim, unbiased, keepdim, correction, axis, keepdims)
    return _var(input, *args, out=out)


def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean.

    >>> std_mean(tensor([1.0, 3.0]))
    (tensor(1.4142), tensor(2.))
    """
    args = _arguments(dim, unbiased, keepdim, correction, axis, keepdims)
    return _std_mean(input, *args, out=out)


def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> tuple[Tensor, Tensor]:
    """Variance and mean.

    >>> var_mean(tensor([1.0, 3.0]))
    (tensor(2.), tensor(2.))
    """
    args = _arguments(dim, unbiased, keepdim, correction, axis, keepdims)
    return _var_mean(input, *args, out=out)


@function
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    r"""Logarithm of a sum of exponentials, without overflow: :math:`\log \sum_i e^{x_i}`.

    >>> logsumexp(tensor([0.0, 0.0]), 0)
    tensor(0.6931)
    """
    (x,) = _promotion.floating(input)
    return ops.logsumexp(x, dims=_dims.wrap_dims(dim, x.dim()), keepdim=keepdim)


@function(grad="DistBackward0")
def _dist(input: Tensor, other: Tensor, p: Any) -> Tensor:
    if isinstance(p, Num):
        bool(p)
    x, y = _promotion.promoted(input, other)
    d = ops.sub(x, y)
    return ops.vector_norm(d, dims=tuple(range(d.dim())), keepdim=False, p=float(p))


def dist(input: Tensor, other: Tensor, p: float = 2, *, out: Tensor | None = None) -> Tensor:
    r"""The p-norm of a difference: :math:`\lVert x - y \rVert_p`.

    >>> dist(tensor([0.0, 0.0]), tensor([3.0, 4.0]))
    tensor(5.)
    """
    _need_tensor("dist", other, "other", 2)
    common = dtypes.promote(input.dtype, other.dtype)
    if common.category < 2:
        raise RuntimeError(
            "norm(): input dtype should be either floating point or complex. Got "
            f"{_inplace.title(common)} instead."
        )
    return _dist(input, other, float(p), out=out)


# --------------------------------------------------------------------------------- quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _ranked(
    input: Tensor, q: Tensor, dim: Any, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    """Interpolates between the sorted values on both sides of q (n - 1)."""
    shape = input._meta.shape
    x = input if dim is not None and shape else _reduction._line(input)
    d = _dims.wrap_dim(dim, max(len(shape), 1)) if dim is not None else 0
    order = [i for i in range(x.dim()) if i != d] + [d]
    x = ops.permute(x, dims=tuple(order))
    last = x.dim() - 1
    lead, n = x._meta.shape[:-1], x._meta.shape[-1]
    ordered = ops.gather(x, ops.argsort(x, dim=last, descending=False), dim=last)
    k = math.prod(q._meta.shape)
    row = ops.reshape(q, shape=(*(1,) * last, k))
    missing = ops.isnan(x)
    if skip:
        found = ops.sum(_cast(ops.not_(missing), x.dtype), dims=(last,), keepdim=True)
        rank = ops.mul(row, ops.sub(found, 1.0))
        rank = ops.where(ops.lt(rank, 0.0), 0.0, rank)
    else:
        rank = ops.broadcast(ops.mul(row, float(n - 1)), shape=(*lead, k))
        bad = ops.any(missing, dims=(last,), keepdim=True)
        rank = ops.where(bad, float(n - 1), rank)
    if interpolation == "lower":
        rank = ops.floor(rank)
    elif interpolation == "higher":
        rank = ops.ceil(rank)
    elif interpolation == "nearest":
        rank = ops.round(rank)
    below = ops.floor(rank)
    low = ops.gather(ordered, _cast(below, dtypes.int64), dim=last)
    if interpolation in ("linear", "midpoint"):
        high = ops.gather(ordered, _cast(ops.ceil(rank), dtypes.int64), dim=last)
        part = ops.sub(rank, below)
        if interpolation == "midpoint":
            part = ops.where(ops.gt(part, 0.0), 0.5, part)
        # Towards the nearer end, so that a weight of 1 gives it exactly.
        step = ops.sub(high, low)
        near = ops.add(low, ops.mul(part, step))
        far = ops.sub(high, ops.mul(step, ops.sub(1.0, part)))
        low = ops.where(ops.lt(part, 0.5), near, far)
    # The quantiles come first, then what is left of the input.
    out = ops.permute(low, dims=(last, *range(last)))
    if dim is None:
        kept = (1,) * len(shape) if keepdim else ()
    else:
        rest = [n for i, n in enumerate(shape) if i != d]
        kept = (*rest[:d], 1, *rest[d:]) if keepdim and shape else tuple(rest)
    return ops.reshape(out, shape=(*q._meta.shape, *kept))


@function(grad="SqueezeBackward0")
def _quantile(
    input: Tensor, q: Tensor, dim: Any, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    return _ranked(input, q, dim, keepdim, interpolation, skip)


def _checked_quantile(
    name: str, input: Tensor, q: Any, dim: Any, keepdim: bool, interpolation: str, out: Any
) -> Tensor:
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = concrete(np.array(q, input.dtype.numpy), input.dtype)
    else:
        if q.dim() > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        values = q.detach()._value()._array()
        if not ((values >= 0) & (values <= 1)).all():
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    return _quantile(input, q, dim, keepdim, interpolation, name == "nanquantile", out=out)


def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """The values below which a share ``q`` of the elements lies, of all or along ``dim``.

    Several ``q`` (1-dim) make a first dimension of the result. NaN if there is a NaN.
    ``interpolation`` is "linear", "lower", "higher", "midpoint" or "nearest".

    >>> quantile(tensor([1.0, 2.0, 3.0]), 0.25)
    tensor(1.5000)
    """
    return _checked_quantile("quantile", input, q, dim, keepdim, interpolation, out)


def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """``quantile`` of what is not NaN.

    >>> nanquantile(tensor([1.0, torch.nan, 3.0]), 0.5)
    tensor(2.)
    """
    return _checked_quantile("nanquantile", input, q, dim, keepdim, interpolation, out)


# -------------------------------------------------------------------------------- histograms


def _array(t: Tensor) -> np.ndarray:
    return np.asarray(t.detach()._value()._array())


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 occurs (or the sum of its weights).

    Raises ``RuntimeError`` unless ``input`` is 1-dim, integral and not negative.

    >>> bincount(tensor([0, 1, 1, 3]))
    tensor([1, 2, 0, 1])
    """
    if input.dtype.category != 1:
        _refuse("bincount_cpu", input.dtype)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    x = _array(input)
    if x.ndim != 1 or (x.size and x.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    found = reference.bincount(x, None if weights is None else _array(weights), minlength)
    counts = concrete(np.ascontiguousarray(found), dtypes.from_numpy_dtype(found.dtype))
    return counts if weights is None else _underived("bincount", counts, weights)


def histc(
    input: Tensor, bins: int = 100, min: Number = 0, max: Number = 0, *, out: Tensor | None = None
) -> Tensor:
    """Counts of elements in ``bins`` equal bins from ``min`` to ``max`` (0, 0: of the data).

    >>> histc(tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    if input.dtype.category != 2:
        _refuse("aminmax_cpu" if input.dtype.is_complex else "histogram_cpu", input.dtype)
    found = reference.histc(_array(input), int(bins), min, max)
    result = concrete(np.ascontiguousarray(found.astype(input.dtype.numpy)), input.dtype)
    return result if out is None else _inplace.write_out(out, result, "histc")


def _edges(x: np.ndarray, bins: Any, range: Any, dims: int, name: str) -> list[np.ndarray]:
    """The edges of the bins along each column of ``x``."""
    if isinstance(bins, (int, np.integer)):
        bins = [int(bins)] * dims
    if isinstance(bins, Tensor):
        bins = [bins]
    if isinstance(bins[0], Tensor):
        for b in bins:
            if _array(b).dtype != x.dtype:
                raise RuntimeError(
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, "
                    f"but got input with dtype {x.dtype} and bins with dtype {_array(b).dtype}"
                )
        return [_array(b) for b in bins]
    found = []
    for i, n in enumerate(bins):
        if n <= 0:
            raise RuntimeError(f"{name}(): bins {n}, invalid value")
        column = x[:, i]
        if range is not None:
            low, high = range[2 * i], range[2 * i + 1]
        elif column.size:
            low, high = column.min(), column.max()
        else:
            low, high = 0.0, 1.0
        if low == high:
            low, high = low - 1.0 / 2, high + 1.0 / 2
        found.append(np.linspace(low, high, n + 1, dtype=x.dtype))
    return found


def _count(
    x: np.ndarray, edges: list[np.ndarray], weight: np.ndarray | None, density: bool
) -> np.ndarray:
    """How much weight lies in each box; the last of each row of bins holds its upper edge."""
    shape = tuple(len(e) - 1 for e in edges)
    inside = np.ones(len(x), bool)
    place = np.zeros(len(x), np.int64)
    for column, e, n in zip(x.T, edges, shape, strict=True):
        inside &= (column >= e[0]) & (column <= e[-1])
        at = np.clip(np.searchsorted(e, column, "right") - 1, 0, max(n - 1, 0))
        place = place * n + at
    weights = None if weight is None else weight.reshape(-1)[inside].astype(np.float64)
    size = math.prod(shape)
    found = np.bincount(place[inside], weights, minlength=size).reshape(shape).astype(np.float64)
    if density:
        found /= found.sum()
        for i, e in enumerate(edges):
            found /= np.diff(e).reshape([-1 if i == j else 1 for j in range(len(edges))])
    return found.astype(x.dtype)


def histogram(
    input: Tensor,
    bins: int | Tensor = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """Counts (weights, densities) in bins, and the edges of the bins.

    The last bin holds its upper edge too.

    >>> histogram(tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 4.0)).hist
    tensor([2., 1.])
    """
    _need_bins_of(input, bins, range)
    if isinstance(bins, Tensor) and bins.dim() != 1:
        raise RuntimeError(
            "torch.histogramdd: bins tensor should have one dimension, but got "
            f"{bins.dim()} dimensions in the bins tensor for dimension 0"
        )
    _check_range(range)
    if weight is not None and weight.numel() != input.numel():
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the "
            "input tensor excluding its innermost dimension, but got input with shape "
            f"{[input.numel(), 1]} and weight with shape {[weight.numel()]}"
        )
    x = _array(input).reshape(-1, 1)
    edges = _edges(x, bins, range, 1, "histogram")
    hist = _count(x, edges, None if weight is None else _array(weight), density)
    counts = _underived("histogram", concrete(hist, input.dtype), input)
    borders = _underived("histogram", concrete(edges[0], input.dtype), input)
    result = return_types.histogram((counts, borders))
    return result if out is None else _inplace.write_out(out, result, "histogram")


def _need_bins_of(input: Tensor, bins: Any, range: Any) -> None:
    first = bins[0] if isinstance(bins, (tuple, list)) else bins
    known = range is not None or isinstance(first, Tensor)
    # The range of other dtypes cannot be found out.
    if input.dtype not in (dtypes.float32, dtypes.float64, *[dtypes.bfloat16] * known):
        _refuse("histogramdd", input.dtype)


def _check_range(range: Sequence[float] | None) -> None:
    for i, (low, high) in enumerate(zip(range[::2], range[1::2], strict=True) if range else ()):
        if low > high:
            raise RuntimeError(
                "torch.histogramdd: min should not exceed max, but got "
                f"min {low} max {high} for dimension {i}"
            )


def _check_boxes(input: Tensor, bins: Any, range: Any, weight: Tensor | None) -> None:
    """Refuses what ``histogramdd`` cannot count into."""
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    _need_bins_of(input, bins, range)
    dims = shape[-1]
    if not isinstance(bins, int):
        bins = list(bins)
        if len(bins) != dims and not isinstance(bins[0], Tensor):
            raise RuntimeError(
                "histogramdd: The size of bins must be equal to the innermost dimension of the "
                "input."
            )
        if len(bins) != dims:
            raise RuntimeError(
                f"torch.histogramdd: expected {dims} sequences of bin edges for a "
                f"{dims}-dimensional histogram but got {len(bins)}"
            )
        for i, edges in enumerate(bins):
            if isinstance(edges, Tensor) and edges.dim() != 1:
                raise RuntimeError(
                    "torch.histogramdd: bins tensor should have one dimension, but got "
                    f"{edges.dim()} dimensions in the bins tensor for dimension {i}"
                )
    if range is not None and len(range) != 2 * dims:
        raise RuntimeError(
            f"torch.histogramdd: for a {dims}-dimensional histogram range should have {2 * dims} "
            f"elements, but got {len(range)}"
        )
    _check_range(range)
    if weight is not None and tuple(weight.shape) != shape[:-1]:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the "
            "input tensor excluding its innermost dimension, but got input with shape "
            f"{list(shape)} and weight with shape {list(weight.shape)}"
        )


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """``histogram`` in several dimensions, the last of ``input``; edges for each.

    Raises ``RuntimeError`` if ``bins``, ``range`` or ``weight`` do not fit the shape of ``input``.

    >>> histogramdd(tensor([[0.0, 1.0], [1.0, 0.0]]), bins=[2, 2]).hist
    tensor([[0., 1.],
            [1., 0.]])
    """
    x = _array(input)
    _check_boxes(input, bins, range, weight)
    n = x.shape[-1]
    x = x.reshape(-1, n)
    edges = _edges(x, bins, range, n, "histogramdd")
    hist = _count(x, edges, None if weight is None else _array(weight), density)
    counts = _underived("histogramdd", concrete(hist, input.dtype), input)
    borders = (_underived("histogramdd", concrete(e, input.dtype), input) for e in edges)
    return return_types.histogramdd((counts, tuple(borders)))


SAMPLES = {
    "std": "x; x, 1; x, (0, 1), keepdim=True; x, 1, correction=0; x, False; x, 0, True, True; c;"
    "column; s # no-second; x, dim=-1, correction=0.5; cube, (0, 2), correction=2; empty, 0;"
    "x, unbiased=False; !i; !x, 2; !x, (0, 0)",
    "var": "x; x, 1; x, (0, 1), keepdim=True; x, 1, correction=0; x, False; x, 0, True, True; c;"
    "column; s # no-second; x, dim=-1, correction=0.5; cube, (0, 2), correction=2; empty, 0;"
    "x, unbiased=False; !i; !x, 2; !x, (0, 0)",
    "std_mean": "x; x, 1; x, (0, 1), keepdim=True; x, 1, correction=0; x, False; c, 0; !i; !x, 2",
    "var_mean": "x; x, 1; x, (0, 1), keepdim=True; x, 1, correction=0; x, False; c, 0; !i; !x, 2",
    "logsumexp": "x, 1; x, 0, True; x, (0, 1); big, -1; special, 0; i, 1; s, 0; empty, 0;"
    "special[:4], 0; !x, 2; !x, (0, 0)",
    "dist": "x, y; x, y, 1; x, y, 0; x, y, inf; x, y, p=3; x, row; x, y, -inf; x, y, 0.5; x, x;"
    "c, d; !i, j; !x, 1.0; !x, u",
    "quantile": "x, 0.5; x, 0.3, 1; x, torch.tensor([0.1, 0.6]), dim=0, keepdim=True;"
    "v, 0.4, interpolation='nearest'; v, 0.4, interpolation='lower';"
    "v, 0.4, interpolation='higher'; v, 0.4, interpolation='midpoint'; x, 0.0; x, 1.0; s, 0.5;"
    "special, 0.5; x.double(), 0.25, -1; !i, 0.5; !x, 1.5; !x, -0.1; !empty, 0.5; !x, 0.5, 2;"
    "!x, torch.ones(2, 2); !x, 0.5, interpolation='cubic'; !x, torch.ones(2, dtype=torch.float64)",
    "nanquantile": "x, 0.5; special, 0.5; x.where(truth, nan), 0.3, 1;"
    "x, torch.tensor([0.1, 0.6]), dim=0, keepdim=True; special, 0.4, interpolation='nearest';"
    "x * nan, 0.5; !i, 0.5; !x, 1.5; !empty, 0.5; !x, 0.5, 2",
    "bincount": "counts; counts, minlength=9; counts, sorted; counts, counts; counts[:0];"
    "counts[:0], minlength=3; small[0]; !v; !k; !counts, v; !i[0] - 9; !counts, minlength=-1",
    "histc": "x.double(); x, 5; x, 4, -1.0, 1.0; x, bins=3, min=-1; sorted, 6; column * 0, 3;"
    "x, 4, 2, 2; empty; big, 10, -50, 50; !x, 0; !x, 4, 2, 1; !i, 3; !x, 3, -inf, inf",
    "histogram": "x, 5; x; x, 4, range=(-1.0, 1.0); x, sorted; x, 3, weight=positive;"
    "x, 4, density=True; x, sorted, weight=positive, density=True; big, 10, range=(-50.0, 50.0);"
    "v * 0, 3; !x, 0; !i, 3; !x, 3, range=(1.0, -1.0); !x, sorted.reshape(2, 3); !x, 3, weight=u",
    "histogramdd": "tall, 2; tall, [2, 3, 2]; tall, (sorted, sorted, sorted);"
    "tall, 2, range=(-1.0, 1.0, -2.0, 2.0, 0.0, 1.0); tall, 2, weight=torch.ones(5), density=True;"
    "!tall, [2, 3]; !v, 2; !i, 2",
}
