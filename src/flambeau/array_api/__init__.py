"""The Array API standard [data-apis.org, 2024.12]: what ``Tensor.__array_namespace__`` gives.

The standard's functions by its names and signatures, where PyTorch's own differ: ``axis``,
``keepdims``, promotion of tensors without dimensions, Python numbers as operands, corrected
results. Scikit-learn (``set_config(array_api_dispatch=True)``), SciPy (``SCIPY_ARRAY_API=1``) and
``array-api-compat`` work on Flambeau's tensors through it. Where PyTorch goes another way than
the standard (``Tensor.size`` is a method, some integer dtypes do not promote) Flambeau does too,
as ``array_api_compat.torch`` has it. Names beyond the standard are the package's own.
"""

from __future__ import annotations

from typing import Any, Final

import flambeau
from flambeau import (
    abs,
    acos,
    acosh,
    argmax,
    argmin,
    asin,
    asinh,
    atan,
    atanh,
    bool,
    ceil,
    complex64,
    complex128,
    cos,
    cosh,
    e,
    empty_like,
    exp,
    expm1,
    float32,
    float64,
    floor,
    from_dlpack,
    full_like,
    imag,
    inf,
    int8,
    int16,
    int32,
    int64,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    logical_not,
    moveaxis,
    nan,
    negative,
    newaxis,
    ones_like,
    pi,
    positive,
    real,
    reciprocal,
    searchsorted,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
    tile,
    trunc,
    uint8,
    uint16,
    uint32,
    uint64,
    zeros_like,
)
from flambeau.array_api import fft, linalg
from flambeau.array_api.creation import *
from flambeau.array_api.data_types import *
from flambeau.array_api.elementwise import *
from flambeau.array_api.info import __array_namespace_info__
from flambeau.array_api.linalg import matmul, matrix_transpose, tensordot, vecdot
from flambeau.array_api.manipulation import *
from flambeau.array_api.statistics import *

__array_api_version__: Final = "2024.12"

_PARTS = {"creation", "data_types", "elementwise", "info", "manipulation", "statistics"}
__all__ = sorted(
    {name for name in globals() if not name.startswith("_")}
    - {*_PARTS, "Any", "Final", "annotations", "flambeau"}
    | {"__array_api_version__", "__array_namespace_info__"}
)


def __getattr__(name: str) -> Any:
    return getattr(flambeau, name)


def __dir__() -> list[str]:
    return __all__
