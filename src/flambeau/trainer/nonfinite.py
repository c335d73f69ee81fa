"""A loss that became NaN or infinite: at which step, in which batch, from which layer on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import nn
from flambeau.tensor import Tensor
from flambeau.trainer.utilities.exceptions import NonFiniteLossError

__all__ = ["non_finite_gradient", "non_finite_loss"]


def non_finite_loss(
    module: nn.Module,
    again: Callable[[], Any],
    value: float,
    batch: Any,
    where: str,
    updated: bool,
) -> NonFiniteLossError:
    """The error that says where a loss of ``value`` comes from.

    ``again`` computes the forward a second time; hooks on every submodule find the first whose
    output is not finite. ``updated``: the parameters have taken a step since.
    """
    if not _finite(batch):
        return NonFiniteLossError(f"the loss is {value} at {where}: the batch itself holds NaN/inf")
    found = _first_layer(module, again)
    message = f"the loss is {value} at {where}: "
    if found is None:
        message += (
            "every layer's output is finite, so it comes from what is computed of them in "
            f"{type(module).__name__}.training_step (a logarithm or a division by zero, say)"
        )
        return NonFiniteLossError(message)
    path, layer, bad = found
    message += f"the first layer whose output is not finite is '{path}' ({type(layer).__name__})"
    if bad is not None:
        message += f", whose parameter '{bad}' holds NaN/inf"
        if updated:
            message += (
                ". The step with this loss's gradients may have put it there: go on from the last "
                "checkpoint with Trainer(detect_anomaly=True) to stop before the step"
            )
    return NonFiniteLossError(message)


def non_finite_gradient(module: nn.Module, where: str) -> NonFiniteLossError | None:
    """The error for a gradient that is not finite, although the loss is; None if all are."""
    for name, parameter in reversed(list(module.named_parameters())):
        if parameter.grad is not None and not _finite(parameter.grad):
            return NonFiniteLossError(
                f"the gradient of '{name}' holds NaN/inf at {where}, although the loss is finite; "
                "it is the last such parameter, the first that the backward reached"
            )
    return None


class _Found(Exception):
    """Ends the second forward."""


def _first_layer(
    module: nn.Module, again: Callable[[], Any]
) -> tuple[str, nn.Module, str | None] | None:
    found: list[tuple[str, nn.Module]] = []

    def look(path: str, layer: nn.Module) -> Callable:
        def hook(layer_: Any, inputs: Any, output: Any) -> None:
            if not _finite(output):
                found.append((path, layer))
                raise _Found

        return hook

    handles = [
        layer.register_forward_hook(look(path, layer))
        for path, layer in module.named_modules()
        if path
    ]
    try:
        with flambeau.no_grad():
            again()
    except _Found:
        path, layer = found[0]
        bad = next(
            (n for n, t in [*layer.named_parameters(), *layer.named_buffers()] if not _finite(t)),
            None,
        )
        return path, layer, bad
    except Exception:
        # A second forward may fail where the first did not: a module that calls backward itself.
        return None
    finally:
        for handle in handles:
            handle.remove()
    return None


def _finite(values: Any) -> bool:
    if isinstance(values, Tensor):
        floating = values.is_floating_point() or values.is_complex()
        return not floating or bool(flambeau.isfinite(values).all())
    if isinstance(values, dict):
        return all(map(_finite, values.values()))
    if isinstance(values, (list, tuple)):
        return all(map(_finite, values))
    return True
