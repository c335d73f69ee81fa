"""Flambeau: define-by-run deep learning at define-then-run speed, with PyTorch's interface."""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

from flambeau import ir
from flambeau.device import device
from flambeau.dtypes import (
    bfloat16,
    bool_,
    complex64,
    complex128,
    dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from flambeau.layouts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    per_tensor_affine,
    preserve_format,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.tensor import Size, Tensor
from flambeau import autograd
from flambeau.functions import library as _library, methods as _methods

globals().update(_library.load())

from flambeau.functions import operators as _operators
from flambeau.functions import overriding as _overriding
from flambeau.functions import properties as _properties
from flambeau.functions import sparsity as _sparsity
from flambeau.functions.creation import tensor
from flambeau.functions.random import (
    Generator,
    _sample_dirichlet,
    _standard_gamma,
    default_generator,
)
from flambeau.autograd.anomaly import is_anomaly_enabled
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.functions.nn import METHODS as _METHODS
from flambeau.functions.nn import TOP_LEVEL as _TOP_LEVEL
from flambeau.functions.nn import builtin as _builtin
from flambeau import nn
from flambeau.nn import functional as _functional
from flambeau.limits import finfo, iinfo
from flambeau.printing import set_printoptions
from flambeau.record import process as _process
from flambeau.record.explain import explain as _explain
from flambeau.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from flambeau.legacy import *
from flambeau.runtime import (
    are_deterministic_algorithms_enabled,
    get_float32_matmul_precision,
    get_num_interop_threads,
    get_num_threads,
    is_deterministic_algorithms_warn_only_enabled,
    set_float32_matmul_precision,
    set_flush_denormal,
    set_num_interop_threads,
    set_num_threads,
    use_deterministic_algorithms,
)
from flambeau import shown as _shown
from flambeau.install import install, uninstall
from flambeau.version import flambeau as __version__

for _name in _TOP_LEVEL:
    _found = getattr(_builtin if _name in _builtin.__all__ else _functional, _name)
    globals().setdefault(_name, _methods.taking_numpys_names(_found))
for _name in _METHODS:
    setattr(Tensor, _name, _methods.taking_numpys_names(getattr(_functional, _name)))
_operators.attach_all()
_sparsity.attach()
# The matrix function is also where to ask about traces: ``flambeau.trace.explain()``.
globals()["trace"].explain = _explain
_process.install()

# Names that are modules of their own, loaded when first asked for.
_LAZY = (
    "accelerator", "amp", "array_api", "backends", "compiler", "cpu", "cuda", "distributed",
    "distributions",
    "fft", "func", "hub", "jit", "linalg", "masked", "mps",
    "multiprocessing", "onnx", "ops", "optim", "overrides", "profiler", "random",
    "return_types", "serialization", "signal", "sparse", "special", "storage", "testing", "types",
    "utils", "version", "xpu", "__config__", "__future__", "_C", "_dynamo", "functional",
    "trainer",
)  # fmt: skip
_FROM = {
    "load": "serialization",
    "save": "serialization",
    "autocast": "amp",
    "GradScaler": "amp",
    "compile": "compiler",
    "vmap": "func",
    "set_default_device": "defaults",
    "get_default_device": "defaults",
    "typename": "types",
    "Event": "streams",
    "Stream": "streams",
    "_neg_view": "functions.complex",
    "lobpcg": "functions.linalg.lobpcg",
    "sparse_coo_tensor": "sparse",
    "sparse_compressed_tensor": "sparse",
    "sparse_csr_tensor": "sparse",
    "sparse_csc_tensor": "sparse",
    "sparse_bsr_tensor": "sparse",
    "sparse_bsc_tensor": "sparse",
    "TypedStorage": "storage",
    "UntypedStorage": "storage",
    "is_storage": "storage",
    "hspmm": "sparse",
    "smm": "sparse",
    "spmm": "sparse",
    "dsmm": "sparse",
    "hsmm": "sparse",
    "sspaddmm": "sparse",
    "is_autocast_enabled": "amp.state",
    "set_autocast_enabled": "amp.state",
    "get_autocast_dtype": "amp.state",
    "set_autocast_dtype": "amp.state",
    "is_autocast_cache_enabled": "amp.state",
    "set_autocast_cache_enabled": "amp.state",
    "is_anomaly_check_nan_enabled": "autograd.anomaly",
    "thread_safe_generator": "random",
}
_FROM |= dict.fromkeys(
    (
        "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
        "get_autocast_cpu_dtype", "get_autocast_gpu_dtype", "get_deterministic_debug_mode",
        "get_device_module", "is_autocast_cpu_enabled", "is_vulkan_available",
        "is_warn_always_enabled", "set_anomaly_enabled", "set_autocast_cpu_dtype",
        "set_autocast_cpu_enabled", "set_autocast_gpu_dtype", "set_deterministic_debug_mode",
        "set_warn_always", "sym_float", "sym_int",
        "sym_ite", "sym_max", "sym_min",
        "sym_not", "sym_sqrt", "sym_sum",
    ),
    "switches",
)  # fmt: skip

bool = bool_
float, double, half = float32, float64, float16
int, long, short = int32, int64, int16
cfloat, cdouble = complex64, complex128
e, inf, nan, pi, newaxis = math.e, math.inf, math.nan, math.pi, None


def __getattr__(name: str) -> Any:
    if name in _FROM:
        found = getattr(importlib.import_module(f"flambeau.{_FROM[name]}"), name)
    elif name in _LAZY:
        try:
            found = importlib.import_module(f"flambeau.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"flambeau.{name}":
                raise
            raise AttributeError(_missing(name)) from None
    else:
        raise AttributeError(_missing(name))
    globals()[name] = found
    _overriding.renewed()
    _shown.renewed()
    return found


def _missing(name: str) -> str:
    return (
        f"module '{__name__}' has no attribute '{name}'. Flambeau lacks torch.{name}: "
        "docs/coverage.md lists what is supported"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_FROM})


sys.modules[__name__].__dict__.pop("_name", None)
