"""``flambeau.masked``: reductions and normalisations of the elements that a mask names.

A mask is a boolean tensor that broadcasts to the input; elements where it is False are passed over,
and without a mask none is. Where nothing is left, the result is that of an empty tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.functions.dims import wrap_dims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.dtypes import dtype as DType
    from flambeau.tensor import Tensor

    Dims = int | Sequence[int] | None

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]  # fmt: skip


def _listed(input: Tensor, dim: Dims) -> tuple[int, ...]:
    """The dimensions to reduce; none named (or an empty list) means all."""
    return wrap_dims(dim, input.dim())


def _cast(input: Tensor, dtype: DType | None) -> Tensor:
    return input if dtype is None or dtype is input.dtype else input.to(dtype)  # type: ignore[attr-defined]


def _strided(tensor: Tensor) -> Tensor:
    return tensor.to_dense()  # type: ignore[attr-defined]


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """``input`` with ``value`` where the mask is False."""
    input = _strided(input)
    if mask is None:
        return input
    return flambeau.where(_strided(mask).bool(), input, flambeau.tensor(value, dtype=input.dtype))  # type: ignore[attr-defined]


def _least(dtype: DType) -> Any:
    """What is not above any number of a dtype."""
    if dtype.is_floating_point or dtype.is_complex:
        return -float("inf")
    return False if dtype is flambeau.bool else flambeau.iinfo(dtype).min


def _greatest(dtype: DType) -> Any:
    """What is not below any number of a dtype."""
    if dtype.is_floating_point:
        return float("inf")
    return True if dtype is flambeau.bool else flambeau.iinfo(dtype).max


def _summing(input: Tensor, dtype: DType | None) -> DType:
    """Sums and products of integers are int64 unless a dtype is given."""
    if dtype is not None:
        return dtype
    whole = not (input.is_floating_point() or input.is_complex())
    return flambeau.int64 if whole else input.dtype


def _averaging(input: Tensor, dtype: DType | None) -> DType:
    """Means of integers are in the default floating dtype unless a dtype is given."""
    if dtype is not None:
        return dtype
    whole = not (input.is_floating_point() or input.is_complex())
    return flambeau.get_default_dtype() if whole else input.dtype


def _count(
    input: Tensor, mask: Tensor | None, dims: tuple[int, ...], keepdim: bool, dtype: DType
) -> Tensor:
    """How many elements count in each result."""
    ones = flambeau.ones(input.shape, dtype=flambeau.int64)
    held = _filled(ones, mask, 0)
    counted = flambeau.sum(held, dims, keepdim) if dims else held
    return counted.to(dtype)  # type: ignore[attr-defined]


def sum(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The sum of the elements that the mask names; 0 of none.

    >>> torch.masked.sum(torch.tensor([1, 2, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(4)
    """
    x = _filled(_cast(input, _summing(input, dtype)), mask, 0)
    dims = _listed(x, dim)
    return flambeau.sum(x, dims, keepdim) if dims else x


def prod(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The product of the elements that the mask names; 1 of none.

    >>> torch.masked.prod(torch.tensor([4, 2, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(12)
    """
    x = _filled(_cast(input, _summing(input, dtype)), mask, 1)
    for d in sorted(_listed(x, dim), reverse=True):
        x = flambeau.prod(x, d, keepdim)
    return x


def cumsum(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Running sums along a dimension over the elements that the mask names.

    >>> torch.masked.cumsum(torch.tensor([1, 2, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor([1, 1, 4])
    """
    x = _cast(input, dtype)
    return flambeau.cumsum(_filled(x, mask, 0), dim, dtype=x.dtype)


def cumprod(
    input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Running products along a dimension over the elements that the mask names.

    >>> torch.masked.cumprod(torch.tensor([4, 2, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor([ 4,  4, 12])
    """
    x = _cast(input, dtype)
    return flambeau.cumprod(_filled(x, mask, 1), dim, dtype=x.dtype)


def amax(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The greatest of the elements that the mask names; of none, the dtype's least number.

    >>> torch.masked.amax(torch.tensor([1, 5, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(3)
    """
    x = _cast(input, dtype)
    x = _filled(x, mask, _least(x.dtype))
    dims = _listed(x, dim)
    return flambeau.amax(x, dims, keepdim) if dims else x


def amin(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The least of the elements that the mask names; of none, the dtype's greatest number.

    >>> torch.masked.amin(torch.tensor([2, 1, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(2)
    """
    x = _cast(input, dtype)
    x = _filled(x, mask, _greatest(x.dtype))
    dims = _listed(x, dim)
    return flambeau.amin(x, dims, keepdim) if dims else x


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the greatest of the elements that the mask names is, as a number of the input's dtype.

    >>> torch.masked.argmax(torch.tensor([1, 5, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(2)
    """
    x = _cast(input, dtype)
    found = flambeau.argmax(_filled(x, mask, _least(x.dtype)), dim, bool(keepdim))
    return found.to(x.dtype)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the least of the elements that the mask names is, as a number of the input's dtype.

    >>> torch.masked.argmin(torch.tensor([2, 1, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(0)
    """
    x = _cast(input, dtype)
    found = flambeau.argmin(_filled(x, mask, _greatest(x.dtype)), dim, bool(keepdim))
    return found.to(x.dtype)


def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of the elements that the mask names; NaN of none.

    Raises ``ValueError`` for integers, unless ``dtype`` is a floating or complex one.

    >>> torch.masked.mean(torch.tensor([1.0, 2, 5]), 0, mask=torch.tensor([True, False, True]))
    tensor(3.)
    """
    kind = dtype or input.dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input.dtype}"
        )
    total = sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask)
    return total / _count(input, mask, _listed(input, dim), keepdim, kind)  # type: ignore[operator]


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The lower median along a dimension of the elements that the mask names; NaN of none.

    Raises ``ValueError`` for integers if nothing is left of a line.

    >>> torch.masked.median(torch.tensor([1.0, 2, 5]), 0, mask=torch.tensor([True, False, True]))
    tensor(1.)
    """
    x = _cast(input, dtype)
    floats = x if x.is_floating_point() else x.to(flambeau.get_default_dtype())  # type: ignore[attr-defined]
    found = flambeau.nanmedian(_filled(floats, mask, float("nan")), dim, keepdim).values
    if floats is not x and flambeau.isnan(found).any():
        raise ValueError("expected no fully masked out rows if dtype is not floating point")
    return found.to(x.dtype)


def logsumexp(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r""":math:`\log \sum_i e^{x_i}` over the elements that the mask names.

    >>> torch.masked.logsumexp(torch.tensor([0.0, 9, 0]), 0,
    ...                        mask=torch.tensor([True, False, True]))
    tensor(0.6931)
    """
    x = _cast(input, dtype)
    x = _filled(x, mask, _least(x.dtype))
    return flambeau.logsumexp(x, _listed(x, dim), keepdim).to(x.dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: DType | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    r""":math:`\log (e^x + e^y)`, with nothing added where a mask is False.

    >>> torch.masked.logaddexp(torch.tensor([1.0]), torch.tensor([2.0]),
    ...                        other_mask=torch.tensor([False]))
    tensor([1.])
    """
    x, y = _cast(input, dtype), _cast(other, dtype)
    nothing = -float("inf")
    return flambeau.logaddexp(_filled(x, input_mask, nothing), _filled(y, other_mask, nothing))


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The vector norm of the elements that the mask names.

    >>> torch.masked.norm(torch.tensor([3.0, 9, 4]), 2.0, 0,
    ...                   mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    order = 2.0 if ord is None else ord
    nothing = float("inf") if order == -float("inf") or order < 0 else 0
    x = _filled(_cast(input, _averaging(input, dtype)), mask, nothing)
    return flambeau.linalg.vector_norm(x, order, _listed(x, dim), keepdim)


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r""":math:`\sum_i |x_i - \bar x|^2 / (n - c)` over the elements that the mask names.

    ``correction`` is c (1 by default); ``unbiased`` says whether it is 1 or 0. Raises
    ``AssertionError`` if both are given.

    >>> torch.masked.var(torch.tensor([1.0, 9, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(2.)
    """
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    kind = _averaging(input, dtype)
    dims = _listed(input, dim)
    x = _strided(_cast(input, kind))
    centre = mean(x, dims, keepdim=True, mask=mask) if dims else mean(x, None, mask=mask)
    distance = x - centre  # type: ignore[operator]
    squares = (distance * distance.conj()).real if x.is_complex() else distance * distance
    total = sum(squares, dims, keepdim=keepdim, mask=mask)
    count = _count(x, mask, dims, keepdim, total.dtype)
    found = total / flambeau.clamp(count - correction, min=0)  # type: ignore[operator]
    return _cast(found, kind)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The square root of :func:`var`.

    >>> torch.masked.std(torch.tensor([1.0, 9, 3]), 0, mask=torch.tensor([True, False, True]))
    tensor(1.4142)
    """
    return flambeau.sqrt(
        var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask)
    )


def _of_line(name: str, least: bool) -> Callable:
    def normalised(
        input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
    ) -> Tensor:
        x = _cast(input, dtype)
        filled = _filled(x, mask, _least(x.dtype) if least else _greatest(x.dtype))
        return getattr(flambeau.nn.functional, name)(filled, dim)

    normalised.__name__ = normalised.__qualname__ = name
    normalised.__doc__ = f"""``{name}`` along a dimension over the elements that the mask names.

    >>> torch.masked.{name}(torch.tensor([0.0, 9.0]), 0, mask=torch.tensor([True, False]))
    tensor([{"0., -inf" if name == "log_softmax" else "1., 0."}])
    """
    return normalised


softmax = _of_line("softmax", True)
log_softmax = _of_line("log_softmax", True)
softmin = _of_line("softmin", False)


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r""":math:`x / \max(\lVert x \rVert, \epsilon)` along a dimension, with zeros where the mask is
    False.

    >>> torch.masked.normalize(torch.tensor([3.0, 9, 4]), 2.0, 0,
    ...                        mask=torch.tensor([True, False, True]))
    tensor([0.6000, 0.0000, 0.8000])
    """
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    scaled = _cast(_strided(input), dtype) / flambeau.clamp(length, min=eps)  # type: ignore[operator]
    return _filled(scaled, mask, 0)


# Calls that the tests make in PyTorch too: `tests/generated/`. Of booleans and complex numbers
# PyTorch refuses more than these mean to.
SAMPLES = {
    "masked.sum": (
        "x, mask=truth; x, 0, mask=truth; x, (0, 1), keepdim=True, mask=mask; "
        "i, 1, dtype=torch.float64, mask=truth; x; !x, 2"
    ),
    "masked.prod": (
        "x, 0, mask=truth; x, 1, keepdim=True, mask=mask; i, 1, mask=truth; x, -1; !x, 2"
    ),
    "masked.cumsum": (
        "x, 0, mask=truth; x, 1, dtype=torch.float64, mask=mask; i, 1, mask=truth; !x, 2"
    ),
    "masked.cumprod": (
        "x, 0, mask=truth; x, 1, dtype=torch.float64, mask=mask # floats; i, 1, mask=truth; !x, 2"
    ),
    "masked.amax": (
        "x, 0, mask=truth # floats; x, (0, 1), keepdim=True, mask=mask # floats; "
        "i, 1, mask=truth # floats; x # floats; !x, 2"
    ),
    "masked.amin": (
        "x, 0, mask=truth # floats; x, (0, 1), keepdim=True, mask=mask # floats; "
        "i, 1, mask=truth # floats; x # floats; !x, 2"
    ),
    "masked.argmax": (
        "x, 0, mask=truth # floats; x, mask=mask # floats; "
        "i, 1, keepdim=True, mask=truth # floats; !x, 2"
    ),
    "masked.argmin": (
        "x, 0, mask=truth # floats; x, mask=mask # floats; "
        "i, 1, keepdim=True, mask=truth # floats; !x, 2"
    ),
    "masked.mean": (
        "x, 0, mask=truth; x, (0, 1), keepdim=True, mask=mask; "
        "i, 1, dtype=torch.float32, mask=truth; x; !x, 2"
    ),
    "masked.median": "x, 0, mask=mask; x, 1, keepdim=True, mask=mask; x, 1; !x, 2",
    "masked.logsumexp": (
        "x, 0, mask=mask # floats; x, (0, 1), keepdim=True, mask=truth # floats; "
        "i, 1, dtype=torch.float32, mask=truth # floats; !x, 2"
    ),
    "masked.logaddexp": (
        "x, y, input_mask=truth, other_mask=other_truth # floats; x, y # floats; "
        "x, y, dtype=torch.float64 # floats"
    ),
    "masked.norm": (
        "x, 2, 0, mask=truth # floats; x, 1.0, (0, 1), mask=mask # floats; "
        "x, inf, 1, keepdim=True, mask=truth # floats; x, -inf, 1, mask=mask # floats; !x, 2, 2"
    ),
    "masked.var": (
        "x, 0, mask=mask # floats; x, (0, 1), False, mask=truth # floats; "
        "x, 1, unbiased=True, keepdim=True, mask=mask # floats; !x, 2"
    ),
    "masked.std": (
        "x, 0, mask=mask # floats; x, (0, 1), False, mask=truth # floats; "
        "x, 1, unbiased=True, keepdim=True, mask=mask # floats; !x, 2"
    ),
    "masked.softmax": (
        "x, 0, mask=truth # floats; x, 1, mask=mask # floats; x, -1, dtype=torch.float64 # floats; "
        "!x, 2"
    ),
    "masked.log_softmax": (
        "x, 0, mask=mask # floats; x, 1, mask=mask # floats; x, -1, dtype=torch.float64 # floats; "
        "!x, 2"
    ),
    "masked.softmin": (
        "x, 0, mask=truth # floats; x, 1, mask=mask # floats; x, -1, dtype=torch.float64 # floats; "
        "!x, 2"
    ),
    "masked.normalize": (
        "x, 2.0, 0, mask=truth # floats; x, 1.0, 1, mask=mask # floats; "
        "x, inf, -1, eps=0.5, mask=truth # floats; x, 2, 1 # floats; !x, 2, 2"
    ),
}
