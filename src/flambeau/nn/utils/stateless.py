"""Calls of a module with other values in place of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the given tensors as its parameters and buffers.

    Args:
        parameters_and_buffers: by dotted name; several dictionaries may not share a name.
        tie_weights: gives a parameter known under two names the one value under both.
        strict: whether every name must be given, and no other.
    Raises: ``ValueError`` for a name in two dictionaries, ``RuntimeError`` for names that do not
    fit with ``strict``, or that lead to nothing.

    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> functional_call(layer, {"weight": torch.tensor([[2.0]])}, torch.tensor([3.0]))
    tensor([6.])
    """
    given = _merged(parameters_and_buffers)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    names: dict[Tensor, list[str]] = {}
    for find in (module.named_parameters, module.named_buffers):
        for name, value in find(remove_duplicate=False):
            names.setdefault(value, []).append(name)
    known = {name for tied in names.values() for name in tied}
    if tie_weights:
        given = _tied(given, names.values())
    if strict:
        missing, unexpected = sorted(known - given.keys()), sorted(given.keys() - known)
        wrong = [f"Unexpected key(s): {', '.join(unexpected)}."] if unexpected else []
        wrong += [f"Missing key(s): {', '.join(missing)}."] if missing else []
        if wrong:
            raise RuntimeError(
                f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(wrong)
            )
    undo = []
    try:
        for name, value in given.items():
            path, _, last = name.rpartition(".")
            owner = module.get_submodule(path)
            registry = owner._parameters if last in owner._parameters else owner._buffers
            if last not in registry:
                raise AttributeError(f"{owner._get_name()} has no attribute `{last}`")
            undo.append((registry, last, registry[last], value))
            registry[last] = value
        return module(*args, **(kwargs or {}))
    finally:
        for registry, last, old, value in reversed(undo):
            now = registry.get(last)
            if now is not value and isinstance(given, dict):
                # A buffer that the call replaced is handed back under its name.
                for name in [n for n, v in given.items() if v is value]:
                    given[name] = now
            registry[last] = old


def _merged(given: Any) -> dict[str, Tensor]:
    if isinstance(given, dict):
        return given
    if not isinstance(given, Sequence):
        raise TypeError(
            "Expected parameters_and_buffers to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    if not all(isinstance(part, dict) for part in given):
        raise TypeError("Expected all elements of parameters_and_buffers to be dictionaries")
    keys = [key for part in given for key in part]
    repeated = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if repeated:
        raise ValueError(
            f"{repeated} appeared in multiple dictionaries; behavior of functional "
            "call is ambiguous"
        )
    return {key: value for part in given for key, value in part.items()}


def _tied(given: dict[str, Tensor], groups: Any) -> dict[str, Tensor]:
    out = dict(given)
    for names in groups:
        values = [given[name] for name in names if name in given]
        if any(value is not values[0] for value in values):
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(set(names) & set(given))}, "
                "which are tied. Consider using tie_weights=False"
            )
        if values:
            out.update(dict.fromkeys(names, values[0]))
    return out if len(out) != len(given) else given
