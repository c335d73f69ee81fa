"""Parameters that several layers share."""

from __future__ import annotations

from flambeau.nn import Module

__all__ = ["find_shared_parameters", "set_shared_parameters"]


def find_shared_parameters(module: Module) -> list[list[str]]:
    """The names of each parameter that has several.

    >>> layer = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> layer[1].weight = layer[0].weight
    >>> find_shared_parameters(layer)
    [['0.weight', '1.weight']]
    """
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [several for several in names.values() if len(several) > 1]


def set_shared_parameters(module: Module, shared_params: list[list[str]]) -> Module:
    """Gives all names of each list the parameter that the first has."""
    for first, *others in shared_params:
        parameter = module.get_parameter(first)
        for other in others:
            owner, _, name = other.rpartition(".")
            setattr(module.get_submodule(owner), name, parameter)
    return module
