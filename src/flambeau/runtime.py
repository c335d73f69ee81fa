"""Process-wide switches: threads, determinism, precision."""

from __future__ import annotations

import ctypes
import os
import platform

from flambeau.ir.reference import blas
from flambeau.run import program

_state = {
    "interop": os.cpu_count() or 1,
    "deterministic": False,
    "warn_only": False,
    "precision": "highest",
}


def set_num_threads(num: int) -> None:
    """How many threads kernels may use. ``RuntimeError`` unless positive.

    Tier 0 computes with NumPy, whose BLAS is told, too: OpenBLAS directly, others through
    threadpoolctl where that is installed.
    """
    if not isinstance(num, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    from flambeau.run.compiler import threads  # only who asks pays for it

    threads.set_num_threads(num)
    blas.set_threads(num)
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return
    threadpool_limits(num)


def get_num_threads() -> int:
    """How many threads kernels may use."""
    from flambeau.run.compiler import threads

    return threads.get_num_threads()


def set_num_interop_threads(num: int) -> None:
    """Noted: operations run one after the other."""
    if num <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _state["interop"] = num


def get_num_interop_threads() -> int:
    """What ``set_num_interop_threads`` set."""
    return _state["interop"]


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Asks for the same bits on every run: what tier 0 gives anyway."""
    _state["deterministic"], _state["warn_only"] = bool(mode), bool(warn_only)
    program.compile_at_once(bool(mode))


def are_deterministic_algorithms_enabled() -> bool:
    """What ``use_deterministic_algorithms`` set."""
    return _state["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What ``use_deterministic_algorithms(warn_only=)`` set."""
    return _state["warn_only"]


def set_float32_matmul_precision(precision: str) -> None:
    """Noted: products are computed in full float32."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', 'medium'")
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` set."""
    return _state["precision"]


# Bits of x86's control word: results that are denormal, and operands, are taken for zero.
_FLUSH = 0x8040
# Where glibc's ``fenv_t`` has that word, and its size.
_CONTROL, _ENVIRONMENT = 28, 32


def set_flush_denormal(mode: bool) -> bool:
    """Has this thread take denormal numbers for zero, or not; False where that cannot be set.

    It can on x86 with glibc. Other threads, the compiler's pool among them, go on as they were.

    >>> can_be_set = torch.set_flush_denormal(False)
    """
    if platform.machine() not in ("x86_64", "AMD64") or platform.libc_ver()[0] != "glibc":
        return False
    libm = ctypes.CDLL("libm.so.6")
    environment = ctypes.create_string_buffer(_ENVIRONMENT)
    if libm.fegetenv(environment):
        return False
    word = int.from_bytes(environment.raw[_CONTROL:], "little")
    word = word | _FLUSH if mode else word & ~_FLUSH
    environment[_CONTROL:] = word.to_bytes(_ENVIRONMENT - _CONTROL, "little")
    return libm.fesetenv(environment) == 0
