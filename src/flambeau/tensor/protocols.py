"""Protocols of Python, pickle, DLPack, the array API, as tensors follow them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import printing
from flambeau.dtypes import bfloat16, dtype
from flambeau.record import alias
from flambeau.record.absent import absent, is_absent
from flambeau.record.builder import shared
from flambeau.record.meta import meta
from flambeau.record.storage import (
    Handle,
    Parts,
    Storage,
    contiguous_strides,
)
from flambeau.record.trace import defaults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flambeau.tensor import Tensor


class Protocols(Handle):
    """The part of ``Tensor`` that Python and other libraries call."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        name = None
        requires = self.requires_grad
        if requires and not self._meta.leaf:
            name = self.grad_fn.name()
        kind = type(self)
        text = printing.format_tensor(
            None if is_absent(self) else self._value()._array(),
            self._meta.dtype,
            default_dtype=defaults.dtype,
            requires_grad=requires,
            grad_fn_name=name,
            device=str(self.device),
            shape=self._meta.shape,
            class_name="tensor" if kind in shared["TENSORS"] else kind.__name__,
        )
        # A subclass that was made a parameter carries a mark.
        return f"Parameter({text})" if getattr(self, "_is_param", False) else text

    def __format__(self, spec: str) -> str:
        if self.dim() == 0:
            return format(self.item(), spec)
        if not spec:
            return str(self)
        return object.__format__(self, spec)

    def __bool__(self) -> bool:
        n = self.numel()
        if n == 1:
            return bool(self.item())
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def __int__(self) -> int:
        return int(self._scalar("Int"))

    def __float__(self) -> float:
        return float(self._scalar("Double"))

    def __complex__(self) -> complex:
        return complex(self._scalar("Complex"))

    def _scalar(self, what: str) -> Any:
        try:
            return self.item()
        except RuntimeError:
            if math.prod(self._meta.shape) == 1:
                raise
            message = "only one element tensors can be converted to Python scalars"
            raise ValueError(message) from None

    def __index__(self) -> int:
        if self.numel() != 1 or self._meta.dtype.category > 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self._meta.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._meta.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._meta.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Handle, int, float, complex, bool)):
            return bool((self == element).any().item())
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment.  If you were attempting to deepcopy a module, this may "
                "be because of a torch.nn.utils.weight_norm usage."
            )
        import copy

        self._value()
        if is_absent(self):
            t = memo[id(self)] = _rebuild_absent(type(self), *self._absent_parts())
            return t
        storage = self._storage
        flats = memo.setdefault("flambeau storages", {})
        flat = flats.get(id(storage))
        if flat is None:
            flat = flats[id(storage)] = storage.array.copy().reshape(-1)
        shape, strides, offset = alias.spec_of(self)
        if alias.turn_of(self) is not None:
            flat, strides, offset = self._array().reshape(-1), contiguous_strides(shape), 0
        elif self._spec.__class__ is Parts:
            flat = flat.view(self._spec.dtype or flat.real.dtype)
        t = self._from_parts(
            None, flat, offset, shape, strides, self._meta.requires_grad, type(self)
        )
        memo[id(self)] = t
        if self._grad is not None:
            t._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if name not in _STATE:
                t.__dict__[name] = copy.deepcopy(value, memo)
        return t

    def _absent_parts(self) -> tuple:
        """What there is to copy of a tensor without values."""
        m, (_, strides, offset) = self._meta, alias.spec_of(self)
        extra = {k: v for k, v in self.__dict__.items() if k not in _STATE}
        return m.shape, strides, offset, m.dtype, m.requires_grad, extra

    def __reduce_ex__(self, protocol: Any) -> tuple:
        self._value()
        if is_absent(self):
            return _rebuild_absent, (type(self), *self._absent_parts())
        array = np.array(self._array(), order="C")
        if self._meta.dtype is bfloat16:
            array = array.view(np.uint16)
        extra = {k: v for k, v in self.__dict__.items() if k not in _STATE}
        return (
            _rebuild,
            (type(self), array, self._meta.dtype, self._meta.requires_grad and self.is_leaf, extra),
        )

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | {k for k in self.__dict__ if k not in _STATE})

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.is_conj():
            raise BufferError("Can't export tensors with the conjugate bit set")
        return self._export().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple:
        return (1, 0)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The Array API standard's functions (:mod:`flambeau.array_api`)."""
        from flambeau import array_api  # upward: a namespace over the whole package

        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"Unsupported Array API version: {api_version!r}")
        return array_api

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The Array API standard's name of ``to``."""
        if stream is not None:
            raise NotImplementedError("to_device(): streams are not supported")
        return self.to(device)  # type: ignore[attr-defined]


_STATE = {
    "_trace", "_slot", "_meta", "_storage", "_spec", "_base", "_btrace", "_seen", "_hist",
    "_grad", "_hooks", "_post_hooks", "_retains", "_keep", "_grad_kind",
    "_hidden", "_noted",
}  # fmt: skip


def _rebuild_absent(
    kind: type,
    shape: tuple,
    strides: tuple,
    offset: int,
    dtype: dtype,
    requires_grad: bool,
    extra: dict,
) -> Tensor:
    t = absent(meta(shape, dtype, requires_grad))
    t.__class__ = kind
    if offset or strides != contiguous_strides(shape):
        t._spec = shape, strides, offset
        t._base = absent(meta(shape, dtype))
        t._base._storage, t._base._hidden = t._storage, True
        t._storage.share()
    t.__dict__.update(extra)
    return t


def _rebuild(
    kind: type, array: np.ndarray, dtype: dtype, requires_grad: bool, extra: dict
) -> Tensor:
    if dtype is bfloat16:
        array = array.view(bfloat16.numpy)
    t = object.__new__(kind)
    t._meta = meta(array.shape, dtype, requires_grad)
    t._storage = Storage(np.ascontiguousarray(array).reshape(array.shape))
    t.__dict__.update(extra)
    return t
