"""Activation checkpointing: forget what a function computed, compute it again for its backward."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from flambeau import autograd
from flambeau.amp import state as autocast_state
from flambeau.random import fork_rng, get_rng_state, set_rng_state
from flambeau.tensor import Tensor

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(RuntimeError):
    """The second computation did not give what the first gave."""


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Contexts for the first and the second computation that do nothing."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[
        [], tuple[AbstractContextManager, AbstractContextManager]
    ] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, computed again in backward instead of being kept.

    With ``use_reentrant=True`` the first computation runs under ``no_grad`` and backward runs a
    backward of its own inside, so an input must require grad for parameters to get gradients, and
    ``autograd.grad`` cannot be used. With ``False`` gradients reach every leaf tensor that
    ``function`` uses, whether given or captured, and keyword arguments are passed on.
    Random numbers are the same both times unless ``preserve_rng_state=False``.

    Raises: ``ValueError`` for ``context_fn``, ``debug`` or keyword arguments with
    ``use_reentrant=True``; ``CheckpointError`` in backward if shapes or dtypes differ the second
    time. Source: [Chen et al. 2016], "Training deep nets with sublinear memory cost".
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "use_reentrant=False is recommended; use_reentrant=True is the default.",
            stacklevel=2,
        )
        use_reentrant = True
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of 'default', 'none', got {determinism_check}"
        )
    replay = _Replay(function, preserve_rng_state)
    if use_reentrant:
        if kwargs:
            raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        tensors = [value for value in args if isinstance(value, Tensor)]
        if autograd.is_grad_enabled() and not any(value.requires_grad for value in tensors):
            warnings.warn(
                "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
            )
        return _Reentrant.apply(replay, *args)
    first, second = context_fn()
    if not autograd.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    return _checkpoint_leaves(replay, args, kwargs, first, second, determinism_check == "default")


class _Replay:
    """A function with the ambient state of its first computation, to be computed again."""

    def __init__(self, function: Callable, preserve_rng_state: bool) -> None:
        self.function = function
        self.rng = get_rng_state() if preserve_rng_state else None
        self.precision = autocast_state.active()

    @contextlib.contextmanager
    def ambient(self) -> Iterator[None]:
        """The generator and autocast as they were; grad mode on."""
        outer = autocast_state.active()
        with fork_rng(enabled=self.rng is not None), autograd.enable_grad():
            if self.rng is not None:
                set_rng_state(self.rng)
            autocast_state.activate(self.precision)
            try:
                yield
            finally:
                autocast_state.activate(outer)


class _Reentrant(autograd.Function):
    """Keeps the inputs only; its backward computes the outputs again and runs their backward."""

    @staticmethod
    def forward(ctx: Any, replay: _Replay, *args: Any) -> Any:
        ctx.replay = replay
        ctx.places = [i for i, value in enumerate(args) if isinstance(value, Tensor)]
        ctx.others = [None if isinstance(value, Tensor) else value for value in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with autograd.no_grad():
            return replay.function(*args)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        values = list(ctx.others)
        for place, tensor in zip(ctx.places, ctx.saved_tensors):
            values[place] = tensor.detach().requires_grad_(tensor.requires_grad)
        with ctx.replay.ambient():
            outputs = ctx.replay.function(*values)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [
            (output, gradient)
            for output, gradient in zip(outputs, gradients)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not wanted:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        autograd.backward([output for output, _ in wanted], [gradient for _, gradient in wanted])
        given = (value.grad if isinstance(value, Tensor) else None for value in values)
        return (None, *given)


class _OverLeaves(autograd.Function):
    """Gives values computed already; its backward computes them again and differentiates."""

    @staticmethod
    def forward(ctx: Any, again: _Again, outputs: list[Tensor], *inputs: Tensor) -> Any:
        ctx.again = again
        ctx.save_for_backward(*inputs)
        return tuple(output.detach() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        return (None, None, *ctx.again.gradients(ctx.saved_tensors, gradients))


class _Again:
    """Computes a checkpointed function a second time, over detached inputs and captured leaves."""

    def __init__(
        self,
        replay: _Replay,
        context: AbstractContextManager,
        arguments: tuple[tuple, dict[str, Any]],
        count: int,
        metas: list[tuple] | None,
    ) -> None:
        self.replay = replay
        self.context = context
        self.arguments = arguments
        self.count = count  # how many of the inputs are arguments; the rest are captured
        self.metas = metas

    def gradients(self, inputs: Sequence[Tensor], gradients: Sequence[Any]) -> tuple[Any, ...]:
        given = [
            value.detach().requires_grad_(value.requires_grad) for value in inputs[: self.count]
        ]
        with self.replay.ambient(), self.context:
            args, kwargs = _fill(self.arguments, iter(given))
            outputs = _differentiable(self.replay.function(*args, **kwargs))
        if self.metas is not None and _metas(outputs) != self.metas:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values have different metadata than during "
                f"the forward pass. forward: {self.metas}, recomputed: {_metas(outputs)}"
            )
        sources = [*given, *inputs[self.count :]]
        places = [i for i, source in enumerate(sources) if source.requires_grad]
        wanted = [(o, g) for o, g in zip(outputs, gradients) if g is not None]
        # A captured tensor's own history lies outside: what runs through it must stay intact.
        found = autograd.grad(
            [output for output, _ in wanted],
            [sources[place] for place in places],
            [gradient for _, gradient in wanted],
            retain_graph=True,
            allow_unused=True,
        )
        result: list[Any] = [None] * len(sources)
        for place, gradient in zip(places, found):
            result[place] = gradient
        return tuple(result)


def _checkpoint_leaves(
    replay: _Replay,
    args: tuple,
    kwargs: dict[str, Any],
    first: AbstractContextManager,
    second: AbstractContextManager,
    check: bool,
) -> Any:
    own = _tensors((args, kwargs))
    stand_ins = [value.detach().requires_grad_(value.requires_grad) for value in own]
    filled_args, filled_kwargs = _fill((args, kwargs), iter(stand_ins))
    with first:
        result = replay.function(*filled_args, **filled_kwargs)
    outputs = _differentiable(result)
    if not outputs:
        return _fill(result, iter(_originals(result, stand_ins, own)))
    known = {id(value) for value in stand_ins}
    captured = [leaf for leaf in _leaves(outputs) if id(leaf) not in known]
    again = _Again(replay, second, (args, kwargs), len(own), _metas(outputs) if check else None)
    replaced = _OverLeaves.apply(again, outputs, *own, *captured)
    by_id = {id(old): new for old, new in zip(outputs, replaced)}
    by_id.update({id(stand_in): value for stand_in, value in zip(stand_ins, own)})
    return _fill(result, iter([by_id.get(id(value), value) for value in _tensors(result)]))


def _originals(result: Any, stand_ins: list[Tensor], own: list[Tensor]) -> list[Tensor]:
    by_id = {id(stand_in): value for stand_in, value in zip(stand_ins, own)}
    return [by_id.get(id(value), value) for value in _tensors(result)]


def _differentiable(result: Any) -> list[Tensor]:
    return [value for value in _tensors(result) if value.grad_fn is not None]


def _metas(outputs: list[Tensor]) -> list[tuple]:
    return [(tuple(value.shape), value.dtype) for value in outputs]


def _leaves(outputs: list[Tensor]) -> list[Tensor]:
    """The leaf tensors that require grad below ``outputs``, each once, in order of discovery."""
    found: dict[int, Tensor] = {}
    seen = set()
    stack = [output.grad_fn for output in outputs]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.setdefault(id(leaf), leaf)
        stack.extend(below for below, _ in node.next_functions)
    return list(found.values())


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _fill(value: Any, tensors: Iterator[Tensor]) -> Any:
    """``value`` with its tensors replaced, in the order of :func:`_tensors`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {key: _fill(item, tensors) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_fill(item, tensors) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_fill(item, tensors) for item in value)
    return value


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Runs a ``Sequential`` or list of functions in ``segments`` parts, the last not checkpointed.

    Raises: ``ValueError`` for keyword arguments other than ``preserve_rng_state``.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly. use_reentrant=False is recommended; True is the default.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    layers = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(layers):
        raise ValueError(
            f"checkpoint_sequential: segments must be from 1 to the number of functions "
            f"({len(layers)}), got {segments}"
        )
    size = len(layers) // segments
    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(
            _chain(layers[start : start + size]),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve,
        )
    return _chain(layers[last:])(input)


def _chain(layers: Sequence[Callable]) -> Callable:
    def run(value: Any) -> Any:
        for layer in layers:
            value = layer(value)
        return value

    return run
