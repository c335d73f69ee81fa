"""Hooks on what is saved for backward."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd.values import concrete, grad_mode
from flambeau.record import flush
from flambeau.record.alias import version_of
from flambeau.record.segment import noted
from flambeau.record.storage import Handle
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flambeau.ir.graph import Aval
    from flambeau.record.segment import Segment
    from flambeau.record.storage import Handle as Tensor

__all__ = ["disable_saved_tensors_hooks", "pack", "save_on_cpu", "saved_tensors_hooks"]


class _State(threading.local):
    """The pairs of hooks in force, the innermost last, and why there may be none."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Callable, Callable]] = []
        self.refusal: str | None = None


_state = _State()


class saved_tensors_hooks:
    """A block in which tensors that are saved for backward pass through two functions.

    ``pack_hook(tensor)`` gives what is kept in the tensor's place, ``unpack_hook`` of that gives
    the tensor when backward asks for it.

    A custom ``Function`` calls ``pack_hook`` where it saves a tensor. What built-in operations save
    is decided when they run, together: what is recorded is run at the ends of the block (and where
    a value is read), and ``pack_hook`` is called at its end, or before a backward within it, once
    for each value that the way back reads. These are operands and results as in PyTorch, but none
    that fused operations compute again, and none twice.

    Raises ``TypeError`` in backward if ``unpack_hook`` gives no tensor, ``RuntimeError`` if it is
    of another shape, and where ``pack_hook`` writes to the tensor.

    >>> a = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(force=True) * 2, tensor):
    ...     y = a * a
    >>> y.sum().backward()
    >>> a.grad
    tensor([4., 4.])
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _state.refusal is not None:
            raise RuntimeError(_state.refusal)
        settle()
        _state.hooks.append((self.pack_hook, self.unpack_hook))
        noted.append([])

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None:
                settle()
        finally:
            _state.hooks.pop()
            noted.pop()


def settle() -> None:
    """Runs what is recorded; what that has saved goes through the innermost hooks."""
    flush.flush_other(open_.trace)
    if not noted or not _state.hooks:
        return
    to, back = _state.hooks[-1]
    while noted[-1]:
        segment = noted[-1].pop(0)()
        if segment is not None and segment.spec is not None and not segment.freed:
            with grad_mode(False):
                _pack_segment(segment, to, back)


def _pack_segment(segment: Segment, to: Callable, back: Callable) -> None:
    """Has a segment keep what ``to`` makes of its values in their place."""
    spec = segment.spec
    arrays = list(segment.arrays)
    for i, t in enumerate(segment.inputs):
        if -1 - i in spec.reads:  # type: ignore[union-attr]
            value = concrete(arrays[i], t._meta.dtype) if segment.changed(i) else t
            segment.packed[-1 - i] = _packed(to, value), back
            arrays[i] = None
    segment.arrays = tuple(arrays)
    for slot in spec.residuals:  # type: ignore[union-attr]
        dtype = spec.avals[slot].dtype  # type: ignore[union-attr]
        if dtype is not None:
            value = concrete(np.array(segment.saved[slot], order="C", copy=None), dtype)
            segment.packed[slot] = _packed(to, value), back
            segment.saved[slot] = None
    # What is written over later was packed as it was.
    segment.versions = [v for v in segment.versions if v[0] not in segment.packed]


def _packed(to: Callable, value: Tensor) -> Any:
    version = version_of(value)
    made = to(value)
    if version_of(value) != version:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input "
            "to pack hook cannot be modified by in-place operations: clone() it before."
        )
    return made


def _fitted(t: Any, aval: Aval) -> np.ndarray:
    """The value that a hook gave, as code made for another may read it."""
    array = t._value()._array()
    try:
        shaped = np.broadcast_to(array, aval.shape)
    except ValueError:
        raise RuntimeError(
            f"The size of the tensor that a saved tensor unpack_hook gave, {list(array.shape)}, "
            f"must match the size of what was saved, {list(aval.shape)}"
        ) from None
    same = shaped.shape == array.shape and array.dtype == aval.dtype.numpy
    return array if same else np.array(shaped, aval.dtype.numpy)


@contextmanager
def unpacked(segment: Segment, reads: Iterable[int], create: bool) -> Iterator[None]:
    """A block in which a segment has those of its packed values that are read."""
    before, kept = segment.arrays, segment.saved
    arrays, saved = list(before), dict(kept)
    with grad_mode(create):
        for slot in reads:
            if slot in segment.packed:
                what, back = segment.packed[slot]
                t = back(what)
                if not isinstance(t, Handle):
                    raise TypeError(
                        "Output of saved tensor unpack_hook expected to be a Tensor but got result "
                        f"of type {type(t).__name__}"
                    )
                value = _fitted(t, segment.spec.avals[slot])  # type: ignore[union-attr]
                if slot < 0:
                    arrays[-1 - slot] = value
                else:
                    saved[slot] = value
    try:
        segment.arrays, segment.saved = tuple(arrays), saved
        yield
    finally:
        segment.arrays, segment.saved = before, kept


class save_on_cpu(saved_tensors_hooks):
    """A block in which saved tensors are kept on the CPU: where they are already."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: t, lambda t: t)


class disable_saved_tensors_hooks:
    """A block (or decorated function) in which using such hooks raises ``RuntimeError``."""

    def __init__(self, error_message: str) -> None:
        self.message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if _state.hooks:
            raise RuntimeError(self.message)
        self._before.append(_state.refusal)
        _state.refusal = self.message

    def __exit__(self, *exc: object) -> None:
        _state.refusal = self._before.pop()

    def __call__(self, f: Callable) -> Callable:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return f(*args, **kwargs)

        return wrapped


def pack(t: Tensor) -> tuple[Any, Callable | None]:
    """What is kept of a saved tensor, and the function that gives it back."""
    if not _state.hooks:
        return t, None
    to, back = _state.hooks[-1]
    return to(t), back
