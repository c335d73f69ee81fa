"""Dtypes: what operations promote to, what a tensor is, and copies."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions import promotion as _promotion
from flambeau.functions.checks import _need_tensor
from flambeau.functions.memory_order import order_of
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.record.meta import meta
from flambeau.record.trace import defaults, set_state
from flambeau.tensor import Tensor


@function(grad="CloneBackward0")
def _clone(input: Tensor) -> Tensor:
    return ops.clone(input)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own, through which gradients flow.

    ``memory_format`` says how the elements lie in memory: ``torch.channels_last`` or, for
    ``torch.contiguous_format``, in row-major order; by default as those of ``input``.

    >>> clone(tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    _need_tensor("clone", input)
    if memory_format is None:
        return _clone(input)
    return laid_out(input, memory_format)


def laid_out(input: Tensor, memory_format: Any) -> Tensor:
    """A copy whose elements lie in memory as a format says."""
    return _in_rows(input, order_of(input, memory_format))


@function(grad="CloneBackward0")
def _in_rows(input: Tensor, order: tuple[int, ...] | None) -> Tensor:
    made = ops.clone(input)
    m = made._meta
    made._meta = meta(m.shape, m.dtype, m.requires_grad, m.leaf, order)
    return made


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype that an operation on two tensors or numbers has.

    >>> result_type(tensor([1, 2], dtype=int32), 1.0)
    torch.float32
    """
    return _promotion.result_type(tensor1, tensor2)


def _need_dtypes(name: str, **given: Any) -> None:
    for place, (argument, value) in enumerate(given.items(), 1):
        if not isinstance(value, dtypes.dtype):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {place}) must be torch.dtype, not "
                f"{type(value).__name__}"
            )


def promote_types(type1: dtypes.dtype, type2: dtypes.dtype) -> dtypes.dtype:
    """The smallest dtype that holds both.

    >>> promote_types(int32, float32)
    torch.float32
    """
    type1, type2 = dtypes.of_type(type1), dtypes.of_type(type2)
    _need_dtypes("promote_types", type1=type1, type2=type2)
    return dtypes.promote(type1, type2)


def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Whether a conversion keeps the kind of number: to complex, floating, integral, bool.

    >>> can_cast(float64, int32)
    False
    """
    from_, to = dtypes.of_type(from_), dtypes.of_type(to)
    _need_dtypes("can_cast", from_=from_, to=to)
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


SAMPLES = {
    "clone": "x; i; c; s; empty; x.t(); x, memory_format=torch.contiguous_format;"
    "image, memory_format=torch.preserve_format; !2.0",
    "result_type": "x, i; i, 1.0; i, 2; x, s.double(); truth, 1; 1, 2.0; small, i; c, x.double()",
    "promote_types": "torch.int32, torch.float32; torch.uint8, torch.int8; torch.bool, torch.int16;"
    "torch.float16, torch.bfloat16; torch.float64, torch.complex64; !torch.int32, 1",
    "can_cast": "torch.float64, torch.int32; torch.int32, torch.float16;"
    "torch.float32, torch.float64; torch.bool, torch.uint8; torch.complex64, torch.float64;"
    "!1, torch.int32",
    "is_tensor": "x; 1; [x]",
    "is_floating_point": "x; i; c; half; !1.0",
    "is_complex": "x; c; !1j",
    "is_signed": "x; small; truth; i; c; !1",
    "is_conj": "c; c.conj(); x; !1",
    "is_neg": "x; c.conj().imag; c.imag; !1",
    "is_inference": "x; !1",
    "is_nonzero": "s; torch.tensor([0]); torch.tensor([[True]]); !x; !empty; !1",
    "numel": "x; s; empty; !1",
    "is_same_size": "x, y; x, i; x, u; !x, 1",
    "get_default_dtype": "",
    "set_default_dtype": "torch.float32; !torch.int32; !'float32'",
}
