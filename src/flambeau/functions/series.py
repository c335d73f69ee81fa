"""Evenly spaced numbers that include their end."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.inplace import write_out
from flambeau.functions.making import made
from flambeau.record.trace import defaults

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


def range(
    start: float,
    end: float,
    step: float = 1,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start + step``, … up to ``end``, which belongs to it; deprecated.

    The default floating dtype unless ``dtype`` says otherwise. Raises ``RuntimeError`` if ``step``
    is zero or points away from ``end``.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     torch.range(1, 2, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior "
        "is inconsistent with Python's range builtin. Instead, use torch.arange, which produces "
        "values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    if not (step > 0 or step < 0):
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    count = math.floor((end - start) / step) + 1
    wide = np.float64 if dtype.category == 2 else np.int64
    array = (np.arange(count, dtype=wide) * wide(step) + wide(start)).astype(dtype.numpy)
    result = made(array, dtype, requires_grad, device)
    return result if out is None else write_out(out, result, "range")


SAMPLES = {
    "range": "1, 4; 1, 2, 0.25; 5, 1, -2; 0.5, 3; 1, 4, dtype=torch.int64; 2, 2; !1, 4, 0;"
    "!1, 4, -1; !0, inf; !",
}
