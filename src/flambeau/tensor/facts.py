"""What is known of a tensor without its values: shape, dtype, strides, kind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.device import CPU, META, device
from flambeau.dtypes import dtype
from flambeau.record import alias
from flambeau.record.absent import is_absent
from flambeau.record.meta import strides_of
from flambeau.record.storage import (
    Handle,
)
from flambeau.tensor.size import Size

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


# Shapes hold integers: they need not be looked at.
_known = tuple.__new__
# The dimensions in the order that they have in memory.
_ORDERS = {"channels_last": (0, 2, 3, 1), "channels_last_3d": (0, 2, 3, 4, 1)}


class Facts(Handle):
    """The part of ``Tensor`` that tells shape, dtype and memory's order."""

    @property
    def shape(self) -> Size:
        return _known(Size, self._meta.shape)

    @property
    def dtype(self) -> dtype:
        return self._meta.dtype

    @property
    def device(self) -> device:
        return self.__dict__.get("_place", META) if is_absent(self) else CPU

    @property
    def layout(self) -> Any:
        from flambeau import strided  # upward: the name is public

        return strided

    @property
    def ndim(self) -> int:
        return len(self._meta.shape)

    @property
    def itemsize(self) -> int:
        return self._meta.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self._meta.dtype.itemsize

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._meta.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        shape = self._meta.shape
        if dim is None:
            return _known(Size, shape)
        n = len(shape)
        if not -max(n, 1) <= dim < max(n, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(n, 1)}, "
                f"{max(n, 1) - 1}], but got {dim})"
            )
        if not n:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        return shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._meta.shape)

    nelement = numel

    def element_size(self) -> int:
        """Bytes an element."""
        return self._meta.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements between neighbours along each dimension, or along one."""
        m = self._meta
        strides = alias.spec_of(self)[1] if m.order is None else strides_of(m)
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """Where in its storage the tensor begins, in elements."""
        return alias.spec_of(self)[2]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order (or that of a format) without gaps."""
        shape, strides = self._meta.shape, self.stride()
        order = _ORDERS.get(str(memory_format).rpartition(".")[2])
        if order is not None:
            if len(order) != len(shape):
                return False
            shape, strides = (tuple(spec[d] for d in order) for spec in (shape, strides))
        if 0 in shape:
            return True
        want = 1
        for n, s in zip(reversed(shape), reversed(strides), strict=True):
            if n != 1:
                if s != want:
                    return False
                want *= n
        return True

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return self._meta.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self._meta.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self._meta.dtype.is_signed

    def is_conj(self) -> bool:
        """Whether the tensor is a view that reads the conjugates of its memory."""
        return alias.turn_of(self) == "conj"

    def is_neg(self) -> bool:
        """Whether the tensor is a view that reads the negatives of its memory.

        So is the imaginary part of a conjugate.
        """
        return alias.turn_of(self) == "neg"

    def _is_view(self) -> bool:
        """Whether the tensor was made as a view of another, in the same history."""
        return self._base is not None and not self._base._hidden

    def is_inference(self) -> bool:
        """Whether made under inference mode: never told apart here."""
        return False

    def get_device(self) -> int:
        """The index of the device; -1 on the CPU."""
        return -1

    @property
    def is_cpu(self) -> bool:
        return not is_absent(self)

    @property
    def is_meta(self) -> bool:
        return is_absent(self)

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is page-locked for a GPU: never here."""
        return False

    def pin_memory(self, device: Any = None) -> Tensor:
        """``RuntimeError``: there is no accelerator to lock memory for."""
        raise RuntimeError("Cannot access accelerator device when none is available.")

    def is_shared(self) -> bool:
        """Whether other processes see the memory: a forked child has its own copy."""
        return False

    def share_memory_(self) -> Tensor:
        """The tensor itself: processes exchange tensors by value."""
        return self
