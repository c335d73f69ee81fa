"""Size: the shape of a tensor."""

from __future__ import annotations

import math
from operator import index
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Size(tuple):
    """The shape of a tensor: a tuple of integers that prints as ``torch.Size``.

    Raises ``TypeError`` for what holds anything but integers.

    >>> Size((2, 3)).numel()
    6
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[Any] = (), /) -> Size:
        return tuple.__new__(cls, [_integer(i, size) for i, size in enumerate(sizes)])

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return known(found) if isinstance(index, slice) else found

    def __add__(self, other: tuple) -> Size:  # type: ignore[override]
        if not isinstance(other, tuple):
            raise TypeError(
                f"can only concatenate tuple (not {type(other).__name__}) to torch.Size"
            )
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: tuple) -> Size:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(other + tuple(self))

    def __mul__(self, times: Any) -> Size:  # type: ignore[override]
        return known(tuple.__mul__(self, times)) if hasattr(times, "__index__") else NotImplemented

    __rmul__ = __mul__  # type: ignore[assignment]

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))


def _integer(place: int, size: Any) -> int:
    try:
        return index(size)
    except TypeError:
        raise TypeError(
            f"torch.Size() takes an iterable of 'int' (item {place} is '{_full_name(type(size))}')"
        ) from None


def _full_name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def known(shape: tuple[int, ...]) -> Size:
    """The size of a shape that is known to hold integers."""
    return tuple.__new__(Size, shape)
