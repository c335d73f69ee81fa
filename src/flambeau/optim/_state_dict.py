"""An optimizer's state as a dictionary in PyTorch's format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING, Any

import flambeau

if TYPE_CHECKING:
    from flambeau.optim.optimizer import Optimizer


def pack(optimizer: Optimizer) -> dict[str, Any]:
    """State and groups with parameters replaced by their numbers, in order of first appearance."""
    numbers: dict[int, int] = {}
    for group in optimizer.param_groups:
        for param in group["params"]:
            numbers.setdefault(id(param), len(numbers))
    groups = [
        {
            **{key: value for key, value in group.items() if key != "params"},
            "params": [numbers[id(param)] for param in group["params"]],
        }
        for group in optimizer.param_groups
    ]
    state = {
        numbers[id(key)] if isinstance(key, flambeau.Tensor) else key: value
        for key, value in optimizer.state.items()
    }
    return {"state": state, "param_groups": groups}


def restore(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """``state`` and ``param_groups`` of ``state_dict``, bound to the optimizer's own parameters."""
    groups = optimizer.param_groups
    saved_groups = deepcopy(state_dict["param_groups"])
    if len(groups) != len(saved_groups):
        raise ValueError("loaded state dict has a different number of parameter groups")
    if any(
        len(group["params"]) != len(saved["params"])
        for group, saved in zip(groups, saved_groups, strict=True)
    ):
        raise ValueError(
            "loaded state dict contains a parameter group that doesn't match the size of "
            "optimizer's group"
        )
    params = dict(
        zip(
            chain.from_iterable(saved["params"] for saved in saved_groups),
            chain.from_iterable(group["params"] for group in groups),
            strict=True,
        )
    )
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, value in state_dict["state"].items():
        if key in params:
            state[params[key]] = _cast(params[key], value)
        else:
            state[key] = value
    for group, saved in zip(groups, saved_groups, strict=True):
        saved["params"] = group["params"]
        if "param_names" in group and "param_names" not in saved:
            saved["param_names"] = group["param_names"]
    return {"state": state, "param_groups": saved_groups}


def _cast(param: flambeau.Tensor, value: Any, key: Any = None) -> Any:
    """A copy of saved state on the parameter's device, in its dtype if both are floating."""
    if isinstance(value, flambeau.Tensor):
        if key == "step":
            return value.detach().clone().to(dtype=flambeau.float32)
        if param.is_floating_point():
            return value.to(dtype=param.dtype, device=param.device)
        return value.to(device=param.device)
    if isinstance(value, dict):
        return {key: _cast(param, entry, key) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        kind: Any = type(value)
        return kind(_cast(param, entry) for entry in value)
    return value
