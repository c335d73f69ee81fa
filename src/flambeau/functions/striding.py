"""Views by strides of their own: diagonals, windows, any."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dtypes
from flambeau.functions.dims import as_int, as_shape, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.record.storage import Parts, contiguous_strides
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor import Tensor


P = PRIMITIVES


@_remembered
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as the last dimension.

    >>> diagonal(tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    shape, strides, start = alias.spec_of(input)
    a, b = wrap_dim(dim1, len(shape)), wrap_dim(dim2, len(shape))
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if offset >= 0:
        n = max(min(shape[a], shape[b] - offset), 0)
        start += offset * strides[b] if n else 0
    else:
        n = max(min(shape[a] + offset, shape[b]), 0)
        start -= offset * strides[a] if n else 0
    kept = [i for i in range(len(shape)) if i not in (a, b)]
    new = (*[shape[i] for i in kept], n)
    steps = (*[strides[i] for i in kept], strides[a] + strides[b])
    # Recorded relative to the contiguous value of ``input``.
    plain = contiguous_strides(shape)
    first = (offset * plain[b] if offset >= 0 else -offset * plain[a]) if n else 0
    own = (*[plain[i] for i in kept], plain[a] + plain[b])
    return alias.view(
        input,
        (new, steps, start),
        P["as_strided"],
        (first,),
        shape=new,
        strides=own,
        grad="DiagonalBackward0",
    )


@_remembered
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` every ``step`` along a dimension, as a new last dimension.

    >>> unfold(arange(5), 0, 2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    shape, strides, offset = alias.spec_of(input)
    d = wrap_dim(dimension, len(shape))
    size, step = as_int(size, "size"), as_int(step, "step")
    n = shape[d] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    count = (n - size) // step + 1
    plain = contiguous_strides(shape)
    if not shape:
        new, into, own = (size,), (1,), (1,)
    else:
        new = (*shape[:d], count, *shape[d + 1 :], size)
        into = (*strides[:d], strides[d] * step, *strides[d + 1 :], strides[d])
        own = (*plain[:d], plain[d] * step, *plain[d + 1 :], plain[d])
    return alias.view(
        input,
        (new, into, offset),
        P["as_strided"],
        (0,),
        shape=new,
        strides=own,
        grad="UnfoldBackward0",
    )


def element_at(
    input: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> np.ndarray:
    """Which element of ``input`` lies at each place of a view of its memory: -1 for none."""
    own, steps, start = alias.spec_of(input)
    ends = [
        at + sum((n - 1) * s for n, s in zip(of, by, strict=True)) + 1
        for of, by, at in ((own, steps, start), (shape, strides, offset))
        if 0 not in of
    ]
    memory = np.full(max(ends, default=0), -1, np.int64)
    tile = np.lib.stride_tricks.as_strided
    size = memory.itemsize
    if input.numel():
        there = tile(memory[start:], own, [s * size for s in steps])
        there[...] = np.arange(input.numel()).reshape(own)
    if 0 in shape:
        return np.zeros(shape, np.int64)
    return tile(memory[offset:], shape, [s * size for s in strides]).copy()


def check_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, room: int, itemsize: int
) -> None:
    """``RuntimeError`` unless a view by strides stays within ``room`` elements."""
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"as_strided: negative dimension in {list(shape)}")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(strides)}"
        )
    reach = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if 0 not in shape and (reach > room or offset < 0):
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, "
            f"and itemsize {itemsize} requiring a storage size of {reach * itemsize} are out of "
            f"bounds for storage of size {room * itemsize}"
        )


_TURNED = "AsStridedBackward0"


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the storage by shape, strides and offset in elements.

    Raises ``RuntimeError`` for negative ones, and for a view that leaves the storage.

    >>> as_strided(arange(4), (2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
    turn = alias.turn_of(input)
    if turn is not None and open_.trace.builder is None:
        # Of what lies there; read as ``input`` is.
        plain = as_strided(alias.turn(input, turn, _TURNED), size, stride, storage_offset)
        return alias.turn(plain, turn, _TURNED)
    shape, strides = as_shape(tuple(size)), as_shape(tuple(stride))
    offset = alias.spec_of(input)[2]
    if storage_offset is not None:
        offset = as_int(storage_offset, "storage_offset")
    origin = alias.root(input)
    room = math.prod(input._storage.shape if input._storage is not None else input.shape)
    if input._spec.__class__ is Parts and input._spec.dtype is not None:
        room = room * origin.itemsize // input.itemsize
        base = alias.bits(origin._value(), ((room,), (1,), 0), input.dtype)
        check_strides(shape, strides, offset, room, input.itemsize)
        return alias.bits(base, (shape, strides, offset), input.dtype)
    if origin.dtype is not input.dtype:
        from flambeau.functions.complex import view_as_real

        # Of the real numbers that complex memory is made of.
        origin = input = view_as_real(origin)
        room *= 2
    check_strides(shape, strides, offset, room, input.itemsize)
    base = origin if origin._spec is None else input
    made = alias.view(
        base,
        (shape, strides, offset),
        P["as_strided"],
        (offset,),
        shape=shape,
        strides=strides,
        grad="AsStridedBackward0",
    )
    if input.requires_grad and not made.requires_grad and open_.state.grad:
        return _gathered(input, made, offset)
    return made


def _gathered(input: Tensor, made: Tensor, offset: int) -> Tensor:
    """``as_strided`` of a leaf whose elements do not lie one after another.

    Its history is its own, not its memory's, and nothing can be written through it.
    """
    from flambeau.functions.gathering import take
    from flambeau.functions.masking import where
    from flambeau.tensor import concrete

    at = element_at(input, tuple(made.shape), made.stride(), offset)
    own = concrete(at >= 0, dtypes.bool_)
    return where(own, take(input, concrete(at.clip(0), dtypes.int64)), made)


SAMPLES = {
    "as_strided": "x, (2, 3), (4, 1); x, (3,), (5,), 1; i, (2, 2, 2), (1, 1, 1); x, (), ();"
    "v, (3, 2), (1, 1); x, (2, 0), (1, 1); !x, (2, 3), (4,); !x, (2,), (-1,); !x, (9, 9), (9, 1);"
    "!x, (2,), (1,), -1",
    "as_strided_": "torch.arange(12.0), (2, 3), (4, 1); i, (3,), (5,), 1; !i, (9, 9), (9, 1)",
    "diagonal": "x; x, 1; m, -1; cube, -1, 0, 2; cube, 0, -2, -1; x, 9; i; !v; !x, 0, 1, 1;"
    "!x, 0, 0, 2",
    "Tensor.unfold": "x, 1, 2, 1; v, 0, 3, 1; x, -1, 2, 2; x, 0, 3, 5; i, 1, 4, 1; s, 0, 1, 1;"
    "!x, 1, 5, 1; !x, 1, 2, 0; !x, 2, 1, 1; !x, 1, -1, 1",
}
