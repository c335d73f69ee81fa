"""The history as a graph: nodes, edges, hooks over several tensors."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.autograd import engine
from flambeau.autograd.nodes import Node, node_of
from flambeau.autograd.saved import (
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from flambeau.record.storage import Handle as Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """A place in the graph that a gradient flows to: an output of a node."""

    node: Node
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge at which the gradient of ``tensor`` is whole.

    Raises ``RuntimeError`` if it requires none. ``autograd.grad`` takes it as an input.
    """
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    # The tensor keeps its history alive and is what the engine works with.
    return GradientEdge(node_of(tensor), tensor.output_nr, tensor)


class _Handle:
    """Takes several hooks away."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Takes the hooks away."""
        for h in self.handles:
            h.remove()

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all"
) -> Any:
    """Calls ``fn`` when the gradients of ``tensors`` are there.

    ``mode="all"``: once in each backward, with a list of them (None for those it does not reach);
    ``"any"``: with the first one.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    rounds: dict[Any, list[Any]] = {}
    edges = list(tensors)

    def hook_for(i: int) -> Callable[[Tensor], None]:
        def hook(g: Tensor) -> None:
            run = engine.current_pass()
            with lock:
                if run not in rounds:
                    rounds.clear()
                    reached = run.reaches(edges) if mode == "all" else [False] * len(edges)
                    rounds[run] = [[None] * len(edges), sum(reached), False]
                state = rounds[run]
                state[0][i] = g
                state[1] -= 1
                call = not state[2] and (mode == "any" or state[1] <= 0)
                state[2] |= call
            if call:
                fn(state[0] if mode == "all" else g)

        return hook

    return _Handle([t.register_hook(hook_for(i)) for i, t in enumerate(edges)])


class allow_mutation_on_saved_tensors:
    """A block in which writing to a value that backward needs is no error.

    Values that are recorded but not yet computed are kept apart from later writes anyway; inside
    the block, computed ones are as well: a tensor about to be written takes new memory first.
    """

    def __enter__(self) -> Any:
        engine.keep_saved[0] += 1
        return self

    def __exit__(self, *exc: object) -> None:
        engine.keep_saved[0] -= 1

    def clear(self) -> None:
        """Nothing is kept beyond what the graph keeps."""


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Notes a write to ``tensor`` that was done outside."""
    for t in [tensor] if isinstance(tensor, Tensor) else tensor:
        t._value()
        t._storage.version += 1
