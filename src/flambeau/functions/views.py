"""Functions whose results share memory with their input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.functions.dims import as_int, as_shape, infer_shape, sizes_given, wrap_dim
from flambeau.functions.geometry import _remembered
from flambeau.functions.inplace import title
from flambeau.functions.promotion import cast
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.record.macro import ops
from flambeau.record.storage import Parts, contiguous_strides
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _recorded(input: Tensor) -> bool:
    """Whether a body is running: views are plain values there."""
    from flambeau.record.trace import open_

    return open_.trace.builder is not None


@_remembered
def view(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The same elements in another shape, or (given a dtype) the same bits as another dtype.

    Shares memory. Raises ``RuntimeError`` if the strides do not allow it.

    >>> view(arange(6), 2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    from flambeau.dtypes import dtype

    if not shape and named.keys() == {"dtype"}:
        shape = (named["dtype"],)
    if len(shape) == 1 and isinstance(shape[0], dtype):
        return view_dtype(input, shape[0])
    new = infer_shape(sizes_given("view", "size", shape, named), input.numel())
    old, strides, offset = alias.spec_of(input)
    fitting = _view_strides(old, strides, new)
    if fitting is None:
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
def permute(input: Tensor, *dims: Any, **kwargs: Any) -> Tensor:
    """The dimensions in another order.

    >>> permute(zeros(2, 3), (1, 0)).shape
    torch.Size([3, 2])
    """
    order = sizes_given("permute", "dims", dims, kwargs)
    if len(order) != input.dim():
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.dim()} is "
            f"not equal to len(dims) = {len(order)}"
        )
    order = tuple(wrap_dim(d, input.dim()) for d in order)
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    shape, strides, offset = alias.spec_of(input)
    spec = (tuple(shape[d] for d in order), tuple(strides[d] for d in order), offset)
    return alias.view(input, spec, P["permute"], dims=order, grad="PermuteBackward0")


@_remembered
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    >>> transpose(zeros(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    n = input.dim()
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = b, a
    return permute(input, order)


@_remembered
def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and scalars as they are. ``RuntimeError`` past 2 dimensions.

    >>> t(zeros(2, 3)).shape
    torch.Size([3, 2])
    """
    if input.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.dim()}D")
    return permute(input, list(reversed(range(input.dim()))))


@_remembered
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places, the others kept in order.

    >>> movedim(zeros(2, 3, 4), 0, -1).shape
    torch.Size([3, 4, 2])
    """
    n = input.dim()
    one = isinstance(source, int)
    src = [wrap_dim(d, n) for d in ([source] if one else source)]
    dst = [wrap_dim(d, n) for d in ([destination] if one else destination)]
    if len(src) != len(dst):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source (" + f"{src} dims) should "
            f"contain the same number of dims as destination ({dst} dims)"
        )
    for name, dims in (("source", src), ("destination", dst)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    rest = iter(d for d in range(n) if d not in src)
    place = dict(zip(dst, src, strict=True))
    return permute(input, [place[i] if i in place else next(rest) for i in range(n)])


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
            f"expand({input.dtype}{{{list(shape)}}}, size={new}): the number of sizes provided "
            f"({len(new)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(shape)})"
        )
    steps = [0] * extra
    for i, n in enumerate(new):
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
        steps.append(strides[i - extra] if n == old else 0)
    final = tuple(new)
    return alias.view(
        input, (final, tuple(steps), offset), P["broadcast"], shape=final, grad="ExpandBackward0"
    )


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.expand(other.shape)``."""
    return expand(input, tuple(other.shape))


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``input.expand(size)``."""
    return expand(input, tuple(size))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.view(other.shape)``."""
    return view(input, tuple(other.shape))


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.reshape(other.shape)``."""
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
        gone = {d for d in (wrap_dim(d, len(shape)) for d in dims) if shape and shape[d] == 1}
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


def sliced(
    input: Tensor,
    dims: tuple[int, ...],
    starts: tuple,
    sizes: tuple,
    steps: tuple,
    grad: str = "SliceBackward0",
) -> Tensor:
    """Every step-th of ``sizes`` positions from ``starts``: a run-time number, not a path."""
    shape, strides, offset = alias.spec_of(input)
    new, into = list(shape), list(strides)
    for d, start, n, step in zip(dims, starts, sizes, steps, strict=True):
        offset += start * strides[d]
        new[d], into[d] = n, strides[d] * step
    spec = (tuple(new), tuple(into), offset)
    return alias.view(
        input, spec, P["slice"], starts, dims=dims, sizes=sizes, steps=steps, grad=grad
    )


@_remembered
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions of a dimension from ``start``.

    >>> narrow(arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    if input.dim() == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    if isinstance(start, Tensor) and (start.dim() or start.dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start, length = as_int(start, "start"), as_int(length, "length")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return sliced(input, (d,), (start,), (length,), (1,))


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One position of a dimension, which goes away.

    >>> select(tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([3, 4])
    """
    if input.dim() == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.dim())
    n = input._meta.shape[d]
    index = as_int(index, "index")
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at "
            f"dimension {d}"
        )
    return _selected(input, d, index % n, "SelectBackward0")


def _selected(input: Tensor, d: int, index: int, grad: str) -> Tensor:
    return _without(sliced(input, (d,), (index,), (1,), (1,)), {d}, grad)


@_remembered
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of one size (the last may be shorter), or of the sizes given.

    >>> split(arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    if tensor.dim() == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, tensor.dim())
    n = tensor._meta.shape[d]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [as_int(s, "split_sizes") for s in split_size_or_sections]
        grad = "SplitWithSizesBackward0"
        if sum(sizes) != n or any(s < 0 for s in sizes):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size "
                f"at dimension {d}), but got split_sizes={sizes}"
            )
    else:
        size, grad = as_int(split_size_or_sections, "split_size"), "SplitBackward0"
        if size < 0:
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        if size == 0:
            if n:
                raise RuntimeError(
                    "split_size can only be 0 if dimension size is 0, "
                    f"but got dimension size of {n}"
                )
            sizes = [0]
        else:
            sizes = [min(size, n - i) for i in range(0, n, size)] or [0]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        sliced(tensor, (d,), (s,), (k,), (1,), grad) for s, k in zip(starts, sizes, strict=True)
    )


@_remembered
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of equal size (the last may be shorter).

    >>> len(chunk(arange(5), 3))
    3
    """
    if input.dim() == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = as_int(chunks, "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._meta.shape[wrap_dim(dim, input.dim())]
    size = -(-n // chunks)
    if size == 0:
        return split(input, [0] * chunks, dim)
    return split(input, size, dim)


@_remembered
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All positions of a dimension as separate tensors.

    >>> unbind(tensor([1, 2]))
    (tensor(1), tensor(2))
    """
    d = wrap_dim(dim, input.dim())
    if input.dim() == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return tuple(_selected(input, d, i, "UnbindBackward0") for i in range(input._meta.shape[d]))


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


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the storage by shape, strides and offset in elements.

    Raises ``RuntimeError`` for negative ones, and for a view that leaves the storage.

    >>> as_strided(arange(4), (2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
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
    return alias.view(
        base,
        (shape, strides, offset),
        P["as_strided"],
        (offset,),
        shape=shape,
        strides=strides,
        grad="AsStridedBackward0",
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


@_remembered
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """``transpose``."""
    return transpose(input, axis0, axis1)


@_remembered
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """``transpose``."""
    return transpose(input, dim0, dim1)


moveaxis = movedim


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged and conjugated."""
    if input.dim() < 2:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got "
            f"{input.dim()}-D tensor."
        )
    swapped = transpose(input, -2, -1)
    if not input.is_complex():
        return swapped
    result = ops.conj(swapped)
    if open_.trace.builder is None:
        result._conjugated = not input._conjugated
    return result
