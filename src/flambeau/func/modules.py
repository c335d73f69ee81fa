"""Modules as functions of their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau  # upward: stacks with the public function
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["functional_call", "stack_module_state"]


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

    Those are given by the names of ``named_parameters``; ``tie_weights`` has one name stand for
    all that are the same tensor. Afterwards the module is as it was.

    Raises: ``RuntimeError`` for unknown (or with ``strict`` missing) names, ``ValueError`` for a
    name in several dictionaries or two values for tied names.

    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> torch.func.functional_call(layer, {"weight": torch.tensor([[3.0]])}, torch.tensor([2.0]))
    tensor([6.])
    """
    given: dict[str, Tensor] = {}
    if isinstance(parameter_and_buffer_dicts, dict):
        given = dict(parameter_and_buffer_dicts)
    else:
        for d in parameter_and_buffer_dicts:
            twice = given.keys() & d.keys()
            if twice:
                raise ValueError(
                    f"{sorted(twice)[0]} appears in multiple dictionaries; behavior of functional "
                    "call is ambiguous"
                )
            given.update(d)
    places = _places(module)
    unknown = [name for name in given if name not in places]
    if unknown:
        if strict:
            raise RuntimeError(
                "Error(s) in loading state_dict for {}:\n\tUnexpected key(s): {}.".format(
                    type(module).__name__, ", ".join(repr(n) for n in unknown)
                )
            )
        for name in list(unknown):
            raise KeyError(name) if "." not in name else AttributeError(name)
    if tie_weights:
        _tie(places, given)
    if strict:
        missing = [name for name in places if name not in given]
        if missing:
            raise RuntimeError(
                "Error(s) in loading state_dict for {}:\n\tMissing key(s): {}.".format(
                    type(module).__name__, ", ".join(repr(n) for n in missing)
                )
            )
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    before = []
    try:
        for name, value in given.items():
            table, key = places[name]
            before.append((table, key, table[key]))
            table[key] = value
        return module(*args, **(kwargs or {}))
    finally:
        for table, key, value in reversed(before):
            table[key] = value


def _places(module: Any) -> dict[str, tuple[dict, str]]:
    """For each parameter and buffer by full name: the dictionary it stands in, and its key."""
    found = {}
    for prefix, m in module.named_modules(remove_duplicate=False):
        for table in (m._parameters, m._buffers):
            for key, value in table.items():
                if value is not None:
                    found[f"{prefix}.{key}" if prefix else key] = (table, key)
    return found


def _tie(places: dict[str, tuple[dict, str]], given: dict[str, Tensor]) -> None:
    """Has a value given for one name of a tensor stand for its other names."""
    names: dict[int, list[str]] = {}
    for name, (table, key) in places.items():
        names.setdefault(id(table[key]), []).append(name)
    for same in names.values():
        values = [given[n] for n in same if n in given]
        if not values:
            continue
        if any(v is not values[0] for v in values):
            raise ValueError(
                f"functional_call got multiple values for keys {[n for n in same if n in given]}, "
                "which are tied. Consider using tie_weights=False"
            )
        for n in same:
            given[n] = values[0]


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
