"""How many floating-point operations a step takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.nn import Module
from flambeau.trainer.utilities.model_summary import measured, settle

__all__ = ["measure_flops"]


def measure_flops(
    model: Module,
    forward_fn: Callable[[], Any],
    loss_fn: Callable[[Any], Any] | None = None,
) -> int:
    """The operations of ``forward_fn`` and, with ``loss_fn``, of its loss and the backward: two for
    each product of two numbers in products of matrices, convolutions and attention.

    Gradients of ``model`` are forgotten.

    >>> layer, x = nn.Linear(3, 4), torch.ones(2, 3)
    >>> measure_flops(layer, lambda: layer(x))
    48
    """
    with measured([]) as count:
        output = forward_fn()
        if loss_fn is not None:
            loss_fn(output).backward()
        settle()
    if loss_fn is not None:
        model.zero_grad()
    return count.products
