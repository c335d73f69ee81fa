"""How much to prune: checks of amounts and dimensions, and the norms of channels."""

from __future__ import annotations

import numbers
from typing import Any

from flambeau.tensor import Tensor


def check_amount(amount: Any) -> None:
    """Raises unless it is a fraction in [0, 1] or a number of at least 0."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    integral = isinstance(amount, numbers.Integral)
    if (integral and amount < 0) or (not integral and not 0.0 <= float(amount) <= 1.0):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
            "integer"
        )


def check_amount_for(count: int, size: int) -> None:
    """Raises if there is not as much to prune."""
    if count > size:
        raise ValueError(
            f"amount={count} should be smaller than the number of parameters to prune={size}"
        )


def count_of(amount: Any, size: int) -> int:
    """How many of ``size`` an amount is."""
    return amount if isinstance(amount, numbers.Integral) else round(amount * size)


def check_structured(t: Tensor) -> None:
    """Raises for vectors, which have no channels."""
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of "
            f"shape {t.shape} with {t.dim()} dims"
        )


def check_dim(t: Tensor, dim: int) -> None:
    """Raises for a dimension the tensor does not have."""
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def norm_along(t: Tensor, n: Any, dim: int) -> Tensor:
    """The norm of order ``n`` of each channel of a dimension."""
    return t.norm(p=n, dim=[d for d in range(t.dim()) if d != dim % t.dim()])
