"""Modules without initialisation, for parameters that are loaded right after."""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.nn.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """``module_cls(*args, **kwargs)`` whose parameters and buffers are whatever memory held.

    Its class must take ``device``, like the layers of ``torch.nn``. The random generator is left
    where it was.

    Raises: ``RuntimeError`` if it is no module class, or takes no ``device``.

    >>> state = torch.get_rng_state()
    >>> layer = torch.nn.utils.skip_init(nn.Linear, 5, 1)
    >>> layer.weight.shape, torch.equal(state, torch.get_rng_state())
    (torch.Size([1, 5]), True)
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, **kwargs, device="meta").to_empty(device=device)


SAMPLES = {
    "nn.utils.skip_init": "nn.Linear, 3, 0, bias=False; !nn.ReLU; !3",
}
