"""``x[...]`` and ``x[...] = y``: basic indices make views, tensors and lists gather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions import slicing
from flambeau.functions.geometry import _is_data, _Remembered, _row, _rows
from flambeau.functions.inplace import assign, title
from flambeau.functions.places import flat_places
from flambeau.functions.promotion import cast
from flambeau.ir.indexing import result_shape
from flambeau.ir.primitive import broadcast_shapes
from flambeau.ir.scalars import fitted
from flambeau.record import alias
from flambeau.record.absent import is_absent
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor, concrete


def _too_many(x: Tensor) -> IndexError:
    if not x.dim():
        return IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim "
            "tensor to a number"
        )
    return IndexError(f"too many indices for tensor of dimension {x.dim()}")


def _is_basic(i: Any) -> bool:
    return (
        i is None
        or i is Ellipsis
        or isinstance(i, slice)
        or (isinstance(i, (int, np.integer)) and not isinstance(i, (bool, np.bool_)))
    )


def _index_tensor(i: Any) -> Tensor:
    """An advanced index as a tensor."""
    if isinstance(i, Tensor):
        if i.dtype.category >= 2 or (i.dtype.name.startswith("uint") and i.dtype.name != "uint8"):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return i
    array = np.asarray(i)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return concrete(
        np.array(array if array.dtype.kind == "b" else array.astype(np.int64)),
        dtypes.bool_ if array.dtype.kind == "b" else dtypes.int64,
    )


def _normal(x: Tensor, index: Any, *, scalars: bool = True) -> list[Any]:
    """The index as a list: ints, slices, None, and tensors; one entry or more a dimension."""
    items = list(index) if isinstance(index, tuple) else [index]
    found: list[Any] = []
    for i in items:
        if scalars and isinstance(i, Tensor) and i.dim() == 0 and i.dtype.category == 1:
            # A 0-dim integer tensor selects, as a Python integer does.
            found.append(int(i.item()))
        elif _is_basic(i):
            found.append(i if not isinstance(i, np.integer) else int(i))
        elif isinstance(i, (bool, np.bool_)):
            found.append(concrete(np.array(bool(i)), dtypes.bool_))
        elif isinstance(i, (Tensor, list, tuple, np.ndarray, range)):
            found.append(_index_tensor(list(i) if isinstance(i, range) else i))
        elif hasattr(i, "__index__"):
            found.append(i.__index__())
        elif isinstance(i, str):
            raise TypeError(f"new(): invalid data type '{type(i).__name__}'")
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables "
                f"are valid indices (got {type(i).__name__})"
            )
    used = 0
    for i in found:
        if isinstance(i, Tensor) and i.dtype in (dtypes.bool_, dtypes.uint8):
            used += i.dim()
        elif i is not None and i is not Ellipsis:
            used += 1
    if used > x.dim():
        raise _too_many(x)
    rest = [slice(None)] * (x.dim() - used)
    places = [k for k, i in enumerate(found) if i is Ellipsis]
    if not places:
        return [*found, *rest]
    at, after = places[0], [i for i in found[places[0] + 1 :] if i is not Ellipsis]
    if len(places) > 1 and rest and found[places[1] + 1 :] and found[-1] is not Ellipsis:
        # A second ellipsis passes over as many dimensions as the first, which are not there.
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-x.dim()}, {x.dim() - 1}], but "
            f"got {x.dim()})"
        )
    return [*found[:at], *rest, *after]


def _slice_of(s: slice, n: int) -> tuple[int, int, int]:
    """(start, count, step) of a slice of ``n`` positions."""
    step = 1 if s.step is None else s.step.__index__()
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = slice(
        None if s.start is None else s.start.__index__(),
        None if s.stop is None else s.stop.__index__(),
        step,
    ).indices(n)
    return start, max(0, -(-(stop - start) // step)), step


@dataclass
class _Chosen:
    """What a mask is as an index: the places where it holds, in its ``dims`` as if made one."""

    places: Tensor
    dims: int


# Stands for the dimensions of a mask after its first.
_TAKEN: Any = object()


def _check_mask(mask: Tensor, shape: tuple[int, ...], d: int) -> None:
    """Whether a mask has the shape of the dimensions that it is for, from ``d`` on."""
    for k, n in enumerate(mask._meta.shape):
        if n != shape[d + k]:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {k} does not match the "
                f"shape of the indexed tensor {list(shape)} at index {d + k}"
            )


def _basic(x: Tensor, items: list[Any]) -> tuple[Tensor, list[Any]]:
    """Applies the basic part of an index as a view; what is left, one entry a dimension."""
    dims, starts, sizes, steps = [], [], [], []
    shape = x._meta.shape
    d = 0
    new: list[int] = []
    left: list[Any] = []
    reshaped = False
    for i in items:
        if i is None:
            new.append(1)
            left.append(None)
            reshaped = True
        elif isinstance(i, slice):
            n = shape[d]
            start, count, step = _slice_of(i, n)
            if (start, count, step) != (0, n, 1):
                dims.append(d)
                starts.append(start)
                sizes.append(count)
                steps.append(step)
            new.append(count)
            left.append(None)
            d += 1
        elif isinstance(i, int):
            n = shape[d]
            if not -n <= i < n:
                if not shape:
                    raise IndexError(
                        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                        "`tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
                    )
                raise IndexError(f"index {i} is out of bounds for dimension {d} with size {n}")
            dims.append(d)
            starts.append(i % n)
            sizes.append(1)
            steps.append(1)
            reshaped = True
            d += 1
        elif i.dtype in (dtypes.bool_, dtypes.uint8):
            mask = i.dim()
            _check_mask(i, shape, d)
            if mask == 0:
                new.append(1)
                left.append(i)
                reshaped = True
                continue
            new.extend(shape[d : d + mask])
            places = flat_places(i._value()._array())
            left.append(_Chosen(concrete(places, dtypes.int64), mask))
            left.extend([_TAKEN] * (mask - 1))
            d += mask
        else:
            new.append(shape[d])
            left.append(i)
            d += 1
    y = x
    if dims:
        y = slicing.sliced(x, tuple(dims), tuple(starts), tuple(sizes), tuple(steps))
    if reshaped:
        y = _reshape_view(y, items, tuple(new), alias.spec_of(x))
    return y, left


def _reshape_view(y: Tensor, items: list[Any], new: tuple[int, ...], before: Any) -> Tensor:
    """Drops the dimensions that integers took, adds those of None.

    ``before`` is the geometry that nothing was cut from: a new dimension steps over all of the
    next one.
    """
    from flambeau.ir.primitive import PRIMITIVES

    _, strides, offset = alias.spec_of(y)
    steps: list[int] = []
    d = 0
    for i in items:
        if i is None or (isinstance(i, Tensor) and i.dim() == 0 and i.dtype is dtypes.bool_):
            steps.append(before[0][d] * before[1][d] if d < len(before[0]) else 1)
        elif isinstance(i, int):
            d += 1
        else:
            count = (
                i.dim() if isinstance(i, Tensor) and i.dtype in (dtypes.bool_, dtypes.uint8) else 1
            )
            steps.extend(strides[d : d + count])
            d += count
    spec = (new, tuple(steps), offset)
    return alias.view(y, spec, PRIMITIVES["reshape"], shape=new, grad=_last_step(items))


def _last_step(items: list[Any]) -> str:
    """The ``grad_fn`` name of a view made item by item, as PyTorch makes it."""
    for i in reversed(items):
        if isinstance(i, int):
            return "SelectBackward0"
        if isinstance(i, slice) and i != slice(None):
            return "SliceBackward0"
        if not isinstance(i, slice):
            return "UnsqueezeBackward0"
    return "AliasBackward0"


def _is_place(i: Any) -> bool:
    return i is None or i.__class__ is int


def _prepared(x: Tensor, left: list[Any]) -> tuple[tuple[Tensor | None, ...], tuple]:
    """Advanced indices checked, made int64 and non-negative; the shape of ``x`` that they are for.

    That is () where it is its own.
    """
    found: list[Tensor | None] = []
    # Shapes as one was given for each dimension.
    given: list[tuple[int, ...]] = []
    shape: list[int] = []
    for d, i in enumerate(left):
        n = x._meta.shape[d]
        if i is _TAKEN:
            shape[-1] *= n
            continue
        shape.append(n)
        if i is None:
            found.append(None)
        elif i.__class__ is _Chosen:
            found.append(i.places)
            given += [i.places._meta.shape] * (i.dims - 1)
        elif i.dim() == 0 and i.dtype is dtypes.bool_:
            # True keeps its dimension of size 1, False empties it.
            count = 1 if bool(i.item()) else 0
            found.append(concrete(np.zeros(count, np.int64), dtypes.int64))
        else:
            found.append(checked(i, n, d))
        if found[-1] is not None:
            given.append(found[-1]._meta.shape)
    try:
        broadcast_shapes(*given)
    except RuntimeError as e:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(str(list(s)) for s in given)
        ) from e
    return tuple(found), () if len(shape) == len(left) else tuple(shape)


def checked(i: Tensor, n: int, d: int) -> Tensor:
    """An index tensor whose values lie in [-n, n), as int64 from 0."""
    if is_absent(i):
        return i.to(dtypes.int64)  # type: ignore[attr-defined]
    array = i._value()._array()
    if array.size:
        low, high = array.min(), array.max()
        if low < -n or high >= n:
            bad = high if high >= n else low
            raise IndexError(f"index {bad} is out of bounds for dimension {d} with size {n}")
        if low < 0:
            return concrete(np.where(array < 0, array + n, array).astype(np.int64), dtypes.int64)
    if i.dtype is dtypes.int64:
        return i
    return concrete(array.astype(np.int64), dtypes.int64)


@function(grad="IndexBackward0")
def _gather(input: Tensor, indices: tuple, shape: tuple[int, ...] = ()) -> Tensor:
    if shape:
        input = ops.reshape(input, shape=shape)
    where = tuple(k for k, i in enumerate(indices) if i is not None)
    return ops.index(input, *[i for i in indices if i is not None], where=where)


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: a view for integers, slices, None and ``...``; else a gathered copy.

    Raises ``IndexError`` for positions out of range.
    """
    if input.__class__ is Tensor and _is_data(input):
        if index.__class__ is int:
            shape, n = input._meta.shape, index
            if shape and -shape[0] <= n < shape[0]:
                return _row(input, n)
        elif index.__class__ is slice:
            rows = _rows(input, index)
            if rows is not None:
                return rows
        elif (key := _key(index)) is not None:
            made = _known.get(input, key)
            return _known.add(input, key, _getitem(input, index)) if made is None else made
    return _getitem(input, index)


_known = _Remembered()


def _key(index: Any) -> tuple | None:
    """A basic index as what it can be remembered by."""
    found: list[Any] = []
    for i in index if index.__class__ is tuple else (index,):
        if i.__class__ is slice:
            parts = (i.start, i.stop, i.step)
            for n in parts:
                if n is not None and n.__class__ is not int:
                    return None
            found.append(parts)
        elif i.__class__ is int or i is None or i is Ellipsis:
            found.append(i)
        else:
            return None
    return tuple(found)


def _getitem(input: Tensor, index: Any) -> Tensor:
    if index.__class__ is int and input._meta.shape:
        n = input._meta.shape[0]
        if -n <= index < n:
            return slicing.select(input, 0, index)
        raise IndexError(f"index {index} is out of bounds for dimension 0 with size {n}")
    if index.__class__ is slice and index.step is None and input.__class__ is Tensor:
        shape = input._meta.shape
        if shape and _is_place(index.start) and _is_place(index.stop):
            start, stop, _ = index.indices(shape[0])
            if start or stop < shape[0]:
                y = alias.rows(input, start, max(0, stop - start))
                if y is not None:
                    return y
    y, left = _basic(input, _normal(input, index))
    if any(i is not None for i in left):
        return _gather(y, *_prepared(y, left))
    if y is input:
        from flambeau.ir.primitive import PRIMITIVES

        return alias.view(
            input, alias.spec_of(input), PRIMITIVES["reshape"], shape=tuple(input.shape),
            grad="SliceBackward0" if isinstance(index, slice) else "AliasBackward0",
        )  # fmt: skip
    return y


@function(grad="IndexPutBackward0")
def _put(
    input: Tensor,
    indices: tuple,
    value: Tensor,
    accumulate: bool = False,
    shape: tuple[int, ...] = (),
) -> Tensor:
    where = tuple(k for k, i in enumerate(indices) if i is not None)
    found = [i for i in indices if i is not None]
    x = ops.reshape(input, shape=shape) if shape else input
    rank = len(result_shape(x._meta.shape, where, [i._meta.shape for i in found]))
    made = ops.index_put(x, _stripped(value, x, rank), *found, where=where, accumulate=accumulate)
    return ops.reshape(made, shape=input._meta.shape) if shape else made


@function(grad="IndexPutBackward0")
def _put_(
    input: Tensor,
    indices: tuple,
    value: Tensor,
    accumulate: bool = False,
    shape: tuple[int, ...] = (),
) -> Tensor:
    return assign(input, _put(input, indices, value, accumulate, shape))


@function(grad="IndexPutBackward0")
def _fill(input: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """One value where a mask of the first dimensions holds: its places need not be known."""
    rest = (1,) * (input.dim() - mask.dim())
    mask = ops.reshape(mask, shape=(*mask._meta.shape, *rest))
    value = ops.reshape(cast(value, input.dtype), shape=())
    return ops.where(mask, value, input)


@function(grad="IndexPutBackward0")
def _fill_(input: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    return assign(input, _fill(input, mask, value))


def _stripped(value: Tensor, like: Tensor, rank: int) -> Tensor:
    """A value in the dtype of its target, without leading dimensions of size 1 past ``rank``."""
    value = cast(value, like.dtype)
    shape = value._meta.shape
    while len(shape) > rank and shape[0] == 1:
        shape = shape[1:]
    return value if shape == value._meta.shape else ops.reshape(value, shape=shape)


def as_value(value: Any, like: Tensor) -> Tensor:
    """The right-hand side of an assignment as a tensor."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float, complex)):
        value = fitted(value, like.dtype)
    elif isinstance(value, (str, bytes)) or value is None:
        raise TypeError(f"can't assign a {type(value).__name__} to a {like.type()}")
    array = np.asarray(value)
    return concrete(np.array(array.astype(like.dtype.numpy)), like.dtype)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``: every tensor on the same memory sees it."""
    items = _normal(input, index)
    if _is_fill(items):
        value = as_value(value, input)
        if value.numel() == 1:
            _check_complex(value, input)
            _check_mask(items[0], input._meta.shape, 0)
            if _shared(value, input):
                # It is read before anything is written, as with ``masked_fill_``.
                value = value.clone()
            _fill_(input, items[0], value)
            return
    y, left = _basic(input, items)
    if any(i is not None for i in left):
        value = as_value(value, y)
        found, shape = _prepared(y, left)
        _put_(y, found, value, False, shape)
        return
    if isinstance(value, (int, float, complex, bool)) and not isinstance(value, Tensor):
        y.fill_(value)
    else:
        value = as_value(value, y)
        if value.dim() > y.dim() and all(n == 1 for n in value.shape[: value.dim() - y.dim()]):
            value = value.reshape(tuple(value.shape[value.dim() - y.dim() :]))
        if value.numel() == 1 and value.shape != y.shape and _shared(value, y):
            value = value.reshape(()).expand(y.shape)
        _check_fit(value, y)
        y.copy_(value)


def _check_fit(value: Tensor, y: Tensor) -> None:
    """``RuntimeError`` unless a value can be assigned to ``y``, as it is expanded to its shape."""
    given, shape = value._meta.shape, y._meta.shape
    extra = len(shape) - len(given)
    if extra < 0 or any(n not in (1, m) for n, m in zip(given, shape[extra:], strict=True)):
        value.detach().expand(shape)


def _shared(value: Tensor, y: Tensor) -> bool:
    return value._storage is not None and value._storage is y._storage


def _check_complex(value: Tensor, input: Tensor) -> None:
    """A complex value is refused by a real tensor, whatever it is."""
    if value.dtype.is_complex and not input.dtype.is_complex:
        fitted(1j, input.dtype)


def _is_fill(items: list[Any]) -> bool:
    """Whether an index is one mask: a single value is then written without knowing its places."""
    mask, *rest = items or [None]
    return (
        mask.__class__ is Tensor
        and mask.dtype is dtypes.bool_
        and mask.dim() > 0
        and all(i.__class__ is slice and i == slice(None) for i in rest)
    )


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype.name in ("bool", "uint8")


def _put_args(
    name: str, input: Tensor, indices: Any, values: Tensor
) -> tuple[Tensor, tuple, tuple]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'indices' (position 2) must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    one_for_mask = len(indices) == 1 and values.numel() == 1 and _is_mask(indices[0])
    if one_for_mask:
        _check_complex(values, input)
    if values.dtype is not input.dtype and not one_for_mask:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{title(input.dtype)} for the destination and {title(values.dtype)} for the source."
        )
    if len(indices) > input.dim():
        raise IndexError(
            f"too many indices for tensor of dimension {input.dim()} (got {len(indices)})"
        )
    y, left = _basic(
        input,
        _normal(
            input,
            tuple(slice(None) if i is None else _index_tensor(i) for i in indices),
            scalars=False,
        ),
    )
    return y, *_prepared(y, left)


def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with ``values`` written (or added) at ``input[indices]``.

    >>> index_put(zeros(3), (tensor([0, 2]),), tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    y, found, shape = _put_args("index_put", input, indices, values)
    return _put(y, found, values, bool(accumulate), shape)


def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place ``index_put``."""
    y, found, shape = _put_args("index_put_", input, indices, values)
    _put_(y, found, values, bool(accumulate), shape)
    return input


SAMPLES = {
    "index_put": "x, (torch.tensor([0, 2]), torch.tensor([1, 3])), u[:2];"
    "x, (labels[:2] % 3,), v, True; x, (truth,), s; i, (place[:1], k[:1]), j[:1];"
    "x, (torch.tensor([0, 2]),), row; x, [torch.tensor(1)], v; x, (torch.tensor([-1]),), v;"
    "!x, (labels + 9,), v; !x, (labels % 3,), i[0]; !x, (v,), v; !x, (k, k, k), s; !x, labels, v",
    "index_put_": "torch.zeros(3, 4), (torch.tensor([0, 2]),), row, True; i, (place[0],), j[:1];"
    "torch.zeros(3, 4), (truth,), s;"
    "torch.zeros(3, 4), (torch.tensor([0, 0]), torch.tensor([1, 1])), u[:2], True;"
    "!i, (labels + 9,), j; !i, (labels % 3,), v",
}
