"""Calls of a module with other values in place of its parameters and buffers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = ["functional_call"]

_MISSING = object()


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The older name of :func:`torch.func.functional_call` (deprecated); takes one dictionary."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
        "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead "
        "which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return called_with(module, parameters_and_buffers, args, kwargs, tie_weights, strict)


def called_with(
    module: Module,
    given: dict[str, Tensor],
    args: Any,
    kwargs: dict[str, Any] | None,
    tie_weights: bool,
    strict: bool,
) -> Any:
    """``module(*args, **kwargs)`` with the tensors of ``given`` in the places of their names."""
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def _replaced(
    module: Module, given: dict[str, Tensor], tie_weights: bool, strict: bool
) -> Iterator[None]:
    """Within, the module has other tensors; what it replaces of them itself is handed back."""
    names: dict[Tensor, list[str]] = {}
    for find in (module.named_parameters, module.named_buffers):
        for name, value in find(remove_duplicate=False):
            names.setdefault(value, []).append(name)
    values = _tied(given, names.values()) if tie_weights else dict(given)
    if strict:
        _check(module, {name for tied in names.values() for name in tied}, values.keys())
    before: list[tuple[dict, str, Any]] = []
    places: dict[str, tuple[dict, str]] = {}
    try:
        for name, value in values.items():
            places[name] = registry, last = _place(module, name)
            before.append((registry, last, registry.get(last, _MISSING)))
            registry[last] = value
        yield
    finally:
        given.update({n: r[last] for n, (r, last) in places.items() if n in given and last in r})
        for registry, last, old in reversed(before):
            if old is _MISSING:
                del registry[last]
            else:
                registry[last] = old


def _place(module: Module, name: str) -> tuple[dict, str]:
    """The dictionary in which a dotted name is found, and its key there."""
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    for registry in (owner._parameters, owner._buffers):
        if last in registry:
            return registry, last
    return owner.__dict__, last


def _check(module: Module, known: set[str], given: Iterable[str]) -> None:
    def listed(names: set[str]) -> str:
        return ", ".join(map(repr, sorted(names))) + "."

    missing, unexpected = known - set(given), set(given) - known
    wrong = [f"Unexpected key(s): {listed(unexpected)}"] if unexpected else []
    wrong += [f"Missing key(s): {listed(missing)}"] if missing else []
    if wrong:
        raise RuntimeError(
            f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(wrong)
        )


def _tied(given: dict[str, Tensor], groups: Iterable[list[str]]) -> dict[str, Tensor]:
    """With each value given for one name of a tensor standing for its other names."""
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
    return out
