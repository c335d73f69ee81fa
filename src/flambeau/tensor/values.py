"""A tensor's values: as arrays, numbers, memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import bfloat16, from_numpy_dtype
from flambeau.record import alias, flush
from flambeau.record.absent import Absent, hollow, is_absent
from flambeau.record.builder import tensor_class
from flambeau.record.meta import meta
from flambeau.record.storage import (
    Handle,
    Parts,
    Storage,
    Turned,
    contiguous_strides,
    view_array,
)
from flambeau.record.trace import open_
from flambeau.run.addresses import address_of

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


_flat_storages: dict[int, Any] = {}


class Values(Handle):
    """The part of ``Tensor`` that makes its values concrete, and gives them away."""

    def _value(self) -> Tensor:
        """Makes the tensor concrete."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
        elif storage.trace is not None:
            flush.flush_other(storage.trace)
        return self

    def _array(self) -> np.ndarray:
        """The concrete value, which nobody may write to."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
            storage = self._storage
        # A pending storage still holds its old value: what a trace bound.
        if storage.memory is None:
            flush.flush_other(storage.trace)
        if self._spec is None:
            return storage.array
        return view_array(storage.array, self._spec)

    def _memory(self) -> np.ndarray:
        """``_array`` of a concrete tensor, for who does not look at the values yet."""
        storage = self._storage
        memory = storage.memory
        if self._spec is None:
            return memory
        if alias.turn_of(self) is not None:
            return self._array()
        return view_array(memory, self._spec)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The value as a NumPy array on the same memory.

        That of a conjugate view (or a negative one) has memory of its own.

        Raises ``RuntimeError`` for a tensor that requires grad and ``TypeError`` for bfloat16,
        unless ``force``.
        """
        if is_absent(self):
            raise TypeError(
                "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        if self.requires_grad and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if self._meta.dtype is bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        if alias.turn_of(self) is not None:
            # PyTorch refuses it: code that takes it for an error could only go on with these.
            return self._value()._array()
        return self._export()

    def _export(self) -> np.ndarray:
        self._give()
        return self._array().view()

    def _give(self) -> None:
        """Makes it concrete, in memory that foreign code may write to from now on."""
        storage = self._storage
        if storage is None or storage.trace is not None:
            self._value()
            storage = self._storage
        # What was recorded on it is computed first.
        tr = open_.trace
        for t in tr.inputs:
            if t._storage is storage:
                flush.flush_other(tr)
                break
        alias.mark_foreign(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._meta.dtype is bfloat16:
            array = self._value()._array().astype(np.float32)
            return array if dtype is None else array.astype(dtype)
        if self.requires_grad or is_absent(self):
            self.numpy()
        array = self._export()
        if dtype is not None:
            array = array.astype(dtype, copy=False)
        return array.copy() if copy else array

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        """What a NumPy function of tensors gives: a tensor, of uint8 where it says true or false
        (as PyTorch has it).
        """
        from flambeau import from_numpy  # upward: the one way to make a tensor of an array

        return from_numpy(array.astype(np.uint8) if array.dtype == bool else np.asarray(array))

    def item(self) -> Any:
        """The one element as a Python number; ``RuntimeError`` if there are more."""
        storage = self._storage
        if storage is None:
            flush.flush_other(self._trace)
        elif storage.trace is not None:
            flush.flush_other(storage.trace)
        if storage.__class__ is Absent and math.prod(self._meta.shape) == 1:
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        array = self._array() if storage.__class__ is not Absent else hollow(self._meta)
        if array.size != 1:
            raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
        value = array.item()
        return float(value) if self._meta.dtype is bfloat16 else value

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        array = self._value()._array()
        return array.astype(np.float32).tolist() if self._meta.dtype is bfloat16 else array.tolist()

    def data_ptr(self) -> int:
        """The address of the first element; 0 of a tensor without elements or without values."""
        if is_absent(self) or 0 in self._meta.shape:
            return 0
        self._give()
        spec, memory = self._spec, self._storage.memory  # type: ignore[union-attr]
        if spec is None:
            return address_of(memory)
        return address_of(memory) + spec[2] * self._meta.dtype.itemsize

    def untyped_storage(self) -> Any:
        """The memory that the tensor lies on, as bytes: ``torch.storage.UntypedStorage``."""
        from flambeau.storage import untyped  # upward: an object made of a tensor over it all

        return untyped(self)

    def storage(self) -> Any:
        """The memory that the tensor lies on, as elements: ``torch.storage.TypedStorage``."""
        from flambeau.storage import typed  # upward: an object made of a tensor over it all

        return typed(self)

    def _storage_parts(self) -> tuple:
        """(owner, whole storage as a flat array, offset, shape, strides): for saving."""
        self._value()
        shape, strides, offset = alias.spec_of(self)
        if self._spec.__class__ in (Parts, Turned):
            # Of its own in a file: there one memory has one dtype, and is read as it is.
            own = np.array(self._array(), order="C")
            return own, own.reshape(-1), 0, shape, contiguous_strides(shape)
        return self._storage, self._storage.array.reshape(-1), offset, shape, strides

    @classmethod
    def _from_parts(
        cls,
        owner: Any,
        flat: np.ndarray,
        offset: int,
        shape: tuple,
        strides: tuple,
        requires_grad: bool = False,
        kind: type | None = None,
        stores: dict | None = None,
    ) -> Tensor:
        """A tensor on (part of) a flat array; the same array gives tensors that share memory."""
        import weakref

        t = object.__new__(kind or cls)
        shape, strides = tuple(shape), tuple(strides)
        t._meta = meta(shape, from_numpy_dtype(flat.dtype), requires_grad)
        whole = (
            offset == 0 and strides == contiguous_strides(shape) and (math.prod(shape) == flat.size)
        )
        known = _flat_storages.get(id(flat))
        storage = known[1]() if known is not None and known[0]() is flat else None
        if storage is None:
            storage = Storage(flat.reshape(shape) if whole else flat)
            _flat_storages[id(flat)] = weakref.ref(flat), weakref.ref(storage)
        else:
            storage.share()
        t._storage = storage
        if storage.shape != shape or not whole:
            storage.share()
            t._spec = (shape, strides, offset)
            base = object.__new__(tensor_class[0])
            base._meta = meta(storage.shape, t._meta.dtype)
            base._storage = storage
            base._hidden = True
            t._base = base
        return t
