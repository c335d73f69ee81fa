"""Dtypes: what operations promote to, what a tensor is, and copies."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_tensor
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.record.trace import defaults, set_state
from flambeau.tensor import Tensor


@function(grad="CloneBackward0")
def _clone(input: Tensor) -> Tensor:
    return ops.clone(input)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own, through which gradients flow.

    ``memory_format`` says how the elements lie in memory, which is row-major here.

    >>> clone(tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    _need_tensor("clone", input)
    return _clone(input)


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype that an operation on two tensors or numbers has.

    >>> result_type(tensor([1, 2], dtype=int32), 1.0)
    torch.float32
    """
    return _promotion.result_type(tensor1, tensor2)


def promote_types(type1: dtypes.dtype, type2: dtypes.dtype) -> dtypes.dtype:
    """The smallest dtype that holds both.

    >>> promote_types(int32, float32)
    torch.float32
    """
    return dtypes.promote(type1, type2)


def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Whether a conversion keeps the kind of number: to complex, floating, integral, bool.

    >>> can_cast(float64, int32)
    False
    """
    return from_.category <= to.category


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor.

    >>> is_tensor(1)
    False
    """
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one.

    >>> is_floating_point(tensor([1]))
    False
    """
    _need_tensor("is_floating_point", input)
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex.

    >>> is_complex(tensor([1j]))
    True
    """
    _need_tensor("is_complex", input)
    return input.is_complex()


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    _need_tensor("is_signed", input)
    return input.is_signed()


def is_conj(input: Tensor) -> bool:
    """Whether conjugation is still to be done: never here."""
    _need_tensor("is_conj", input)
    return input.is_conj()


def is_neg(input: Tensor) -> bool:
    """Whether negation is still to be done: never here."""
    _need_tensor("is_neg", input)
    return input.is_neg()


def is_inference(input: Tensor) -> bool:
    """Whether made under inference mode."""
    _need_tensor("is_inference", input)
    return input.is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not zero. ``RuntimeError`` for another number of elements.

    >>> is_nonzero(tensor([0.0]))
    False
    """
    _need_tensor("is_nonzero", input)
    return bool(input)


def numel(input: Tensor) -> int:
    """The number of elements.

    >>> numel(zeros(2, 3))
    6
    """
    _need_tensor("numel", input)
    return input.numel()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape.

    >>> is_same_size(zeros(2), zeros(3))
    False
    """
    _need_tensor("is_same_size", input)
    _need_tensor("is_same_size", other, "other", 2)
    return input._meta.shape == other._meta.shape


def get_default_dtype() -> dtypes.dtype:
    """The dtype of new floating tensors.

    >>> get_default_dtype()
    torch.float32
    """
    return defaults.dtype


def set_default_dtype(d: dtypes.dtype, /) -> None:
    """Sets the dtype of new floating tensors. ``TypeError`` for other than floating ones."""
    if not isinstance(d, dtypes.dtype):
        raise TypeError(f"invalid dtype object: got {type(d).__name__}")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    defaults.dtype = d
    set_state(default=d)
