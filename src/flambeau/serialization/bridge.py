"""All that this package asks of tensors: taking them apart and building them."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from .. import dtypes


@dataclasses.dataclass(frozen=True)
class Parts:
    """A strided tensor, apart: which elements of which storage it shows."""

    owner: object  # stands for the storage: tensors that share it have the same owner
    flat: np.ndarray  # the whole storage, one-dimensional
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: dtypes.dtype
    location: str
    requires_grad: bool


def root() -> ModuleType:
    """The package itself, for its public names: imported late, since it imports us."""
    return importlib.import_module(__name__.partition(".")[0])


def tensor_type() -> type:
    """``flambeau.Tensor``."""
    return root().Tensor


def parameter_type() -> type:
    """``flambeau.nn.Parameter``."""
    return root().nn.Parameter


def size_type() -> type:
    """``flambeau.Size``."""
    return root().Size


def take_apart(tensor: object) -> Parts:
    """The parts of a ``Tensor``; flushes what is pending in it."""
    owner, flat, offset, shape, stride = tensor._storage_parts()
    return Parts(
        owner,
        flat,
        int(offset),
        tuple(int(n) for n in shape),
        tuple(int(n) for n in stride),
        tensor.dtype,
        str(tensor.device),
        bool(tensor.requires_grad),
    )


def build(
    flat: np.ndarray,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    cls: type | None = None,
) -> object:
    """A tensor over ``flat``: those given the same array share memory."""
    base = tensor_type()
    return base._from_parts(flat, flat, offset, shape, stride, requires_grad, cls or base)


def internal_names() -> frozenset[str]:
    """The instance attributes of a tensor that make up the tensor itself."""
    return frozenset(importlib.import_module("..tensor", __package__)._STATE)


def user_state(tensor: object) -> dict[str, object]:
    """The attributes the user has set on a tensor."""
    internal = internal_names()
    return {name: value for name, value in vars(tensor).items() if name not in internal}
