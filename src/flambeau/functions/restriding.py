"""In-place changes of shape: the tensor itself becomes another view of its memory."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.functions import striding, transposing, views
from flambeau.functions.dims import as_shape
from flambeau.record import alias
from flambeau.record.absent import absent, is_absent
from flambeau.record.builder import check_writable
from flambeau.record.flush import settled
from flambeau.record.meta import meta
from flambeau.record.storage import Storage, contiguous_strides
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE = ("_trace", "_slot", "_meta", "_storage", "_spec", "_base", "_btrace", "_seen", "_hist")


def _move(source: Tensor, target: Tensor) -> None:
    """Gives ``target`` the value, history and memory of ``source``."""
    for name in _STATE:
        setattr(target, name, getattr(source, name))


def become(t: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """Turns a tensor into the view of it that ``make`` gives, history included."""
    if open_.trace.builder is not None:
        raise RuntimeError("an in-place change of shape cannot be part of a recorded function")
    check_writable(t)
    settled(t)
    m = t._meta
    if m.requires_grad and m.leaf:
        # Without gradients: the leaf stays one, in memory laid out anew.
        array = make(t.detach())._value()._array()
        t._storage = Storage(np.array(array, order="C"))
        t._spec = t._base = t._trace = t._btrace = None
        t._seen = -1
        t._meta = meta(array.shape, m.dtype, True, True)
        return t
    # What the tensor was goes on as the base of the view that it becomes.
    old = Tensor.__new__(Tensor)
    _move(t, old)
    old._hidden = old._base is None
    new = make(old)
    if new._storage is None:
        new._value()
    _move(new, t)
    if t._base is None and t._spec is not None:
        t._base = old
    live = open_.trace.live
    for i in range(len(live) - 1, -1, -1):
        if live[i] is new:
            live[i] = t
    return t


def _becoming(f: Callable) -> Callable:
    name = f.__name__ + "_"

    @functools.wraps(f)
    def change(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return become(input, lambda t: f(t, *args, **kwargs))

    change.__name__ = change.__qualname__ = name
    change.__module__ = __name__
    change.__doc__ = f"In-place ``{f.__name__}``: the tensor itself changes its shape."
    return change


squeeze_ = _becoming(views.squeeze)
unsqueeze_ = _becoming(views.unsqueeze)
t_ = _becoming(transposing.t)
transpose_ = _becoming(transposing.transpose)
swapaxes_ = _becoming(transposing.swapaxes)
swapdims_ = _becoming(transposing.swapdims)
as_strided_ = _becoming(striding.as_strided)


def resize_(input: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives the tensor another shape; its memory is kept in order as far as it goes.

    Raises ``RuntimeError`` for a tensor that requires grad.

    >>> resize_(arange(4), 3)
    tensor([0, 1, 2])
    """
    shape = as_shape(sizes)
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    if shape == input._meta.shape:
        return input
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    resize(input, shape)
    return input


def resize(t: Tensor, shape: tuple[int, ...]) -> None:
    """``resize_``, whatever the tensor; memory that is too small is replaced, not made larger."""
    settled(t)
    m, storage, offset = t._meta, t._storage, alias.spec_of(t)[2]
    count = math.prod(shape)
    if is_absent(t):
        _move(absent(meta(shape, m.dtype)), t)
    elif offset + count <= storage.memory.size and (storage.shared or t._spec is not None):
        spec = (shape, contiguous_strides(shape), offset)
        if alias.turn_of(t) is not None:
            spec = t._spec.like(spec)  # type: ignore[union-attr]
        base = alias.root(t)
        if base is t:
            # What it was goes on as the base of what it becomes: never a base of itself.
            base = Tensor.__new__(Tensor)
            _move(t, base)
        _move(alias.alias_of(base, spec, meta(shape, m.dtype)), t)
    else:
        _replace(t, count, shape)
    t._meta = meta(shape, m.dtype, m.requires_grad, m.leaf)


def _replace(t: Tensor, count: int, shape: tuple[int, ...]) -> None:
    """Memory of its own for a tensor, with its elements in order as far as they go."""
    array = t._array().reshape(-1)
    storage = t._storage
    if storage.foreign and count > storage.memory.size:  # type: ignore[union-attr]
        raise RuntimeError("Trying to resize storage that is not resizable")
    flat = np.zeros(count, array.dtype)
    flat[: min(count, array.size)] = array[:count]
    t._storage = Storage(flat.reshape(shape))
    t._spec = t._base = t._trace = t._btrace = None
    t._seen = -1


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """``resize_`` to the shape of another tensor."""
    return resize_(input, tuple(the_template.shape))


def set_(
    input: Tensor,
    source: Tensor | None = None,
    storage_offset: int = 0,
    size: Any = None,
    stride: Any = None,
) -> Tensor:
    """Makes the tensor share the memory, shape and strides of ``source``; empty without one.

    With ``size`` (and ``stride``) it is that view of the source's memory.

    >>> a = zeros(2)
    >>> _ = a.set_(tensor([1.0, 2.0, 3.0]))
    >>> a
    tensor([1., 2., 3.])
    """
    check_writable(input)
    if source is None:
        settled(input)
        _replace(input, 0, (0,))
        m = input._meta
        input._meta = meta((0,), m.dtype, m.requires_grad, m.leaf)
        return input
    if not isinstance(source, Tensor):
        raise TypeError(
            f"set_(): argument 'source' (position 1) must be Tensor, not {type(source).__name__}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {source.dtype} to a tensor of type {input.dtype}"
        )
    settled(input)
    view = source.detach()
    if size is not None:
        size = as_shape((size,))
        stride = contiguous_strides(size) if stride is None else tuple(stride)
        view = striding.as_strided(view, size, stride, storage_offset)
    m = input._meta
    view._value()
    _move(view, input)
    if m.requires_grad:
        input._meta = meta(view._meta.shape, m.dtype, True, m.leaf)
    return input


SAMPLES = {
    "resize_as_": "torch.zeros(2), torch.zeros(2, 0); torch.arange(4.0), torch.ones(2, 2);"
    "i, labels; !torch.zeros(2), 3",
    "Tensor.resize_": "torch.arange(6.0), 2, 3; torch.arange(6), (2,); torch.zeros(3), 0;"
    "torch.arange(4), (2, 2); !torch.zeros(2), -1; !torch.zeros(2), 1.5",
    "Tensor.set_": "torch.zeros(2), i.float(); torch.zeros(3), torch.ones(2, 2); torch.zeros(2);"
    "torch.zeros(0), torch.arange(6.0), 1, (2, 2), (1, 2); !torch.zeros(2), i; !torch.zeros(2), 3",
}
