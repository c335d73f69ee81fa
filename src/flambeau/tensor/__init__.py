"""Tensor: a value, pending or concrete, with its place in the history; methods are functions."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.record.builder import register, shared
from flambeau.record.meta import meta
from flambeau.record.storage import Storage
from flambeau.record.trace import defaults
from flambeau.tensor.facts import Facts
from flambeau.tensor.history import History, follow
from flambeau.tensor.protocols import _STATE, Protocols
from flambeau.tensor.size import Size
from flambeau.tensor.values import Values

if TYPE_CHECKING:
    from flambeau.dtypes import dtype

__all__ = ["Size", "Tensor", "_STATE", "concrete"]


class Tensor(Facts, History, Values, Protocols):
    """A multi-dimensional array of one dtype that records what is computed with it.

    ``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` holds the given values as the default
    floating dtype.

    >>> import flambeau
    >>> flambeau.tensor([1.0, 2.0]) * 2
    tensor([2., 4.])
    """

    __array_priority__ = 1000
    is_cuda = is_sparse = is_sparse_csr = is_quantized = is_mps = is_xpu = False
    # Whether this is a tensor of flambeau.sparse, whose history is that of its values.
    _is_sparse_layout = False
    # (dtype of gradients, the hook that gives it to them); None: the tensor's own.
    _grad_kind: tuple[Any, Any] | None = None
    is_mkldnn = is_nested = is_vulkan = is_ipu = is_hpu = is_mtia = is_maia = is_xla = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if not args and not kwargs:
            t = object.__new__(cls)
            return t
        from flambeau.functions import creation  # upward: the constructor is a function

        return creation.legacy_constructor(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args and not kwargs and "_meta" not in self.__dict__:
            self._meta = meta((0,), defaults.dtype)
            self._storage = Storage(np.empty((0,), defaults.dtype.numpy))


# Errors of a call, and pickle, know the class alone.
for _part in (Facts, History, Values, Protocols):
    for _method in vars(_part).values():
        if isinstance(_method, FunctionType):
            _method.__module__, _method.__qualname__ = __name__, f"Tensor.{_method.__name__}"


def concrete(array: np.ndarray, dtype: dtype, requires_grad: bool = False) -> Tensor:
    """A tensor on an array that is its own."""
    t = object.__new__(Tensor)
    t._meta = meta(array.shape, dtype, requires_grad)
    t._storage = Storage(array)
    return t


register(Tensor)
shared["follow"] = follow
