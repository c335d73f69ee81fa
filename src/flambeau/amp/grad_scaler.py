"""``GradScaler``: keeps small gradients of low-precision training from vanishing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from flambeau.dtypes import float16
from flambeau.functions.pointwise import isfinite
from flambeau.tensor import Tensor

__all__ = ["GradScaler"]

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Multiplies the loss by a scale, divides the gradients by it, and adapts the scale.

    ``scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()``. A step whose
    gradients hold an infinity or NaN is left out and the scale multiplied by ``backoff_factor``;
    after ``growth_interval`` steps without one it is multiplied by ``growth_factor``
    [Micikevicius et al. 2018].

    For a device that does not exist here (``device="cuda"``, the default) it warns and is disabled:
    ``scale`` gives its argument back and ``step`` calls ``optimizer.step()``.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device != "cpu":
            warnings.warn(
                f"GradScaler is enabled for {device}, but {device.upper()} is not available. "
                "Disabling.",
                stacklevel=2,
            )
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        # By id of the optimizer, from its first unscale_ or step until update.
        self._stage: dict[int, str] = {}
        self._overflow: dict[int, bool] = {}

    def scale(self, outputs: Tensor | Iterable[Tensor]) -> Any:
        """``outputs`` times the scale: a tensor, or an iterable of them of any depth.

        Raises: ``ValueError`` for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable) and not isinstance(outputs, str):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of ``optimizer``'s parameters by the scale, once an update.

        Raises: ``RuntimeError`` if it did so already, or after ``step``; ``ValueError`` for float16
        gradients, which the division could make zero.
        """
        if not self._enabled:
            return
        stage = self._stage.get(id(optimizer), _READY)
        if stage is _UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if stage is _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if any(gradient.dtype is float16 for gradient in gradients):
            raise ValueError("Attempting to unscale FP16 gradients.")
        if gradients:
            self._overflow[id(optimizer)] = not all(
                isfinite(gradient).all().item() for gradient in gradients
            )
        for gradient in gradients:
            gradient.detach().mul_(1.0 / self._scale)
        self._stage[id(optimizer)] = _UNSCALED

    def step(self, optimizer: Any, *arguments: Any, **options: Any) -> float | None:
        """``optimizer.step(...)``, left out if a gradient overflowed.

        Raises: ``RuntimeError`` for a closure, for a second call before ``update``, and for an
        optimizer none of whose parameters has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*arguments, **options)
        if "closure" in options:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        stage = self._stage.get(id(optimizer), _READY)
        if stage is _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if stage is _READY:
            self.unscale_(optimizer)
        if id(optimizer) not in self._overflow:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not self._overflow[id(optimizer)]:
            result = optimizer.step(*arguments, **options)
        self._stage[id(optimizer)] = _STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapts the scale to what the steps since the last update met, or sets it.

        Raises: ``AssertionError`` if no gradients were looked at.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflow:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._overflow.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._stage.clear()
        self._overflow.clear()

    def get_scale(self) -> float:
        """The scale; 1.0 when disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What a run of good steps multiplies the scale by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets the growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What an overflow multiplies the scale by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets the backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps make the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets the growth interval."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it scales at all."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale and its factors; empty when disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave.

        Raises: ``RuntimeError`` if it is empty, as of a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
