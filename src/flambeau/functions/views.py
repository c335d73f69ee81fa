"""Views of all of a tensor's elements: in another shape, as another dtype, without history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.functions.checks import _need_tensor
from flambeau.functions.dims import infer_shape, sizes_given, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.functions.inplace import title
from flambeau.functions.promotion import cast
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.record.macro import ops
from flambeau.record.storage import contiguous_strides
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor import Tensor


P = PRIMITIVES


def _view_strides(
    shape: Sequence[int], strides: Sequence[int], new: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides of ``new`` over the same elements in the same order; None if there are none."""
    if 0 in new:
        return contiguous_strides(tuple(new))
    chunks: list[tuple[int, int]] = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if chunks and chunks[-1][1] == n * s:
            chunks[-1] = (chunks[-1][0] * n, s)
        else:
            chunks.append((n, s))
    found: list[int] = []
    i, (size, step) = len(chunks) - 1, chunks[-1] if chunks else (1, 1)
    filled = 1
    for n in reversed(new):
        if n == 1:
            found.append(filled * step if found else step)
            continue
        if filled == size:
            i -= 1
            if i < 0:
                return None
            (size, step), filled = chunks[i], 1
        if size % (filled * n):
            return None
        found.append(step * filled)
        filled *= n
    if i > 0 or filled != size:
        return None
    return tuple(reversed(found))


@_remembered
def view(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The same elements in another shape, or (given a dtype) the same bits as another dtype.

    Shares memory. Raises ``RuntimeError`` if the strides do not allow it.

    >>> view(arange(6), 2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    from flambeau.dtypes import dtype, of_type

    if not shape and named.keys() == {"dtype"}:
        shape = (named["dtype"],)
    if len(shape) == 1 and isinstance(of_type(shape[0]), dtype):
        return view_dtype(input, of_type(shape[0]))
    new = infer_shape(sizes_given("view", "size", shape, named), input.numel())
    old, strides, offset = alias.spec_of(input)
    fitting = _view_strides(old, strides, new)
    if fitting is None or (
        input._meta.order is not None and _view_strides(old, input.stride(), new) is None
    ):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return alias.view(input, (new, fitting, offset), P["reshape"], shape=new, grad="ViewBackward0")


def view_dtype(input: Tensor, dtype: Any) -> Tensor:
    """The same bits read as another dtype: a view without history.

    Elements of another size go along the last dimension. Raises ``RuntimeError`` unless they fit
    the last size, the strides and the offset.

    >>> view_dtype(tensor([1.0]), int32)
    tensor([1065353216], dtype=torch.int32)
    """
    if dtype is input.dtype:
        return alias.view(input, alias.spec_of(input), P["reshape"], shape=tuple(input.shape))
    if alias.turn_of(input) is not None and open_.trace.builder is None:
        what = "conjugate view tensors" if input.is_conj() else "tensors with negative bit set"
        raise RuntimeError(
            f"torch.Tensor.view is not supported for {what} when converting to a different dtype."
        )
    spec = _counted(input, dtype)
    if open_.trace.builder is not None:
        return ops.bits(input, dtype=dtype, shape=spec[0])
    return alias.bits(input._value(), spec, dtype)


def _counted(input: Tensor, dtype: Any) -> tuple:
    """Shape, strides and offset of a tensor in elements of another dtype."""
    shape, strides, offset = alias.spec_of(input)
    old, new = input.itemsize, dtype.itemsize
    if old == new:
        return shape, strides, offset
    what = f"to view {title(input.dtype)} as {title(dtype)} (different element sizes)"
    if not shape:
        raise RuntimeError(f"self.dim() cannot be 0 {what}")
    if strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {strides[-1]}")
    if new < old:
        n = old // new
        steps = (*[s * n for s in strides[:-1]], 1)
        return (*shape[:-1], shape[-1] * n), steps, offset * n
    n = new // old
    for name, value in (
        ("size(-1)", shape[-1]),
        ("storage_offset()", offset),
        *[(f"stride({d})", s) for d, s in enumerate(strides[:-1])],
    ):
        if value % n:
            raise RuntimeError(f"self.{name} must be divisible by {n} {what}, but got {value}")
    return (*shape[:-1], shape[-1] // n), (*[s // n for s in strides[:-1]], 1), offset // n


@_remembered
def reshape(input: Tensor, *shape: Any, **kwargs: Any) -> Tensor:
    """The same elements in another shape: a view where possible, else a copy.

    >>> reshape(arange(4), (2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    new = infer_shape(sizes_given("reshape", "shape", shape, kwargs), input.numel())
    old, strides, offset = alias.spec_of(input)
    fitting = _view_strides(old, strides, new)
    if fitting is None:
        return ops.reshape(input, shape=new)
    return alias.view(input, (new, fitting, offset), P["reshape"], shape=new, grad="ViewBackward0")


@_remembered
def expand(input: Tensor, *sizes: Any, implicit: bool = False) -> Tensor:
    """Dimensions of size 1 (and new leading ones) repeated without copying; -1 keeps a size.

    >>> expand(tensor([[1], [2]]), 2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    new = list(sizes_given("expand", "size", sizes, {}))
    shape, strides, offset = alias.spec_of(input)
    extra = len(new) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand({input.type()}{{{list(shape)}}}, size={new}): the number of sizes provided "
            f"({len(new)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(shape)})"
        )
    steps = [0] * len(new)
    for i in range(len(new) - 1, -1, -1):
        n = new[i]
        if i < extra:
            if n < 0:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, "
                    f"non-existing dimension {i}"
                )
            continue
        old = shape[i - extra]
        if n == -1:
            new[i] = n = old
        if n != old and old != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                f"non-singleton dimension {i}.  Target sizes: {new}.  Tensor sizes: {list(shape)}"
            )
        steps[i] = strides[i - extra] if n == old else 0
    final = tuple(new)
    return alias.view(
        input, (final, tuple(steps), offset), P["broadcast"], shape=final, grad="ExpandBackward0"
    )


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.expand(other.shape)``."""
    _need_tensor("expand_as", other, "other")
    return expand(input, tuple(other.shape))


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``input.expand(size)``."""
    return expand(input, tuple(size))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.view(other.shape)``."""
    _need_tensor("view_as", other, "other")
    return view(input, tuple(other.shape))


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.reshape(other.shape)``."""
    _need_tensor("reshape_as", other, "other")
    return reshape(input, tuple(other.shape))


@_remembered
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Dimensions of size 1 taken away: all, or those named.

    >>> squeeze(zeros(1, 2, 1)).shape
    torch.Size([2])
    """
    shape = input._meta.shape
    if dim is None:
        gone = {i for i, n in enumerate(shape) if n == 1}
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        wrapped = [wrap_dim(d, len(shape)) for d in dims]
        for d in wrapped:
            if wrapped.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        gone = {d for d in wrapped if shape and shape[d] == 1}
    return _without(input, gone, "SqueezeBackward0")


def _without(input: Tensor, gone: set[int], grad: str) -> Tensor:
    """A view that drops dimensions of size 1; ``grad`` names its ``grad_fn``."""
    shape, strides, offset = alias.spec_of(input)
    kept = [i for i in range(len(shape)) if i not in gone]
    new = tuple(shape[i] for i in kept)
    spec = (new, tuple(strides[i] for i in kept), offset)
    return alias.view(input, spec, P["reshape"], shape=new, grad=grad)


@_remembered
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size 1 before ``dim``.

    >>> unsqueeze(zeros(2), 1).shape
    torch.Size([2, 1])
    """
    shape, strides, offset = alias.spec_of(input)
    d = wrap_dim(dim, len(shape) + 1)
    step = strides[d] * shape[d] if d < len(shape) else 1
    new = (*shape[:d], 1, *shape[d:])
    spec = (new, (*strides[:d], step, *strides[d:]), offset)
    return alias.view(input, spec, P["reshape"], shape=new, grad="UnsqueezeBackward0")


@_remembered
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` made one.

    >>> flatten(zeros(2, 3, 4), 1).shape
    torch.Size([2, 12])
    """
    n = input.dim()
    a, b = wrap_dim(start_dim, n), wrap_dim(end_dim, n)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = tuple(input.shape)
    if n == 0:
        return reshape(input, (1,))
    if a == b:
        return input
    return reshape(input, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


@_remembered
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension made several.

    >>> unflatten(zeros(2, 12), 1, (3, 4)).shape
    torch.Size([2, 3, 4])
    """
    d = wrap_dim(dim, input.dim())
    shape = tuple(input.shape)
    sizes = tuple(int(s) for s in sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if -1 in sizes or math.prod(sizes) == shape[d]:
        try:
            sizes = infer_shape(sizes, shape[d])
        except RuntimeError as e:
            raise RuntimeError(
                f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim "
                f"{d} ({shape[d]}) in the input tensor"
            ) from e
        return view(input, (*shape[:d], *sizes, *shape[d + 1 :]))
    raise RuntimeError(
        f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} "
        f"({shape[d]}) in the input tensor"
    )


def detach(input: Tensor) -> Tensor:
    """The same memory, without history.

    >>> detach(ones(1, requires_grad=True)).requires_grad
    False
    """
    return alias.detached(input)


def detach_(input: Tensor) -> Tensor:
    """Forgets the history of a tensor."""
    return input.detach_()


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed to a shape that broadcasts to its own.

    >>> sum_to_size(ones(2, 3), 1, 3)
    tensor([[2., 2., 2.]])
    """
    shape, own = sizes_given("sum_to_size", "size", size, {}), tuple(input.shape)
    extra = len(own) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, own[extra:], strict=True)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(own)}.")
    dims = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and own[i + extra] != 1
    )
    total = input
    if dims or not shape:
        if input.dtype.category < 2:
            total = cast(input, dtypes.int64)
        total = ops.sum(total, dims=dims, keepdim=False)
    return reshape(total, shape)


SAMPLES = {
    "broadcast_to": "row, (3, 4); u[:, None], (-1, 4); s, (2, 2); v, (3, 4); x, x.shape;"
    "i, (2, 3, 4); !x, (3, 5); !x, (4,); !v, (-1, 4)",
    "Tensor.expand": "row, 3, 4; u[:, None], -1, 4; s, (2, 2); v, (3, 4); i, 2, -1, -1; row, 0, 4;"
    "!x, 3, 5; !x, 4; !v, -1, 4",
    "Tensor.expand_as": "row, x; s, v; u[:, None], x; !x, v; !x, 3",
    "detach": "x; i; s; c; x.t(); !2",
    "detach_": "torch.ones(2); i",
    "flatten": "x; cube, 1; cube, 0, 1; s; image, 1, -2; i; empty; v, 0, 0; !x, 1, 0; !x, 2;"
    "!x, 0, 2",
    "reshape": "x, (4, 3); x, (-1,); x, (2, -1, 2); s, (1, 1); i, (12,); empty, (0, 2);"
    "x.t(), (12,); x, [3, 4]; !x, (5, 5); !x, (-1, -1); !x, (-1, 5); !x, (-2, 6)",
    "Tensor.reshape_as": "x, tall.new_zeros(4, 3); v, m[:2, :2]; !x, v; !x, 3",
    "squeeze": "row; row, 0; column, -1; x, 0; x[None, :, None], (0, 2); s; s, 0; x[None], (0, 1);"
    "i[:1]; !x, 2; !x, (0, 0)",
    "Tensor.squeeze_": "torch.zeros(1, 2); i[:1], 0; !i, 2",
    "Tensor.sum_to_size": "x, 1, 4; x, (3, 1); cube, 4; i, 1, 4; x, x.shape; x, 1; !x, 2, 4;"
    "!v, 3, 4; !x, 3, 5",
    "unflatten": "x, 1, (2, 2); x, -1, (-1, 2); v, 0, (4,); cube, 2, (2, 1, 2); i, 0, (3, 1);"
    "!x, 1, (3, 2); !x, 2, (2,); !x, 1, (-1, -1); !x, 1, ()",
    "unsqueeze": "x, 0; x, -1; s, 0; x, 2; i, 1; empty, 0; !x, 3; !x, -4",
    "Tensor.unsqueeze_": "torch.zeros(2), 0; i, -1; !i, 3",
    "Tensor.view": "x, 4, 3; x, -1; x, (2, -1, 2); i, 12; s, 1; empty, 0, 2; x, torch.int32;"
    "x.double(), torch.float32; (i * 2), torch.int32; x, torch.uint8; !x, 5, 5; !x, -1, -1;"
    "!x.t(), 12; !s, torch.float64; !x",
    "Tensor.view_as": "x, tall.new_zeros(4, 3); i, k; !x, v; !x.t(), x.new_zeros(12); !x, 3",
}
