"""The layers of a module, in the order they are run: kind, shapes, parameters."""

from __future__ import annotations

from typing import Any

import flambeau as torch  # upward: an application, written against the public face like a user's

__all__ = ["layers_of"]


def layers_of(module: torch.nn.Module) -> list[dict[str, Any]]:
    """A row for each layer without layers of its own.

    With an ``example_input_array`` the rows are in the order of its way through the module, with
    the shapes that come out; otherwise in the order they were made.
    """
    leaves = {
        name: layer
        for name, layer in module.named_modules()
        if name and next(layer.children(), None) is None
    }
    shapes = _shapes(module, leaves)
    order = [*shapes, *(name for name in leaves if name not in shapes)]
    return [
        {
            "name": name,
            "kind": type(leaves[name]).__name__,
            "output": shapes.get(name),
            "parameters": sum(p.numel() for p in leaves[name].parameters(recurse=False)),
        }
        for name in order
    ]


def _shapes(module: torch.nn.Module, leaves: dict[str, torch.nn.Module]) -> dict[str, list[int]]:
    example = getattr(module, "example_input_array", None)
    if not isinstance(example, torch.Tensor):
        return {}
    found: dict[str, list[int]] = {}

    def note(name: str) -> Any:
        def hook(layer: Any, given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                found.setdefault(name, list(output.shape))

        return hook

    handles = [layer.register_forward_hook(note(name)) for name, layer in leaves.items()]
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
        for layer, mode in modes.items():
            layer.training = mode
    return found
