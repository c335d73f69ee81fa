"""Dimension numbers and shapes as users give them."""

from __future__ import annotations

import math
from operator import index
from typing import Any


def as_int(value: Any, argument: str) -> int:
    """``value`` as an integer; ``TypeError``, which names the argument, if it is none."""
    if value.__class__ is int:
        return value
    try:
        if value.__class__ is not bool:
            return index(value)
        raise TypeError
    except TypeError:
        raise TypeError(f"argument '{argument}' must be int, not {type(value).__name__}") from None


def wrap_dim(dim: int, ndim: int, *, scalar: bool = True) -> int:
    """A dimension counted from the front; ``IndexError`` if there is none such.

    A 0-dim tensor counts as 1-dim where ``scalar``. ``TypeError`` for what is no integer.
    """
    if dim.__class__ is not int:
        dim = as_int(dim, "dim")
    n = max(ndim, 1) if scalar else ndim
    if n == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim % n


def wrap_dims(dims: Any, ndim: int) -> tuple[int, ...]:
    """Several dimensions (None or empty: all), each once."""
    if dims is None:
        return tuple(range(ndim))
    if not isinstance(dims, (tuple, list)):
        dims = (dims,)
    if not dims:
        return tuple(range(ndim))
    found = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(found)) != len(found):
        twice = next(d for d in found if found.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return found if ndim else ()


def as_shape(sizes: tuple) -> tuple[int, ...]:
    """A shape given as ``f(2, 3)`` or ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return tuple(n if n.__class__ is int else _size(n) for n in sizes)


def _size(value: Any) -> int:
    try:
        return int(index(value))
    except TypeError:
        raise TypeError(
            f"argument 'size' must be tuple of ints, not {type(value).__name__}"
        ) from None


def sizes_given(name: str, argument: str, sizes: tuple, named: dict[str, Any]) -> tuple[int, ...]:
    """What ``f(2, 3)``, ``f((2, 3))`` or ``f(argument=(2, 3))`` was called with.

    ``TypeError`` if that is nothing, and for other keywords.
    """
    if named:
        if argument in named:
            sizes = (named.pop(argument),)
        for other in named:
            raise TypeError(f"{name}() got an unexpected keyword argument '{other}'")
    if not sizes:
        raise TypeError(f'{name}() missing 1 required positional arguments: "{argument}"')
    return as_shape(sizes)


def infer_shape(shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """A shape with its one -1 worked out; ``RuntimeError`` if it does not fit ``numel``."""
    if -1 in shape:
        if shape.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        known = math.prod(n for n in shape if n != -1)
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
                if numel == 0
                else f"shape '{list(shape)}' is invalid for input of size {numel}"
            )
        if numel % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return tuple(numel // known if n == -1 else n for n in shape)
    if any(n < 0 for n in shape):
        bad = next(n for n in shape if n < 0)
        raise RuntimeError(f"invalid shape dimension {bad}")
    if math.prod(shape) != numel:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return shape
