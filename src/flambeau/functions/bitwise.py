"""Bits and truth values, element by element."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_one_tensor, _need_tensor, _refuse
from flambeau.functions.dims import wrap_dims
from flambeau.functions.inplace import inplace
from flambeau.functions.promotion import Number, promoted
from flambeau.ir import reduction as _reduction  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _bits(name: str, primitive: str, kernel: str, meaning: str, example: str) -> Any:
    shift = primitive.startswith("shift")

    def compute(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        _need_one_tensor(name, input, other)
        x, y = promoted(input, other)
        d = (x if isinstance(x, Tensor) else y)._meta.dtype
        if d.category > 1 or (shift and d is dtypes.bool_):
            _refuse(kernel, d)
        return getattr(ops, primitive)(x, y)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element; either operand may be a number.

    Raises ``NotImplementedError`` for floating and complex numbers.

    >>> {example}
    """
    return function(compute)


bitwise_and = _bits(
    "bitwise_and", "and", "bitwise_and_cpu", "Bitwise (for bools logical) and",
    "bitwise_and(tensor([6]), 3)\n    tensor([2])",
)  # fmt: skip
bitwise_or = _bits(
    "bitwise_or", "or", "bitwise_or_cpu", "Bitwise (for bools logical) or",
    "bitwise_or(tensor([6]), 3)\n    tensor([7])",
)  # fmt: skip
bitwise_xor = _bits(
    "bitwise_xor", "xor", "bitwise_xor_cpu", "Bitwise (for bools logical) exclusive or",
    "bitwise_xor(tensor([6]), 3)\n    tensor([5])",
)  # fmt: skip
bitwise_left_shift = _bits(
    "bitwise_left_shift", "shift_left", "lshift_cpu", "Bits moved left: :math:`x 2^y`",
    "bitwise_left_shift(tensor([3]), 2)\n    tensor([12])",
)  # fmt: skip
bitwise_right_shift = _bits(
    "bitwise_right_shift", "shift_right", "rshift_cpu",
    "Bits moved right, the sign kept: :math:`\\lfloor x / 2^y \\rfloor`",
    "bitwise_right_shift(tensor([12]), 2)\n    tensor([3])",
)  # fmt: skip


@function
def bitwise_not(input: Tensor) -> Tensor:
    """Bitwise (for bools logical) complement. ``NotImplementedError`` for floating numbers.

    >>> bitwise_not(tensor([0, 1]))
    tensor([-1, -2])
    """
    _need_tensor("bitwise_not", input)
    if input.dtype.category > 1:
        _refuse("bitwise_not_cpu", input.dtype)
    return ops.not_(input)


def _true(x: Tensor) -> Tensor:
    return x if x.dtype is dtypes.bool_ else ops.ne(x, 0)


def _logical(name: str, primitive: str, meaning: str, example: str) -> Any:
    def compute(input: Tensor, other: Tensor) -> Tensor:
        _need_tensor(name, input)
        _need_tensor(name, other, "other", 2)
        return getattr(ops, primitive)(_true(input), _true(other))

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element: a bool tensor. Zero is false.

    >>> {example}
    """
    return function(compute)


logical_and = _logical(
    "logical_and", "and", "Whether both are true",
    "logical_and(tensor([0, 1]), tensor([1, 1]))\n    tensor([False,  True])",
)  # fmt: skip
logical_or = _logical(
    "logical_or", "or", "Whether one or both are true",
    "logical_or(tensor([0, 0]), tensor([1, 0]))\n    tensor([ True, False])",
)  # fmt: skip
logical_xor = _logical(
    "logical_xor", "xor", "Whether exactly one is true",
    "logical_xor(tensor([0, 1]), tensor([1, 1]))\n    tensor([ True, False])",
)  # fmt: skip


@function
def logical_not(input: Tensor) -> Tensor:
    """Whether false (zero), element by element: a bool tensor.

    >>> logical_not(tensor([0, 1]))
    tensor([ True, False])
    """
    _need_tensor("logical_not", input)
    return ops.eq(input, 0) if input.dtype is not dtypes.bool_ else ops.not_(input)


@function
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """The exclusive or of all bits, of all elements or over dimensions: uint64.

    Elements are widened to 64 bits (floating, or integers), whose bits are taken. Raises
    ``RuntimeError`` for another ``mode`` than 0 and for no elements without a ``dim``,
    ``IndexError`` for a ``dim`` without elements, ``NotImplementedError`` for complex numbers.

    >>> hash_tensor(tensor([1, 2, 4]))
    tensor(7, dtype=torch.uint64)
    """
    _need_tensor("hash_tensor", input)
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input.dtype.is_complex:
        _refuse("xor_sum_cpu", input.dtype)
    shape = input._meta.shape
    if dim in (None, ()) and 0 in shape:
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    dims = wrap_dims(dim, len(shape))
    for d in dims:
        if not shape[d]:
            raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    return ops.xor_of_bits(input, dims=dims, keepdim=keepdim)


bitwise_and_, bitwise_or_, bitwise_xor_, bitwise_not_ = map(
    inplace, (bitwise_and, bitwise_or, bitwise_xor, bitwise_not)
)
bitwise_left_shift_, bitwise_right_shift_ = map(inplace, (bitwise_left_shift, bitwise_right_shift))
logical_and_, logical_or_, logical_xor_, logical_not_ = map(
    inplace, (logical_and, logical_or, logical_xor, logical_not)
)


SAMPLES = {
    "bitwise_and": "i, j; i, 3; 6, i; truth, other_truth; small, 15; i, j[:1]; !x, y; !i, u;"
    "!i, 0.5",
    "bitwise_or": "i, j; i, 3; 6, i; truth, other_truth; small, 15; !x, y; !c, 1; !i, 0.5",
    "bitwise_xor": "i, j; i, 3; 6, i; truth, other_truth; small, 15; !x, y; !c, 1; !i, 0.5",
    "bitwise_left_shift": "i, k; i, 3; 2, k; small, 1; i, k[:1]; !x, y; !truth, other_truth",
    "bitwise_right_shift": "i, k; i, 3; 64, k; small, 1; i, k[:1]; !x, y; !truth, other_truth",
    "bitwise_not": "i; small; truth; torch.tensor(5); !x; !c; !2",
    "logical_and": "i, j; x, i # no-grad; truth, x; special, special.flip(0) # no-grad;"
    "c, x # no-grad; i, j[:1]; !x, 1; !i, u",
    "logical_or": "i, j; x, i # no-grad; truth, x; special, special.flip(0) # no-grad;"
    "c, x # no-grad; !x, 1; !i, u",
    "logical_xor": "i, j; x, i # no-grad; truth, x; special, special.flip(0) # no-grad;"
    "c, x # no-grad; !x, 1; !i, u",
    "logical_not": "x # no-grad; i; truth; special # no-grad; c # no-grad; torch.tensor(0); !2",
    "hash_tensor": "x; i; x, 1; x, (0, 1), keepdim=True; truth; half, 0; !c; !x, mode=1; !empty;"
    "!empty, 0; !x, 2",
}
