"""Numbers at even steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.creation import _placed
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """``start``, ``start + step``, … below ``end``; int64 for integers.

    Raises ``RuntimeError`` if ``step`` is zero or points away from ``end``, or if one of them is
    complex, infinite or NaN; ``ValueError`` if ``step`` is zero once made an integer.

    >>> arange(1, 4)
    tensor([1, 2, 3])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if any(isinstance(x, complex) for x in (start, end, step)):
        raise RuntimeError("value cannot be converted to type double without overflow")
    if dtype is None:
        if out is not None:
            dtype = out.dtype
        else:
            whole = all(isinstance(x, (int, np.integer)) for x in (start, end, step))
            dtype = dtypes.int64 if whole else defaults.dtype
    if not (step > 0 or step < 0):
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype.category == 1:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero")
        n = max(0, -(-(end - start) // step))
    else:
        n = max(0, math.ceil((end - start) / step))
    wide = np.float64 if dtype.category == 2 else np.int64
    array = np.arange(n, dtype=wide)
    if step != 1:
        array *= wide(step)
    if start != 0:
        array += wide(start)
    array = array.astype(dtype.numpy, copy=False)
    return _placed(array, dtype, requires_grad, device, out, "arange")


def _need_count(name: str, steps: Any) -> None:
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        raise TypeError(
            f"{name}(): argument 'steps' (position 3) must be int, not {type(steps).__name__}"
        )


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """``steps`` values evenly spaced from ``start`` to ``end``, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = (x.item() if isinstance(x, Tensor) else x for x in (start, end))
    for argument, x in (("start", start), ("end", end)):
        if not isinstance(x, (int, float, complex, np.number)):
            raise TypeError(
                f"linspace(): argument '{argument}' must be Number, not {type(x).__name__}"
            )
    _need_count("linspace", steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if dtype is None:
        dtype = defaults.dtype
        if isinstance(start, complex) or isinstance(end, complex):
            dtype = dtype.to_complex()
    # From both ends, as PyTorch does: symmetric, and exact at each.
    if dtype.category == 1:
        start, end = int(start), int(end)
        i, half = np.arange(steps), steps // 2
        step = (end - start) / (steps - 1) if steps > 1 else 0.0
        low = start + step * i[:half]
        array = np.concatenate((low, end - step * (steps - 1 - i[half:])))
    else:
        array = _even_steps(start, end, steps, dtype)
    if steps == 1:
        array = np.asarray([start])
    array = array.astype(dtype.numpy, copy=False)
    return _placed(array, dtype, requires_grad, device, out, "linspace")


# So many elements stay in the processor's cache from one operation to the next.
_BLOCK = 1 << 14


def _even_steps(start: Any, end: Any, steps: int, dtype: dtypes.dtype) -> np.ndarray:
    """``start + i * step`` in the first half, ``end - (steps - 1 - i) * step`` in the second."""
    number = np.dtype(dtype.numpy).type if dtype.itemsize > 2 else np.float64
    out = np.empty(steps, number)
    if not steps:
        return out
    first, last, half = number(start), number(end), steps // 2
    step = (last - first) / number(max(steps - 1, 1))
    places = np.arange(min(_BLOCK, steps), dtype=number)
    for lead in range(0, half, _BLOCK):
        part = out[lead : min(lead + _BLOCK, half)]
        np.add(places[: len(part)], number(lead), out=part)
        part *= step
        part += first
    for lead in range(half, steps, _BLOCK):
        part = out[lead : lead + _BLOCK]
        np.subtract(number(steps - 1 - lead), places[: len(part)], out=part)
        part *= step
        np.subtract(last, part, out=part)
    return out


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the powers of ``linspace(start, end, steps)``.

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    _need_count("logspace", steps)
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    if dtype.category == 1:
        start, end = (int(x.item() if isinstance(x, Tensor) else x) for x in (start, end))
    powers = linspace(
        start, end, steps, dtype=dtypes.complex128 if dtype.is_complex else dtypes.float64
    )._array()
    array = np.power(base, powers)
    array = np.array(array.astype(dtype.numpy))
    return _placed(array, dtype, requires_grad, device, out, "logspace")


SAMPLES = {
    "arange": "5; 1, 4; 1, 2, 0.25; 5, 1, -2; 0.5, 3; 3, dtype=torch.float64;"
    "2.5, dtype=torch.int64; 0; 0, 1, 0.1; torch.tensor(4); -3, 3, 2, dtype=torch.int16;"
    "4, dtype=torch.bfloat16; !0, 3, -1; !0, 3, 0; !0, inf; !1j; !",
    "linspace": "0, 1, 5; -2, 7, 10; 3, 1, 4; 0, 1, 1; 0, 1, 0; 0, 10, 5, dtype=torch.int64;"
    "0, 1, 7, dtype=torch.float64; 0, 1j, 3; torch.tensor(1.0), 4, 3; !0, 1, -1; !0, 1; !0, 1, 2.5",
    "logspace": "0, 2, 3; -1, 1, 4, base=2; 0, 3, 4, dtype=torch.int64; 0, 1, 1; 0, 1, 0;"
    "1, 2, 5, 2.5, dtype=torch.float64; !0, 1, -1; !0, 1; !0, 1, 2.5",
}
