"""Clipping of gradients by norm or by value."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import flambeau
from flambeau.tensor import Tensor

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _without_grad(function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with flambeau.no_grad():
            return function(*args, **kwargs)

    return wrapped


@_without_grad
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of tensors as if they were one vector: the norm of their norms.

    Raises: ``RuntimeError`` for a norm that is not finite, with ``error_if_nonfinite``.

    >>> get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return flambeau.tensor(0.0)
    norms = [t.norm(norm_type) for t in tensors]
    total = flambeau.stack(norms).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def _listed(parameters: Any) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    generator = not isinstance(parameters, (list, tuple)) and iter(parameters) is parameters
    listed = list(parameters)
    if generator and not listed:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3
        )
    return listed


@_without_grad
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Multiplies gradients by ``max_norm / (total_norm + 1e-6)``, or by 1 where that is greater."""
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return
    # Multiplied also by 1, so that nothing waits for the norm's value.
    factor = flambeau.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
    for grad in grads:
        grad.mul_(factor)


@_without_grad
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients so that their joint norm is ``max_norm`` at most; gives the old norm.

    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, 4.0])
    >>> clip_grad_norm_(p, 1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    parameters = _listed(parameters)
    grads = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of :func:`clip_grad_norm_`."""
    warnings.warn(
        "torch.nn.utils.clip_grad_norm is now deprecated in favor of "
        "torch.nn.utils.clip_grad_norm_.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@_without_grad
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limits every element of the gradients to [-clip_value, clip_value].

    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, -4.0])
    >>> clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 1., -1.])
    """
    clip_value = float(clip_value)
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    for p in parameters:
        if p.grad is not None:
            p.grad.clamp_(min=-clip_value, max=clip_value)


SAMPLES = {
    "nn.utils.get_total_norm": "[x.detach(), u.detach()]; [x.detach()], 1.0;"
    " [x.detach(), v.detach()], inf; []; x.detach(); [x.detach() / 0], error_if_nonfinite=False;"
    " ![x.detach() / 0], 2.0, True",
    "nn.utils.clip_grad_norm_": "x, 1.0; [], 1.0;"
    " (lambda p: ((p * p).sum().backward(), p)[1])(nn.Parameter(x.detach())), 0.5;"
    " (lambda p: ((p * p).sum().backward(), p)[1])(nn.Parameter(x.detach())), 0.5, inf;"
    " !(lambda p: ((p / 0).sum().backward(), p)[1])(nn.Parameter(x.detach())), 1.0, 2.0, True",
    "nn.utils.clip_grad_norm": "x, 1.0;"
    " (lambda p: ((p * p).sum().backward(), p)[1])(nn.Parameter(x.detach())), 0.5, 1.0",
    "nn.utils.clip_grads_with_norm_": "x, 0.5, torch.tensor(2.0); [], 1.0, torch.tensor(1.0);"
    " (lambda p: ((p * p).sum().backward(), p)[1])(nn.Parameter(x.detach())), 0.5,"
    " torch.tensor(3.0)",
    "nn.utils.clip_grad_value_": "(lambda p: ((p * p).sum().backward(),"
    " p)[1])(nn.Parameter(x.detach())), 0.5",
}
