"""Functions that look at the values of their indices before they record: checks, and pairs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.inplace import inplace, write_out
from flambeau.functions.promotion import cast
from flambeau.ir.reference import OutOfRangeError
from flambeau.record.absent import is_absent
from flambeau.record.macro import function, ops
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def recording() -> bool:
    """Whether a function's body is running: values cannot be looked at then."""
    return open_.trace.builder is not None


def known(t: Tensor) -> np.ndarray | None:
    """The value of a tensor, which nobody may write to; None inside a function's body.

    None, too, for a tensor on the meta device.
    """
    return None if recording() or is_absent(t) else t._value()._array()


def check_range(index: Tensor, size: int, dim: int, lowest: int = 0) -> None:
    """``IndexError`` (also a ``RuntimeError``) unless all of an index lies in [lowest, size).

    Inside a function's body the kernel checks it when it runs.
    """
    array = known(index)
    if array is None or not array.size:
        return
    if not lowest and array.dtype == np.int64:
        # As unsigned numbers negative ones are the greatest.
        outside = np.maximum.reduce(array.view(np.uint64), None) >= size
    else:
        outside = np.maximum.reduce(array, None) >= size or np.minimum.reduce(array, None) < lowest
    if outside:
        bad = array[(array >= size) | (array < lowest)].flat[0]
        raise OutOfRangeError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


def wrapped(index: Tensor, size: int, dim: int) -> Tensor:
    """An index whose negative values count from the end, made to count from the front."""
    array = known(index)
    if array is not None and (not array.size or (array.min() >= 0 and array.max() < size)):
        return index
    check_range(index, size, dim, -size)
    return _wrap(index, size)


@function
def _wrap(index: Tensor, size: int) -> Tensor:
    return ops.where(ops.lt(index, 0), ops.add(index, size), index)


def as_index(index: Tensor, name: str) -> Tensor:
    """An index tensor as int64; ``RuntimeError`` for another dtype than int32 and int64."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype is dtypes.int64:
        return index
    if index.dtype is dtypes.int32 or not index.numel():
        return cast(index, dtypes.int64)
    raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def pair(core: Callable, core_: Callable | None = None) -> Callable:
    """Makes a function and its in-place form of what checks the arguments of ``core``.

    ``core`` is a recorded function (``_name``); what is decorated gives its arguments.
    ``core_`` defaults to the in-place variant of ``core``.
    """
    write = core_ or inplace(core)

    def decorate(prepare: Callable) -> tuple[Callable, Callable]:
        name = core.__name__.strip("_")

        @functools.wraps(prepare)
        def plain(*args: Any, out: Tensor | None = None, **kwargs: Any) -> Any:
            result = core(*prepare(*args, **kwargs))
            return result if out is None else write_out(out, result, name)

        @functools.wraps(prepare)
        def writing(*args: Any, **kwargs: Any) -> Any:
            return write(*prepare(*args, **kwargs))

        plain.__name__ = plain.__qualname__ = name
        writing.__name__ = writing.__qualname__ = name + "_"
        writing.__doc__ = f"In-place ``{name}``."
        return plain, writing

    return decorate


def by_copy(f: Callable) -> Callable:
    """The in-place form of a function that is no single recorded call."""

    @functools.wraps(f)
    def writing(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = f(input, *args, **kwargs)
        if result._meta.shape != input._meta.shape:
            raise RuntimeError(
                f"output with shape {list(input._meta.shape)} doesn't match the broadcast shape "
                f"{list(result._meta.shape)}"
            )
        return input.copy_(result)

    writing.__name__ = writing.__qualname__ = f.__name__ + "_"
    writing.__doc__ = f"In-place ``{f.__name__}``."
    return writing
