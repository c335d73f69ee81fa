"""``torch.storage``: the memory that tensors lie on, as an object of its own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import from_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flambeau.device import device
    from flambeau.dtypes import dtype
    from flambeau.tensor import Tensor

__all__ = ["TypedStorage", "UntypedStorage"]


class _Storage:
    """What both kinds have: a one-dimensional tensor over the whole memory."""

    is_cuda = is_sparse = is_hpu = False

    def __init__(self, whole: Tensor | int = 0, *, dtype: dtype | None = None) -> None:
        """On the memory of a one-dimensional tensor, or on new memory of so many elements."""
        if isinstance(whole, int):
            kind = np.dtype(np.uint8) if dtype is None else dtype.numpy
            whole = from_numpy(np.zeros(whole, kind))
        self._whole = whole

    @property
    def device(self) -> device:
        """Where the memory is."""
        return self._whole.device

    @property
    def _cdata(self) -> int:
        return self._whole.data_ptr()

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._whole.data_ptr()

    def nbytes(self) -> int:
        """The size in bytes."""
        return self._whole.nbytes

    def element_size(self) -> int:
        """The size of one element in bytes."""
        return self._whole.element_size()

    def size(self) -> int:
        """The number of elements."""
        return self._whole.numel()

    def __len__(self) -> int:
        return self._whole.numel()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._whole.tolist()

    def fill_(self, value: Any) -> Any:
        """Sets every element to ``value``."""
        self._whole.fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Any:
        """Copies the elements of another storage of the same size."""
        self._whole.copy_(source._whole)
        return self

    def clone(self) -> Any:
        """A copy on memory of its own."""
        return type(self)(self._whole.clone())

    def cpu(self) -> Any:
        """The storage itself: it is on the CPU."""
        return self

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._whole.is_shared()

    def is_pinned(self, device: Any = "cuda") -> bool:
        """Whether the memory is page-locked for a GPU."""
        return self._whole.is_pinned()

    def __str__(self) -> str:
        lines = "\n ".join(str(value) for value in self.tolist())
        return f" {lines}\n{self._summary()}"

    __repr__ = __str__

    def _summary(self) -> str:
        raise NotImplementedError


class UntypedStorage(_Storage):
    """The bytes of a tensor's memory, which views of the tensor share.

    >>> x = tensor([1.0, 2.0, 3.0])
    >>> x[1:].untyped_storage().nbytes(), x[1:].untyped_storage().data_ptr() == x.data_ptr()
    (12, True)
    """

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The first ``nbytes`` of a file, mapped; what is written reaches it if ``shared``."""
        if not nbytes:
            return cls(from_numpy(np.empty(0, np.uint8)))
        mapped = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,))
        return cls(from_numpy(mapped))

    def _bytes(self) -> np.ndarray:
        return self._whole._export().view(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._bytes() if dtype is None else self._bytes().astype(dtype, copy=False)
        return found.copy() if copy else found

    def element_size(self) -> int:
        """The size of one element in bytes: 1."""
        return 1

    def size(self) -> int:
        """The number of bytes."""
        return self._whole.nbytes

    def __len__(self) -> int:
        return self._whole.nbytes

    def tolist(self) -> list:
        """The bytes as integers."""
        return self._bytes().tolist()

    def fill_(self, value: int) -> UntypedStorage:
        """Sets every byte to ``value``."""
        self._bytes()[...] = value
        return self

    def copy_(self, source: UntypedStorage, non_blocking: bool | None = None) -> UntypedStorage:
        """Copies the bytes of another storage of the same size."""
        self._bytes()[...] = source._bytes()
        return self

    def __getitem__(self, index: Any) -> Any:
        found = self._bytes()[index]
        return UntypedStorage(from_numpy(found)) if isinstance(index, slice) else int(found)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._bytes()[index] = value

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def _summary(self) -> str:
        return f"[torch.storage.UntypedStorage(device={self.device}) of size {len(self)}]"


class TypedStorage(_Storage):
    """A tensor's memory as elements of its dtype (deprecated: :class:`UntypedStorage` is left).

    >>> torch.TypedStorage(tensor([1, 2])).tolist()
    [1, 2]
    """

    @property
    def dtype(self) -> dtype:
        """The elements' dtype."""
        return self._whole.dtype

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return self._whole[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._whole[index] = value

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._whole)

    def type(self) -> str:
        """The legacy name of this kind of storage, such as ``torch.FloatStorage``."""
        return self._whole.type().removesuffix("Tensor") + "Storage"

    def _summary(self) -> str:
        return (
            f"[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) "
            f"of size {len(self)}]"
        )


def is_storage(obj: Any) -> bool:
    """Whether this is the memory of tensors.

    >>> torch.is_storage(tensor([1]).untyped_storage())
    True
    """
    return isinstance(obj, _Storage)


def typed(tensor: Tensor) -> TypedStorage:
    """``tensor.storage()``."""
    warnings.warn(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be "
        "the only storage class. This should only matter to you if you are using storages "
        "directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of "
        "tensor.storage()",
        stacklevel=3,
    )
    return TypedStorage(_whole(tensor))


def untyped(tensor: Tensor) -> UntypedStorage:
    """``tensor.untyped_storage()``."""
    return UntypedStorage(_whole(tensor))


def _whole(tensor: Tensor) -> Tensor:
    """A tensor without history over all the memory that ``tensor`` is on."""
    storage = tensor._value()._storage
    memory = storage if tensor.is_meta else storage.memory  # type: ignore[union-attr]
    size = memory.nbytes // tensor.itemsize  # type: ignore[union-attr]
    return tensor.detach().as_strided((size,), (1,), 0)


SAMPLES = {
    "is_storage": "i.untyped_storage(); i; 3; None",
}
