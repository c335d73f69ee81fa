"""Properties of tensors, and methods whose names are no functions of the package."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.functions import conversion, matrices, special, ternary
from flambeau.functions.checks import _need_tensor
from flambeau.functions.complex import _imaginary, _part, conj
from flambeau.functions.inplace import assign
from flambeau.functions.promotion import Number, cast
from flambeau.functions.transposing import adjoint, permute, transpose
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor
from flambeau.tensor.facts import _ORDERS


def _warn_of_number(name: str, instead: str) -> None:
    warnings.warn(
        f"Tensor.{name} is deprecated on 0-D tensors. {instead}", UserWarning, stacklevel=3
    )


def _reversed(self: Tensor) -> Tensor:
    """All dimensions in reverse order; deprecated for other than matrices."""
    n = self.dim()
    if not n:
        _warn_of_number("T", "This function is the identity in these cases.")
    elif n != 2:
        warnings.warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated and it will throw an error in a future release. Consider `x.mT` to "
            "transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to "
            "reverse the dimensions of a tensor.",
            UserWarning,
            stacklevel=2,
        )
    return permute(self, tuple(range(n - 1, -1, -1))) if n else self


def _matrices(self: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    if not self.dim():
        _warn_of_number("mT", "This function is the identity in these cases.")
        return self
    if self.dim() < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{self.dim()}-D tensor."
        )
    return transpose(self, -2, -1)


def _hermitian(self: Tensor) -> Tensor:
    """A matrix transposed and conjugated."""
    if not self.dim():
        _warn_of_number("H", "Consider using x.conj().")
        return conj(self)
    if self.dim() != 2:
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor."
        )
    return adjoint(self)


def _batch_hermitian(self: Tensor) -> Tensor:
    """The last two dimensions exchanged and conjugated."""
    if not self.dim():
        _warn_of_number("mH", "Consider using x.conj().")
        return conj(self)
    if self.dim() < 2:
        raise RuntimeError(
            "tensor.mH is only supported on matrices or batches of matrices. Got "
            f"{self.dim()}-D tensor."
        )
    return adjoint(self)


@function
def _set_real(input: Tensor, value: Tensor | Number) -> Tensor:
    parts = input._meta.dtype.to_real()
    return assign(input, ops.complex(_spread(value, input, parts), ops.imag(input)))


@function
def _set_imag(input: Tensor, value: Tensor | Number) -> Tensor:
    parts = input._meta.dtype.to_real()
    return assign(input, ops.complex(ops.real(input), _spread(value, input, parts)))


def _spread(value: Any, like: Tensor, dtype: Any) -> Tensor:
    """``value`` as a part of each element of ``like``."""
    shape = like._meta.shape
    if not isinstance(value, Tensor):
        return ops.full(value, shape=shape, dtype=dtype)
    value = cast(value, dtype)
    return value if value._meta.shape == shape else ops.broadcast(value, shape=shape)


def _write_real(self: Tensor, value: Any) -> None:
    if self.dtype.is_complex:
        _set_real(self, value)
    elif isinstance(value, Tensor):
        self.copy_(value)
    else:
        self.fill_(value)


def _write_imag(self: Tensor, value: Any) -> None:
    _imaginary(self)
    _set_imag(self, value)


def _dense_in(input: Tensor, order: tuple[int, ...]) -> bool:
    """Whether the elements lie in memory with the dimensions in this order, without gaps."""
    shape, strides = tuple(input.shape), input.stride()
    step = 1
    for d in reversed(order):
        if shape[d] != 1 and strides[d] != step:
            return False
        step *= shape[d]
    return True


def dim_order(input: Tensor, *, ambiguity_check: bool | list = False) -> tuple[int, ...]:
    """The dimensions from the widest stride to the narrowest.

    ``RuntimeError`` if ``ambiguity_check`` and another order fits as well, as dimensions of size 1
    have it, or if it is a list of memory formats of which not exactly one fits.

    >>> torch.zeros(2, 3).T.dim_order()
    (1, 0)
    """
    strides = input.stride()
    if isinstance(ambiguity_check, (list, tuple)):
        plain = tuple(range(input.dim()))
        orders = [_ORDERS.get(str(f).rpartition(".")[2], plain) for f in ambiguity_check]
        fitting = [o for o in orders if len(o) == len(plain) and _dense_in(input, o)]
        unclear = len(fitting) != 1
    elif isinstance(ambiguity_check, bool):
        unclear = ambiguity_check and (1 in input.shape or len(set(strides)) < len(strides))
    else:
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    if unclear:
        raise RuntimeError(
            "The tensor does not have unique dim order, or cannot map to exact one of the given "
            "memory formats."
        )
    if input.is_contiguous():
        return tuple(range(input.dim()))
    # Dimensions that are expanded stay where they are.
    moved = [d for d, s in enumerate(strides) if s]
    ordered = iter(sorted(moved, key=lambda d: -strides[d]))
    return tuple(next(ordered) if s else d for d, s in enumerate(strides))


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same view of the same memory.

    >>> x = torch.zeros(3)
    >>> x.is_set_to(x.view(3)), x.is_set_to(x[1:])
    (True, False)
    """
    _need_tensor("is_set_to", tensor, "tensor")
    return (
        input._value()._storage is tensor._value()._storage
        and input.shape == tensor.shape
        and input.stride() == tensor.stride()
        and input.storage_offset() == tensor.storage_offset()
    )


_PROPERTIES = {
    "T": property(_reversed),
    "mT": property(_matrices),
    "H": property(_hermitian),
    "mH": property(_batch_hermitian),
    "real": property(_part, _write_real),
    "imag": property(_imaginary, _write_imag),
}
_METHODS = {
    "dim_order": dim_order,
    "is_set_to": is_set_to,
    "lu": matrices._method_lu,
    "where": ternary._method_where,
    "polygamma": special._method_polygamma,
    "polygamma_": special._method_polygamma_,
}


def attach_all() -> None:
    """Gives ``Tensor`` its properties and conversion methods. Done when this module is imported."""
    for name, value in {**_PROPERTIES, **_METHODS, **conversion.METHODS}.items():
        setattr(Tensor, name, value)


attach_all()


SAMPLES = {
    "Tensor.is_set_to": "x, x; x, y; x, x.view(3, 4); x, x[:]; x, x[:, :4]; x, x.t(); !x, 1",
    "Tensor.T": "x; i; c; s; m.t(); v; cube",
    "Tensor.mT": "x; cube; i; c; s; !v",
    "Tensor.H": "x; c; s; cv[0]; i; !v; !cube",
    "Tensor.mH": "x; cm; batch; i; cv[0]; !v",
    "Tensor.real": "c; cm.t(); x; i",
    "Tensor.imag": "c; cm.t(); !x; !i",
    "Tensor.dim_order": "x; x.t(); cube.transpose(0, 2); s; u[:, None].expand(3, 4);"
    "x, ambiguity_check=True; !row, ambiguity_check=True; !x, ambiguity_check=3",
}
