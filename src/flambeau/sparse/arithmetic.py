"""Sums, products and pointwise functions of sparse tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau
from flambeau.sparse import places
from flambeau.sparse.compressed import CompressedTensor, compress
from flambeau.sparse.coo import CooTensor, at_places, coo
from flambeau.sparse.dispatch import is_sparse, operation
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

# Functions with f(0) = 0, which therefore keep the pattern.
_POINTWISE = (
    "abs", "absolute", "angle", "arcsin", "arcsinh", "arctan", "arctanh", "asin", "asinh", "atan",
    "atanh", "ceil", "erf", "erfinv", "expm1", "fix", "floor", "frac", "isinf", "isnan",
    "isneginf", "isposinf", "log1p", "nan_to_num", "relu", "round", "sgn", "sign", "signbit",
    "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip
# Those of them that the values of duplicates may go through one by one.
_LINEAR = ("conj_physical", "conj", "deg2rad", "neg", "negative", "positive", "rad2deg")
_NO_INPLACE = frozenset(
    {"angle", "conj", "isinf", "isnan", "isneginf", "isposinf", "positive", "signbit"}
)


def settled(tensor: SparseTensor) -> SparseTensor:
    """The same tensor with each place once."""
    return tensor.coalesce() if isinstance(tensor, CooTensor) else tensor


def become(tensor: SparseTensor, other: SparseTensor) -> SparseTensor:
    """Makes one tensor what another is, in place."""
    if tensor.requires_grad and tensor.is_leaf and flambeau.is_grad_enabled():
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    if other.dtype is not tensor.dtype:
        other = other._with_values(other._values_.to(tensor.dtype))  # type: ignore[attr-defined]
    for name, value in other.__dict__.items():
        setattr(tensor, name, value)
    return tensor


def _inplace(f: Callable, name: str) -> Callable:
    def method(self: SparseTensor, *args: Any, **kwargs: Any) -> SparseTensor:
        if not is_sparse(self):
            raise RuntimeError(f"{name}: expected 'self' to be sparse when 'other' is")
        return become(self, f(self, *args, **kwargs))

    method.__name__ = name
    return method


def _pointwise(name: str, linear: bool) -> None:
    def f(input: SparseTensor, *args: Any, **kwargs: Any) -> SparseTensor:
        kept = input if linear else settled(input)
        return kept._with_values(getattr(flambeau, name)(kept._values_, *args, **kwargs))

    f.__name__ = name
    operation(name)(f)
    if name not in _NO_INPLACE:
        operation(name + "_")(_inplace(f, name + "_"))


for _name in _POINTWISE:
    _pointwise(_name, False)
for _name in _LINEAR:
    _pointwise(_name, True)


# ------------------------------------------------------------------------------- sums


def _same_size(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise RuntimeError(
            f"{name}: expected 'self' and 'other' to have same size, but self has size "
            f"{list(a.shape)} while other has size {list(b.shape)} (FYI: dense-sparse addition "
            "does not currently support broadcasting)"
        )


@operation("add")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``: sparse if both are, in both's pattern."""
    if is_sparse(input) and not is_sparse(other):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if not isinstance(input, Tensor):
        input = flambeau.tensor(input)
    _same_size("add", input, other)
    if not is_sparse(input):
        dense = other.to_dense()
        return flambeau.add(input, dense, alpha=alpha)
    if isinstance(input, CompressedTensor):
        total = add(input.to_sparse_coo(), other.to_sparse_coo(), alpha=alpha)
        return compress(total, input._layout, input._block or None)
    other = other.to_sparse_coo()
    if input.sparse_dim() != other.sparse_dim():
        raise RuntimeError(
            "add: expected 'self' and 'other' to have same number of sparse dimensions"
        )
    dtype = flambeau.promote_types(input.dtype, other.dtype)
    values = other._values_ if alpha == 1 else other._values_ * alpha
    parts = [input._values_.to(dtype), values.to(dtype)]
    keys = [input._places(), other._places()]
    group = places.merged(*keys)
    count = int(group.max()) + 1 if len(group) else 0
    found = np.zeros(count, np.int64)
    found[group] = np.concatenate(keys)
    values = places.summed(flambeau.cat(parts), group, count)
    at = places.unflat(found, input._sparse_shape)
    coalesced = input._coalesced and other._coalesced
    return coo(places.index_tensor(at), values, input._shape, coalesced)


@operation("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``."""
    return add(input, other, alpha=-alpha)


@operation("rsub")
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    return add(other, input, alpha=-alpha)


@operation("add_")
def add_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``self += alpha * other``: of a strided tensor only the places of ``other`` are written."""
    if is_sparse(self):
        return become(self, add(self, other, alpha=alpha))  # type: ignore[arg-type]
    _same_size("add", self, other)
    source = other.to_sparse_coo()
    values = source._values_ if alpha == 1 else source._values_ * alpha
    sizes = source._sparse_shape
    values = values.to(self.dtype)
    if not self.is_contiguous():
        return self.copy_(self + source._with_values(values).to_dense())  # type: ignore[attr-defined]
    rows = self.view(places.volume(sizes), *values.shape[1:])  # type: ignore[attr-defined]
    rows.index_add_(0, places.index_tensor(source._places()), values)
    return self


@operation("sub_", "subtract_")
def sub_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``self -= alpha * other``."""
    return add_(self, other, alpha=-alpha)


# --------------------------------------------------------------------------- products


def _scalar(value: Any) -> bool:
    return not isinstance(value, Tensor) or (not is_sparse(value) and value.dim() == 0)


@operation("mul", "multiply")
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``: in the pattern of what is sparse; in the common one if both are."""
    if not is_sparse(input):
        input, other = other, input
    if _scalar(other):
        return input._with_values(input._values_ * other)
    if not is_sparse(other):
        sizes = tuple(flambeau.broadcast_shapes(input.shape, other.shape))
        if sizes != tuple(input.shape):
            raise RuntimeError(
                f"mul(sparse, dense): the sparse tensor, of size {list(input.shape)}, cannot be "
                f"broadcast to {list(sizes)}"
            )
        factors = input._values_like(other.expand(sizes))
        return input._with_values(input._values_ * factors)
    if input.shape != other.shape:
        raise RuntimeError(
            f"mul operands have incompatible sizes: {list(input.shape)}, {list(other.shape)}"
        )
    if isinstance(input, CompressedTensor):
        found = mul(input.to_sparse_coo(), other.to_sparse_coo())
        return compress(found, input._layout, input._block or None)
    a, b = input.coalesce(), other.to_sparse_coo().coalesce()
    keys, wanted = a._places(), b._places()
    common = np.intersect1d(keys, wanted, assume_unique=True)
    values = at_places(a, common) * at_places(b, common)
    return coo(places.index_tensor(places.unflat(common, a._sparse_shape)), values, a._shape, True)


@operation("div", "divide", "true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other`` for a number ``other``."""
    if is_sparse(other):
        shape = list(other.shape)
        raise RuntimeError(
            f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
            f"{shape} for divisor)"
        )
    if not _scalar(other):
        raise RuntimeError(
            "Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
            f"{list(other.shape)} for divisor)"
        )
    kept = input if rounding_mode is None else settled(input)
    return kept._with_values(flambeau.div(kept._values_, other, rounding_mode=rounding_mode))


@operation("floor_divide")
def floor_divide(input: Any, other: Any) -> Tensor:
    """``input // other`` for a number ``other``."""
    return div(input, other, rounding_mode="floor")


@operation("pow")
def pow(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent`` for a positive number ``exponent``."""
    if not is_sparse(input) or not _scalar(exponent):
        raise NotImplementedError(
            "Could not run 'aten::pow.Tensor_Tensor' with arguments from the 'SparseCPU' backend."
        )
    if exponent == 0:
        raise RuntimeError("pow(sparse, 0) would be dense: there is no such sparse tensor")
    kept = settled(input)
    return kept._with_values(kept._values_**exponent)


for _name, _f in {"mul": mul, "multiply": mul, "div": div, "divide": div, "true_divide": div,
                  "floor_divide": floor_divide, "pow": pow}.items():  # fmt: skip
    operation(_name + "_")(_inplace(_f, _name + "_"))


# ------------------------------------------------------------------- the whole tensor


@operation("zero_")
def zero_(self: SparseTensor) -> SparseTensor:
    """Nothing is held any more."""
    from flambeau.sparse.creation import empty

    if isinstance(self, CompressedTensor) or self._accumulates:
        # What a leaf adds its next gradient to are these values.
        with flambeau.no_grad():
            self._values_.zero_()  # type: ignore[attr-defined]
    if isinstance(self, CompressedTensor):
        return self
    inner = self._values_.shape[1:]
    none = empty(self._shape[: self.sparse_dim()], layout=self.layout, dtype=self.dtype)
    values = flambeau.zeros((0, *inner), dtype=self.dtype)
    return become(self, coo(none._indices_, values, self._shape, True))  # type: ignore[attr-defined]


@operation("copy_")
def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """What ``src`` holds, in place."""
    if is_sparse(self) != is_sparse(src):
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{self.type()} and src type = {src.type()}"
        )
    if self.shape != src.shape:
        raise RuntimeError("copy_: tensors of different size cannot be copied without broadcasting")
    return become(self, src._with_values(src._values_.clone()))  # type: ignore[attr-defined, arg-type]


@operation("clone", "_clone")
def clone(input: SparseTensor, *, memory_format: Any = None) -> SparseTensor:
    """A copy of the values; indices are never written to."""
    return input._with_values(input._values_.clone())  # type: ignore[attr-defined]


@operation("_converted")
def converted(input: SparseTensor, dtype: Any) -> SparseTensor:
    """The same in another dtype."""
    return input._with_values(input._values_.to(dtype))  # type: ignore[attr-defined]


@operation("norm")
def norm(input: SparseTensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
         dtype: Any = None) -> Tensor:  # fmt: skip
    """The norm of all elements. ``RuntimeError`` for norms of parts."""
    if dim not in (None, (), []) and len(dim if isinstance(dim, (list, tuple)) else [dim]) < (
        input.dim()
    ):
        raise RuntimeError("Only full reduction is supported for the norm of sparse tensors")
    values = settled(input)._values_.reshape(-1)  # type: ignore[attr-defined]
    return flambeau.norm(values, p, dtype=dtype)


@operation("any")
def any(input: SparseTensor, *args: Any, **kwargs: Any) -> Tensor:
    """Whether an element is not zero."""
    return flambeau.any(settled(input)._values_)


def sparse_mask(input: Tensor, mask: Tensor) -> SparseTensor:
    """What ``input`` has at the places of the sparse ``mask``.

    Raises ``RuntimeError`` if sizes differ, ``NotImplementedError`` if ``mask`` is not sparse.
    """
    if not is_sparse(mask):
        raise NotImplementedError(
            "Could not run 'aten::sparse_mask' with arguments from the 'CPU' backend: the mask is "
            "not sparse."
        )
    if input.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(input.shape)} "
            f"but mask has size {list(mask.shape)}"
        )
    kept = settled(mask)  # type: ignore[arg-type]
    return kept._with_values(kept._values_like(input))


SparseTensor.sparse_mask = sparse_mask  # type: ignore[attr-defined]
