"""Checks of the arguments that optimizers share."""

from __future__ import annotations

from typing import Any

import flambeau


def require(condition: Any, message: str) -> None:
    """Raises ``ValueError(message)`` unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check_lr(lr: Any, message: str = "Invalid learning rate: {}") -> None:
    """A learning rate is a number that is not negative, or a tensor that holds one such number."""
    if isinstance(lr, flambeau.Tensor):
        require(lr.numel() == 1, "Tensor lr must be 1-element")
    require(0.0 <= lr, message.format(lr))


def check_eps(eps: float) -> None:
    """``eps`` keeps a denominator from zero: it is not negative."""
    require(0.0 <= eps, f"Invalid epsilon value: {eps}")


def check_weight_decay(weight_decay: Any) -> None:
    """Weight decay is not negative."""
    require(0.0 <= weight_decay, f"Invalid weight_decay value: {weight_decay}")


def check_betas(betas: Any) -> None:
    """The two decay rates of running averages are in [0, 1)."""
    for index in (0, 1):
        require(
            0.0 <= betas[index] < 1.0, f"Invalid beta parameter at index {index}: {betas[index]}"
        )


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """``fused`` excludes ``differentiable`` and ``foreach``, as in PyTorch."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
