"""``autocast``: a region where the matmul family computes in lower precision."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from flambeau.amp import state
from flambeau.dtypes import bfloat16, dtype, float16, float32
from flambeau.tensor import Tensor

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICES = ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "xla", "meta")
_ON_CPU = (bfloat16, float16)


class autocast:
    """Inside ``with``, matrix products and convolutions compute in ``dtype``.

    Their floating inputs are cast to ``dtype`` (bfloat16 on the CPU unless chosen otherwise) and so
    is their result; everything else follows by promotion. Parameters keep their dtype, gradients
    have it. It is also a decorator, and nests; ``enabled=False`` inside turns it off again.

    For a device that does not exist here it warns, and stays off, as PyTorch does.

    Raises: ``RuntimeError`` for a ``device_type`` that is none, ``ValueError`` if it is no string.
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'; "
                f"expected one of {', '.join(_DEVICES)}"
            )
        self.device = device_type
        self.fast_dtype = dtype or state.get_autocast_dtype(device_type)
        if enabled and device_type != "cpu":
            warnings.warn(
                f"{device_type.upper()} is not available. Disabling autocast.", stacklevel=2
            )
            enabled = False
        if enabled and self.fast_dtype not in _ON_CPU:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._cache_enabled = state.is_autocast_cache_enabled()
        if cache_enabled is not None:
            self._cache_enabled = cache_enabled
        # One object may be entered several times over, as a decorator on a recursive function is.
        self._outer: list[tuple[Any, bool]] = []

    def __enter__(self) -> autocast:
        self._outer.append((state.active(), state.is_autocast_cache_enabled()))
        if self.device == "cpu":
            state.activate(self.fast_dtype if self._enabled else None)
        state.set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *exception: object) -> None:
        precision, cache = self._outer.pop()
        state.activate(precision)
        state.set_autocast_cache_enabled(cache)

    def __call__(self, function: Callable) -> Callable:
        """``function``, run inside this region."""

        @functools.wraps(function)
        def inside(*arguments: Any, **options: Any) -> Any:
            with self:
                return function(*arguments, **options)

        return inside


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can be switched on for a device type: on the CPU."""
    return device_type == "cpu"


def custom_fwd(
    fwd: Callable | None = None, *, device_type: str, cast_inputs: dtype | None = None
) -> Callable:
    """Decorates ``forward`` of a custom ``autograd.Function`` so that it knows about autocast.

    With ``cast_inputs``, floating tensors are cast to it inside autocast, and ``forward`` runs with
    autocast off; without, it runs in the surrounding state, which ``custom_bwd`` restores.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*arguments: Any, **options: Any) -> Any:
        context = arguments[0]
        context._dtype = state.get_autocast_dtype(device_type)
        enabled = state.is_autocast_enabled(device_type)
        if cast_inputs is None:
            context._fwd_used_autocast = enabled
            return fwd(*arguments, **options)
        context._fwd_used_autocast = False
        if not enabled:
            return fwd(*arguments, **options)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(arguments, cast_inputs), **_cast(options, cast_inputs))

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorates ``backward`` of a custom ``autograd.Function``: runs it in forward's state."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*arguments: Any, **options: Any) -> Any:
        context = arguments[0]
        with autocast(device_type, context._dtype, enabled=context._fwd_used_autocast):
            return bwd(*arguments, **options)

    return backward


def _cast(value: Any, target: dtype) -> Any:
    """``value`` with the floating tensors in it (double precision excepted) cast to ``target``."""
    if isinstance(value, Tensor):
        lower = value.dtype in (bfloat16, float16, float32)
        return value.to(target) if lower else value
    if isinstance(value, Mapping):
        return {key: _cast(item, target) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_cast(item, target) for item in value)
    return value
