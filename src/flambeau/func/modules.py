"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.nn.batchnorm import _BatchNorm
from flambeau.nn.utils.stateless import called_with
from flambeau.tensor import Tensor

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with other tensors for (some of) its parameters and buffers.

    Those are given by the names of ``named_parameters``, in a dictionary or several;
    ``tie_weights`` has one name stand for all that are the same tensor. Afterwards the module is as
    it was; buffers that the call replaced stand in the dictionary.

    Raises: ``RuntimeError`` for names that do not fit, with ``strict``; ``AttributeError`` for one
    that leads through no module; ``ValueError`` for a name in several dictionaries, or two values
    for tied names.

    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> torch.func.functional_call(layer, {"weight": torch.tensor([[3.0]])}, torch.tensor([2.0]))
    tensor([6.])
    """
    return called_with(
        module, _merged(parameter_and_buffer_dicts), args, kwargs, tie_weights, strict
    )


def _merged(given: Any) -> dict[str, Tensor]:
    if isinstance(given, dict):
        return given
    if not isinstance(given, Sequence):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    if not all(isinstance(part, dict) for part in given):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    keys = [key for part in given for key in part]
    repeated = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if repeated:
        raise ValueError(
            f"{repeated} appeared in multiple dictionaries; behavior of functional call is "
            "ambiguous"
        )
    return {key: value for part in given for key, value in part.items()}


def stack_module_state(
    models: Sequence[Any],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of models of one architecture, each stacked along a new dimension 0.

    For ``vmap`` over an ensemble with ``functional_call``. The parameters are new leaves.

    Raises: ``RuntimeError`` for no models, or models of different classes or modes.

    >>> params, buffers = torch.func.stack_module_state([torch.nn.Linear(2, 1) for _ in range(3)])
    >>> params["weight"].shape
    torch.Size([3, 1, 2])
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {k: _stacked([p[k] for p in params]) for k in params[0]},
        {k: _stacked([b[k] for b in buffers]) for k in buffers[0]},
    )


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    wanted = [t.requires_grad for t in tensors]
    if len(set(wanted)) > 1:
        raise RuntimeError(
            "Expected each model's parameters and buffers to have the same .requires_grad"
        )
    with flambeau.no_grad():
        found = flambeau.stack([t.detach() for t in tensors])
    return found.requires_grad_(wanted[0])


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Takes the running statistics out of every batch norm of a module, which is given back.

    What is left normalises by the batch alone and writes nothing, which ``vmap`` and ``grad`` can
    do.

    >>> bn = torch.func.replace_all_batch_norm_modules_(nn.BatchNorm1d(2))
    >>> bn.running_mean is None, bn.track_running_stats
    (True, False)
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "func.functional_call": (
        "nn.Linear(4, 2), {'weight': m[:2], 'bias': v[:2]}, x; "
        "nn.Linear(4, 2), {'weight': m[:2]}, (x,); "
        "nn.BatchNorm1d(4), {'running_mean': v, 'weight': w}, x; "
        "nn.Sequential(nn.Linear(4, 4)), ({'0.weight': m}, {'0.bias': v}), (x,), {}; "
        "!nn.Linear(4, 2), {'weight': x[:2]}, x, strict=True; "
        "!nn.Linear(4, 2), ({'weight': m[:2]}, {'weight': m[:2]}), x"
    ),
    "func.stack_module_state": (
        "[nn.Linear(4, 2), nn.Linear(4, 2)]; [nn.BatchNorm1d(4), nn.BatchNorm1d(4)]; ![]; "
        "![nn.Linear(4, 2), nn.ReLU()]"
    ),
    "func.replace_all_batch_norm_modules_": (
        "nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)); nn.ReLU()"
    ),
}
