"""Python's operators on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions import arithmetic, bitwise, indexing, pointwise
from flambeau.functions.methods import operator
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

# What ``x op y`` calls, and ``y op x`` where x knows nothing of tensors.
_BINARY: dict[str, Callable] = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "floordiv": arithmetic.floor_divide,
    "mod": arithmetic.remainder,
    "pow": arithmetic.pow,
    "matmul": arithmetic.matmul,
    "and": bitwise.bitwise_and,
    "or": bitwise.bitwise_or,
    "xor": bitwise.bitwise_xor,
    "lshift": bitwise.bitwise_left_shift,
    "rshift": bitwise.bitwise_right_shift,
}
_COMPARISONS: dict[str, Callable] = {
    "eq": arithmetic.eq,
    "ne": arithmetic.ne,
    "lt": arithmetic.lt,
    "le": arithmetic.le,
    "gt": arithmetic.gt,
    "ge": arithmetic.ge,
}
_INPLACE: dict[str, Callable] = {
    "iadd": arithmetic.add_,
    "isub": arithmetic.sub_,
    "imul": arithmetic.mul_,
    "itruediv": arithmetic.div_,
    "ifloordiv": arithmetic.floor_divide_,
    "imod": arithmetic.remainder_,
    "ipow": arithmetic.pow_,
    "iand": bitwise.bitwise_and_,
    "ior": bitwise.bitwise_or_,
    "ixor": bitwise.bitwise_xor_,
    "ilshift": bitwise.bitwise_left_shift_,
    "irshift": bitwise.bitwise_right_shift_,
}


def _invert(self: Tensor) -> Tensor:
    """``~x``."""
    if self.dtype.category > 1:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return bitwise.bitwise_not(self)


_UNARY: dict[str, Callable] = {
    "neg": arithmetic.neg,
    "pos": pointwise.positive,
    "abs": pointwise.abs,
    "invert": _invert,
}


def _tensors_only(method: Callable) -> Callable:
    """``@`` knows no numbers."""

    def product(self: Tensor, other: Any) -> Any:
        if isinstance(other, (int, float, complex)) and not isinstance(other, Tensor):
            return NotImplemented
        return method(self, other)

    return product


def _rdiv(self: Tensor, other: Any) -> Any:
    """``y / x`` as ``reciprocal(x) * y``, which is how it rounds in PyTorch."""
    return arithmetic.mul(pointwise.reciprocal(self), other)


def attach_all() -> None:
    """Gives ``Tensor`` every operator: plain, reflected, in-place, comparing and unary."""
    for name, f in _BINARY.items():
        plain, reflected = operator(f), operator(f, reflected=True)
        if name == "matmul":
            plain, reflected = _tensors_only(plain), _tensors_only(reflected)
        elif name == "truediv":
            reflected = operator(_rdiv)
        setattr(Tensor, f"__{name}__", plain)
        setattr(Tensor, f"__r{name}__", reflected)
    Tensor.__rdiv__ = Tensor.__rtruediv__  # type: ignore[attr-defined]
    for name, f in (*_COMPARISONS.items(), *_INPLACE.items()):
        setattr(Tensor, f"__{name}__", operator(f))
    for name, f in _UNARY.items():
        setattr(Tensor, f"__{name}__", f)
    Tensor.__getitem__ = indexing.getitem  # type: ignore[attr-defined]
    Tensor.__setitem__ = indexing.setitem  # type: ignore[attr-defined]
