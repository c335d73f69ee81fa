"""Switches and questions of the whole library that have a top-level name in PyTorch."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any

from flambeau.amp import state
from flambeau.autograd.anomaly import set_detect_anomaly
from flambeau.device import device as Device
from flambeau.dtypes import dtype
from flambeau.runtime import (
    are_deterministic_algorithms_enabled,
    is_deterministic_algorithms_warn_only_enabled,
    use_deterministic_algorithms,
)

__all__ = [
    "autocast_decrement_nesting",
    "autocast_increment_nesting",
    "clear_autocast_cache",
    "get_autocast_cpu_dtype",
    "get_autocast_gpu_dtype",
    "get_deterministic_debug_mode",
    "get_device_module",
    "is_autocast_cpu_enabled",
    "is_vulkan_available",
    "is_warn_always_enabled",
    "set_anomaly_enabled",
    "set_autocast_cpu_dtype",
    "set_autocast_cpu_enabled",
    "set_autocast_gpu_dtype",
    "set_deterministic_debug_mode",
    "set_warn_always",
    "sym_float",
    "sym_int",
    "sym_ite",
    "sym_max",
    "sym_min",
    "sym_not",
    "sym_sqrt",
    "sym_sum",
]

_DEBUG_MODES = {"default": 0, "warn": 1, "error": 2}
_warn_always = False
_nesting = 0


# --- determinism, warnings, anomalies, devices ----------------------------------------------------


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """0 or "default": anything goes; 1 or "warn", 2 or "error": what happens otherwise.

    See :func:`torch.use_deterministic_algorithms`.

    Raises: ``TypeError`` for another type, ``RuntimeError`` for another value.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
                f"{debug_mode}"
            )
        debug_mode = _DEBUG_MODES[debug_mode]
    if debug_mode not in _DEBUG_MODES.values():
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as :func:`set_deterministic_debug_mode` says.

    >>> torch.get_deterministic_debug_mode()
    0
    """
    if not are_deterministic_algorithms_enabled():
        return 0
    return 1 if is_deterministic_algorithms_warn_only_enabled() else 2


def set_warn_always(b: bool) -> None:
    """Sets what :func:`is_warn_always_enabled` answers; Python's filters decide what is shown."""
    global _warn_always
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _warn_always = b


def is_warn_always_enabled() -> bool:
    """What :func:`set_warn_always` was last given."""
    return _warn_always


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Has backward look for NaN, or not; see :class:`torch.autograd.set_detect_anomaly`."""
    set_detect_anomaly(enabled, check_nan)


def get_device_module(device: Any = None) -> ModuleType:
    """The module of a type of device: ``torch.cpu``.

    Raises: ``RuntimeError`` for what is no device, or has no module.
    """
    kind = "cpu" if device is None else Device(device).type
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise RuntimeError(
            f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'."
        )
    return importlib.import_module(f"flambeau.{kind}")


def is_vulkan_available() -> bool:
    """Whether there is Vulkan: no."""
    return False


# --- autocast, by older names ---------------------------------------------------------------------


def _deprecated(old: str, new: str) -> None:
    warnings.warn(
        f"torch.{old} is deprecated. Please use torch.{new} instead.",
        DeprecationWarning,
        stacklevel=3,
    )


def is_autocast_cpu_enabled() -> bool:
    """Whether autocast is on for the CPU (deprecated)."""
    _deprecated("is_autocast_cpu_enabled()", "is_autocast_enabled('cpu')")
    return state.is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """Switches autocast for the CPU (deprecated)."""
    _deprecated("set_autocast_cpu_enabled(enabled)", "set_autocast_enabled('cpu', enabled)")
    state.set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dtype:
    """The dtype of autocast on the CPU (deprecated)."""
    _deprecated("get_autocast_cpu_dtype()", "get_autocast_dtype('cpu')")
    return state.get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: dtype) -> None:
    """Chooses the dtype of autocast on the CPU (deprecated)."""
    _deprecated("set_autocast_cpu_dtype(dtype)", "set_autocast_dtype('cpu', dtype)")
    state.set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dtype:
    """The dtype of autocast on a GPU (deprecated)."""
    _deprecated("get_autocast_gpu_dtype()", "get_autocast_dtype('cuda')")
    return state.get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: dtype) -> None:
    """Chooses the dtype of autocast on a GPU (deprecated)."""
    _deprecated("set_autocast_gpu_dtype(dtype)", "set_autocast_dtype('cuda', dtype)")
    state.set_autocast_dtype("cuda", dtype)


def clear_autocast_cache() -> None:
    """Nothing to do: casts of weights are recorded, not kept."""


def autocast_increment_nesting() -> int:
    """Counts a block of autocast that begins; how many there are now."""
    global _nesting
    _nesting += 1
    return _nesting


def autocast_decrement_nesting() -> int:
    """Counts a block of autocast that ends; how many there are still."""
    global _nesting
    _nesting -= 1
    return _nesting


# --- numbers that PyTorch's compiler may not know yet; here they are known ------------------------


def sym_int(a: Any) -> int:
    """The number without its fraction.

    >>> torch.sym_int(-3.7)
    -3
    """
    return int(a)


def sym_float(a: Any) -> float:
    """The number as a float."""
    return float(a)


def sym_not(a: Any) -> bool:
    """Whether it is false."""
    return not a


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """``t`` if ``b``, else ``f``. Raises: ``AssertionError`` for other types than a bool and two of
    a kind.
    """
    if not isinstance(b, bool):
        raise AssertionError(f"expected SymBool or bool, got {type(b)}")
    if type(t) is not type(f):
        raise AssertionError(f"type mismatch: {type(t)} vs {type(f)}")
    return t if b else f


def sym_max(a: Any, b: Any) -> Any:
    """The greater number; a float if either is one.

    >>> torch.sym_max(3, 2.0)
    3.0
    """
    return _of_one_type(max(a, b), a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller number; a float if either is one."""
    return _of_one_type(min(a, b), a, b)


def _of_one_type(value: Any, a: Any, b: Any) -> Any:
    return float(value) if isinstance(a, float) or isinstance(b, float) else value


def sym_sqrt(a: Any) -> float:
    """The square root."""
    return float(a) ** 0.5


def sym_sum(*args: Any) -> Any:
    """The sum of a list, or of all arguments.

    >>> torch.sym_sum([1, 2, 3])
    6
    """
    return sum(args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args)


SAMPLES = {
    "is_vulkan_available": "",
    "sym_float": "3; 2.5; True; !'a'",
    "sym_int": "3.7; -3.7; 4; !inf; !'a'",
    "sym_ite": "True, 1, 2; False, 1, 2; True, 1.5, 2.5; !1, 2, 3",
    "sym_max": "1, 2; 1.5, 2; 3, 1.0; 2, 2",
    "sym_min": "1, 2; 1.5, 2; 3, 1.0; 2, 2",
    "sym_not": "True; False; 0; 3",
    "sym_sqrt": "4; 2.25; 0",
    "sym_sum": "(1, 2, 3); 1, 2; 1, 2.5; ()",
}
