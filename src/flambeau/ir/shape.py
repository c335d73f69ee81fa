"""Primitives that move values without computing with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ir import reference
from flambeau.ir.graph import Aval, Var
from flambeau.ir.primitive import PRIMITIVES, primitive, unbroadcast
from flambeau.ir.scalars import fitted

P = PRIMITIVES

primitive(
    "reshape",
    "the same values in row-major order, another shape",
    rule=lambda x, *, shape: Aval(shape, x.dtype),
    reference=lambda x, *, shape: x.reshape(shape),
    gradient=lambda g, x, *, out, shape: P["reshape"](g, shape=x.shape),
)
primitive(
    "permute",
    "dimensions in another order",
    rule=lambda x, *, dims: Aval(tuple(x.shape[i] for i in dims), x.dtype),
    reference=lambda x, *, dims: x.transpose(dims),
    gradient=lambda g, x, *, out, dims: P["permute"](
        g, dims=tuple(sorted(range(len(dims)), key=dims.__getitem__))
    ),
)
primitive(
    "broadcast",
    "repeated along new dimensions and those of size 1",
    rule=lambda x, *, shape: Aval(shape, x.dtype),
    reference=lambda x, *, shape: np.broadcast_to(x, shape),
    gradient=lambda g, x, *, out, shape: unbroadcast(g, x),
)
primitive(
    "flip",
    "dimensions reversed",
    rule=lambda x, *, dims: x,
    reference=lambda x, *, dims: np.flip(x, dims),
    gradient=lambda g, x, *, out, dims: P["flip"](g, dims=dims),
)


def _slices(ndim: int, starts: tuple, dims: tuple, sizes: tuple, steps: tuple) -> tuple:
    index: list[Any] = [slice(None)] * ndim
    for start, d, n, step in zip(starts, dims, sizes, steps, strict=True):
        index[d] = slice(start, start + n * step, step) if n else slice(0, 0)
    return tuple(index)


def _slice_rule(x: Aval, *starts: Aval, dims: tuple, sizes: tuple, steps: tuple) -> Aval:
    shape = list(x.shape)
    for d, n in zip(dims, sizes, strict=True):
        shape[d] = n
    return Aval(tuple(shape), x.dtype)


def _slice(x: np.ndarray, *starts: int, dims: tuple, sizes: tuple, steps: tuple) -> np.ndarray:
    return x[_slices(x.ndim, starts, dims, sizes, steps)]


primitive(
    "slice",
    "every step-th of some positions of dimensions, from run-time starts",
    rule=_slice_rule,
    reference=_slice,
    gradient=(
        lambda g, x, *starts, out, dims, sizes, steps: P["unslice"](
            g, *starts, dims=dims, steps=steps, shape=x.shape
        ),
    ),
)


def _unslice(x: np.ndarray, *starts: int, dims: tuple, steps: tuple, shape: tuple) -> np.ndarray:
    out = np.zeros(shape, x.dtype)
    sizes = tuple(x.shape[d] for d in dims)
    out[_slices(len(shape), starts, dims, sizes, steps)] = x
    return out


primitive(
    "unslice",
    "zeros with x at the positions of a slice",
    rule=lambda x, *starts, dims, steps, shape: Aval(shape, x.dtype),
    reference=_unslice,
    gradient=(
        lambda g, x, *starts, out, dims, steps, shape: P["slice"](
            g, *starts, dims=dims, sizes=tuple(x.shape[d] for d in dims), steps=steps
        ),
    ),
)


def _concat_rule(*xs: Aval, dim: int) -> Aval:
    shape = list(xs[0].shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    return Aval(tuple(shape), xs[0].dtype)


def _concat_gradient(position: int, g: Var, *xs: Var, out: Var, dim: int) -> Var:
    start = sum(x.shape[dim] for x in xs[:position])
    size = xs[position].shape[dim]
    return P["slice"](g, start, dims=(dim,), sizes=(size,), steps=(1,))


primitive(
    "concat",
    "joined along a dimension",
    rule=_concat_rule,
    reference=lambda *xs, dim: np.concatenate(xs, axis=dim),
    variadic=_concat_gradient,
)


def _pad_rule(x: Aval, value: Aval, *, pads: tuple) -> Aval:
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.shape, pads, strict=True))
    return Aval(shape, x.dtype)


def _pad(x: np.ndarray, value: Any, *, pads: tuple) -> np.ndarray:
    """Negative widths crop."""
    crop = tuple(
        slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape, pads, strict=True)
    )
    x = x[crop]
    grow = [(max(lo, 0), max(hi, 0)) for lo, hi in pads]
    out = np.empty(tuple(n + lo + hi for n, (lo, hi) in zip(x.shape, grow, strict=True)), x.dtype)
    out[...] = value
    out[tuple(slice(lo, lo + n) for n, (lo, _) in zip(x.shape, grow, strict=True))] = x
    return out


primitive(
    "pad",
    "surrounded by a value",
    rule=_pad_rule,
    reference=_pad,
    gradient=(
        lambda g, x, value, *, out, pads: P["pad"](
            g, 0.0, pads=tuple((-lo, -hi) for lo, hi in pads)
        ),
        None,
    ),
)


def _strided(x: np.ndarray, shape: tuple, strides: tuple, offset: int) -> np.ndarray:
    """A view of contiguous ``x`` by strides and offset in elements."""
    size = x.dtype.itemsize
    flat = np.ascontiguousarray(x).reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, shape, tuple(s * size for s in strides))


def _overlaps(shape: tuple, strides: tuple) -> bool:
    """Whether two places of a strided view may be one: False only if surely not."""
    reach = 1
    for step, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if step < reach:
            return True
        reach = step * n
    return False


def _unstrided(g: np.ndarray, offset: int, *, shape: tuple, strides: tuple, base: tuple) -> Any:
    g = np.asarray(g)
    out = np.zeros(math.prod(base), g.dtype)
    if g.size and not _overlaps(shape, strides):
        _strided(out, shape, strides, offset)[...] = g
    elif g.size:
        index = _strided(np.arange(out.size), shape, strides, offset)
        out = reference.index_add(out, index.reshape(-1), g.reshape(-1), 0)
    return out.reshape(base)


primitive(
    "as_strided",
    "the view of a contiguous value by shape and strides, from a run-time offset (in elements)",
    rule=lambda x, offset, *, shape, strides: Aval(shape, x.dtype),
    reference=lambda x, offset, *, shape, strides: _strided(x, shape, strides, offset),
    gradient=(
        lambda g, x, offset, *, out, shape, strides: P["unstrided"](
            g, offset, shape=shape, strides=strides, base=x.shape
        ),
        None,
    ),
)
primitive(
    "unstrided",
    "zeros with x added at the positions of a strided view",
    rule=lambda x, offset, *, shape, strides, base: Aval(base, x.dtype),
    reference=_unstrided,
    gradient=(
        lambda g, x, offset, *, out, shape, strides, base: P["as_strided"](
            g, offset, shape=shape, strides=strides
        ),
        None,
    ),
)


def _write_strided(
    base: np.ndarray, x: np.ndarray, offset: int, *, shape: tuple, strides: tuple
) -> np.ndarray:
    out = np.array(base, order="C")
    view = _strided(out, shape, strides, offset)
    if view.size and _overlaps(shape, strides):
        # What keeps its value is not written: it may lie over what does not.
        before, after = (
            np.array(v, out.dtype, order="C") for v in (view, np.broadcast_to(x, shape))
        )
        size = out.dtype.itemsize
        bytes_of = [v.reshape(-1).view(np.uint8).reshape(-1, size) for v in (before, after)]
        changed = (bytes_of[0] != bytes_of[1]).any(1).reshape(shape)
        np.copyto(view, after, where=changed)
    else:
        view[...] = x
    return out


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a strided view has each of as many neighbouring elements once."""
    expected = 1
    for step, n in sorted((step, n) for n, step in zip(shape, strides, strict=True) if n != 1):
        if step != expected:
            return False
        expected *= n
    return True


def _around(
    g: Var, base: Var, x: Var, offset: Any, *, out: Var, shape: tuple, strides: tuple
) -> Var:
    """The gradient of what a write leaves; nothing left: zeros that depend on nothing."""
    if math.prod(shape) == math.prod(base.shape) and is_dense(shape, strides):
        return P["full"](0.0, shape=base.shape, dtype=g.dtype)
    zeros = P["full"](0.0, shape=x.shape, dtype=g.dtype)
    return P["write_strided"](g, zeros, offset, shape=shape, strides=strides)


primitive(
    "write_strided",
    "the base with a strided view of it replaced",
    rule=lambda base, x, offset, *, shape, strides: base,
    reference=_write_strided,
    gradient=(
        _around,
        lambda g, base, x, offset, *, out, shape, strides: P["as_strided"](
            g, offset, shape=shape, strides=strides
        ),
        None,
    ),
)


def _iota(*, shape: tuple, dim: int, dtype: dtypes.dtype) -> np.ndarray:
    line = np.arange(shape[dim]).astype(dtype.numpy)
    return np.broadcast_to(line.reshape([-1 if i == dim else 1 for i in range(len(shape))]), shape)


primitive(
    "iota",
    "0, 1, 2 … along a dimension",
    rule=lambda *, shape, dim, dtype: Aval(shape, dtype),
    reference=_iota,
)


def _full(value: Any, *, shape: tuple, dtype: dtypes.dtype) -> np.ndarray:
    # PyTorch fills one number of float16 another way than many, without looking.
    if shape or dtype is not dtypes.float16:
        value = fitted(value, dtype)
    return np.full(shape, value, dtype.numpy)


primitive(
    "full",
    "one value everywhere",
    rule=lambda value, *, shape, dtype: Aval(shape, dtype),
    reference=_full,
)
