"""The standard's functions that rearrange and pick elements, where PyTorch's arguments differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.array_api.data_types import result_type
from flambeau.array_api.statistics import axes_of

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "take",
    "take_along_axis",
    "unstack",
]

Axis = int | tuple[int, ...]


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """All expanded to their common shape.

    >>> [x.shape for x in torch.array_api.broadcast_arrays(torch.ones(2, 1), torch.ones(3))]
    [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    shape = flambeau.broadcast_shapes(*(x.shape for x in arrays))
    return tuple(x.expand(shape) for x in arrays)


def broadcast_to(x: Tensor, /, shape: tuple[int, ...], **options: Any) -> Tensor:
    """Expanded to a shape.

    >>> torch.array_api.broadcast_to(torch.ones(1), (2,))
    tensor([1., 1.])
    """
    return flambeau.broadcast_to(x, shape, **options)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0, **options: Any) -> Tensor:
    """Joined along an axis, converted to their common dtype; None: flattened first.

    >>> torch.array_api.concat([torch.ones(1, 1), torch.zeros(1, 1)], axis=None)
    tensor([1., 0.])
    """
    tensors = list(arrays)
    if axis is None:
        tensors, axis = [x.reshape(-1) for x in tensors], 0
    return flambeau.cat(tensors, axis, **options)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0, **options: Any) -> Tensor:
    """Joined along a new axis, converted to their common dtype.

    >>> torch.array_api.stack([torch.tensor(1), torch.tensor(2)])
    tensor([1, 2])
    """
    dtype = result_type(*arrays)
    return flambeau.stack([x.to(dtype) for x in arrays], axis, **options)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis.

    Raises: ``ValueError`` for a tensor without dimensions.

    >>> torch.array_api.unstack(torch.tensor([[1, 2], [3, 4]]), axis=1)
    (tensor([1, 3]), tensor([2, 4]))
    """
    if x.dim() == 0:
        raise ValueError("Input array must be at least 1-d.")
    return tuple(flambeau.unbind(x, axis))


def expand_dims(x: Tensor, /, axis: Axis) -> Tensor:
    """With new dimensions of size 1, at these places of the result.

    Raises: ``IndexError`` for one place out of range, ``ValueError`` for one of several.

    >>> torch.array_api.expand_dims(torch.ones(2), axis=(0, -1)).shape
    torch.Size([1, 2, 1])
    """
    if isinstance(axis, int):
        return x.unsqueeze(axis)
    ndim = x.dim() + len(axis)
    try:
        places = axes_of(axis, ndim)
    except IndexError as error:
        raise ValueError(f"axis={axis} not allowed for an array of shape {x.shape}") from error
    for place in places:
        x = x.unsqueeze(place)
    return x


def squeeze(x: Tensor, /, axis: Axis) -> Tensor:
    """Without these dimensions.

    Raises: ``ValueError`` if the size of one is not 1.

    >>> torch.array_api.squeeze(torch.ones(1, 2), 0).shape
    torch.Size([2])
    """
    axes = axes_of(axis, x.dim())
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError("squeezed dimensions must be equal to 1")
    for a in reversed(axes):
        x = x.squeeze(a)
    return x


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """The dimensions in another order.

    >>> torch.array_api.permute_dims(torch.ones(2, 3), (1, 0)).shape
    torch.Size([3, 2])
    """
    return flambeau.permute(x, tuple(axes))


def flip(x: Tensor, /, *, axis: Axis | None = None, **options: Any) -> Tensor:
    """In reverse order along axes; None: along all.

    >>> torch.array_api.flip(torch.tensor([1, 2, 3]))
    tensor([3, 2, 1])
    """
    return flambeau.flip(x, axes_of(axis, x.dim()), **options)


def roll(x: Tensor, /, shift: Axis, *, axis: Axis | None = None, **options: Any) -> Tensor:
    """Moved round along axes; None: the flattened elements.

    >>> torch.array_api.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    return flambeau.roll(x, shift, axis, **options)


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element (slice) as often as ``repeats`` says; None: of the flattened ones.

    >>> torch.array_api.repeat(torch.tensor([1, 2]), torch.tensor([2, 1]))
    tensor([1, 1, 2])
    """
    if isinstance(repeats, Tensor):
        repeats = repeats.to(flambeau.int64)
    return flambeau.repeat_interleave(x, repeats, axis)


def reshape(
    x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None, **options: Any
) -> Tensor:
    """The elements in another shape; ``copy=False``: of the same memory.

    Raises: ``ValueError`` if that takes a copy and may not.

    >>> torch.array_api.reshape(torch.ones(2, 2), (4,))
    tensor([1., 1., 1., 1.])
    """
    if copy is False:
        try:
            return x.view(shape, **options)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    result = flambeau.reshape(x, shape, **options)
    return result.clone() if copy else result


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None, **options: Any) -> Tensor:
    """The slices at these places along an axis; negative ones count from the end.

    Raises: ``ValueError`` without ``axis`` for more than one dimension.

    >>> torch.array_api.take(torch.tensor([5, 6, 7]), torch.tensor([-1, 0]))
    tensor([7, 5])
    """
    if axis is None:
        if x.dim() != 1:
            raise ValueError("axis must be specified when ndim > 1")
        axis = 0
    return flambeau.index_select(x, axis, _counted(indices, x.shape[axis]), **options)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Of each row along an axis the elements at its places; negative ones count from the end.

    >>> torch.array_api.take_along_axis(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[-1], [0]]))
    tensor([[2],
            [3]])
    """
    return flambeau.take_along_dim(x, _counted(indices, x.shape[axis]), dim=axis)


def _counted(indices: Tensor, size: int) -> Tensor:
    return flambeau.where(indices < 0, indices + size, indices)
