"""The standard's functions that make tensors, where PyTorch's arguments differ."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor

__all__ = [
    "arange",
    "asarray",
    "empty",
    "eye",
    "full",
    "linspace",
    "meshgrid",
    "ones",
    "tril",
    "triu",
    "zeros",
]

Shape = int | tuple[int, ...]


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None, **options: Any
) -> Tensor:
    """A tensor of numbers, nested sequences, a buffer or another array; ``copy=False``: of the
    same memory, or ``ValueError``.

    >>> torch.array_api.asarray([1, 2])
    tensor([1, 2])
    """
    return flambeau.asarray(obj, dtype=dtype, device=device, copy=copy, **options)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    """From ``start`` (0 if it is alone) to before ``stop``; empty if the step leads away from it.

    >>> torch.array_api.arange(3, 1).shape
    torch.Size([0])
    """
    if stop is None:
        start, stop = 0, start
    if (stop - start) * step <= 0 and step:
        if dtype is None:
            integers = all(isinstance(x, int) for x in (start, stop, step))
            dtype = flambeau.int64 if integers else flambeau.get_default_dtype()
        return flambeau.empty(0, dtype=dtype, device=device, **options)
    return flambeau.arange(start, stop, step, dtype=dtype, device=device, **options)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    """Ones on the ``k``-th diagonal (above the main one if positive), else zeros.

    >>> torch.array_api.eye(2, k=1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    n_cols = n_rows if n_cols is None else n_cols
    if k == 0:
        return flambeau.eye(n_rows, n_cols, dtype=dtype, device=device, **options)
    result = flambeau.zeros((n_rows, n_cols), dtype=dtype, device=device, **options)
    if -n_rows < k < n_cols:
        result.diagonal(k).fill_(1)
    return result


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
    **options: Any,
) -> Tensor:
    """``num`` numbers, evenly spaced from ``start`` to ``stop``, that last one left out without
    ``endpoint``.

    >>> torch.array_api.linspace(0, 1, 2, endpoint=False)
    tensor([0.0000, 0.5000])
    """
    if endpoint:
        return flambeau.linspace(start, stop, num, dtype=dtype, device=device, **options)
    return flambeau.linspace(start, stop, num + 1, dtype=dtype, device=device, **options)[:-1]


def full(
    shape: Shape, fill_value: complex, *, dtype: Any = None, device: Any = None, **options: Any
) -> Tensor:
    """One value everywhere.

    >>> torch.array_api.full(2, 7)
    tensor([7, 7])
    """
    return flambeau.full(_sizes(shape), fill_value, dtype=dtype, device=device, **options)


def ones(shape: Shape, *, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """Ones.

    >>> torch.array_api.ones(2)
    tensor([1., 1.])
    """
    return flambeau.ones(_sizes(shape), dtype=dtype, device=device, **options)


def zeros(shape: Shape, *, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """Zeros.

    >>> torch.array_api.zeros((1, 2))
    tensor([[0., 0.]])
    """
    return flambeau.zeros(_sizes(shape), dtype=dtype, device=device, **options)


def empty(shape: Shape, *, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """A tensor whose values do not matter.

    >>> torch.array_api.empty((2, 0)).shape
    torch.Size([2, 0])
    """
    return flambeau.empty(_sizes(shape), dtype=dtype, device=device, **options)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros above the ``k``-th diagonal.

    >>> torch.array_api.tril(torch.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return flambeau.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros below the ``k``-th diagonal.

    >>> torch.array_api.triu(torch.ones(2, 2))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return flambeau.triu(x, k)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid; "xy": the first array along the second dimension.

    Raises: ``ValueError`` if ``indexing`` is neither "xy" nor "ij".

    >>> torch.array_api.meshgrid(torch.arange(2), torch.arange(3))[0].shape
    torch.Size([3, 2])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing must be "xy" or "ij", but is {indexing!r}')
    return tuple(flambeau.meshgrid(*arrays, indexing=indexing)) if arrays else ()


def _sizes(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
