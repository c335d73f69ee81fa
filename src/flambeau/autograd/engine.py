"""The backward pass: through the open trace, flushed segments and custom functions, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.autograd import anomaly, saved
from flambeau.autograd.accumulation import accumulate, leaf_hooked, quick
from flambeau.autograd.history import PyNode, history_of, hook_list, hooks_at, origin, place_of
from flambeau.autograd.open_trace import backward_in_trace, keep_saved, known_backward
from flambeau.autograd.passes import Pass, below, current_pass
from flambeau.autograd.values import by_values, concrete, ones_like
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import flush
from flambeau.record.segment import noted
from flambeau.record.single import apply
from flambeau.record.storage import Handle
from flambeau.record.trace import LOCK, Trace, open_, renew

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "Pass", "PyNode", "check_roots", "collect", "concrete", "current_pass", "history_of",
    "hook_list", "hooks_at", "keep_saved", "leaves_below", "ones_like", "origin", "place_of",
    "run_backward",
]  # fmt: skip


def leaves_below(t: Any) -> list[Any]:
    """The leaves that want a gradient and that ``t`` depends on, each once."""
    return list(below([(t, history_of(t))])[0].values())


def check_roots(tensors: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """The gradients to begin with: given, or one for a scalar."""
    seeds = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=True)):
        if not t._meta.requires_grad:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            size = 1
            for n in t._meta.shape:
                size *= n
            if size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if t._meta.dtype.is_complex:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{t._meta.dtype}"
                )
        else:
            if not isinstance(g, Handle):
                raise TypeError(
                    "gradients can be either Tensors or None, but got " + type(g).__name__
                )
            if g._meta.shape != t._meta.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of "
                    f"torch.Size({list(g._meta.shape)}) and output[{i}] has a shape of "
                    f"torch.Size({list(t._meta.shape)})."
                )
            if g._meta.dtype.is_complex != t._meta.dtype.is_complex:
                raise RuntimeError(
                    "For complex Tensors, both grad_output and output are required to have the "
                    f"same dtype. Mismatch in dtype: grad_output[{i}] has a dtype of "
                    f"{g._meta.dtype} and output[{i}] has a dtype of {t._meta.dtype}."
                )
            if g._meta.dtype is not t._meta.dtype:
                g = apply(PRIMITIVES["cast"], g, dtype=t._meta.dtype)
        seeds.append(g)
    return seeds


def run_backward(
    tensors: Sequence[Any],
    gradients: Sequence[Any],
    retain: bool,
    create: bool,
    inputs: Sequence[Any] | None,
) -> None:
    """Accumulates gradients in the leaves (or in ``inputs`` only)."""
    tr = open_.trace
    if tr.closed:
        renew(tr)
        tr = open_.trace
    if tr.builder is not None:
        raise RuntimeError("backward inside a recorded function's body")
    if noted:
        saved.settle()
        tr = open_.trace
    if tr.special:
        with LOCK:
            _run_backward(tensors, gradients, retain, create, inputs)
        return
    t = tensors[0]
    if (
        recorded_in(tr, t)
        and len(tensors) == 1
        and gradients[0] is None
        and inputs is None
        and not create
        and not anomaly.is_anomaly_enabled()
        and known_backward(tr, t, retain)
    ):
        return
    _run_backward(tensors, gradients, retain, create, inputs)


def recorded_in(tr: Trace, t: Any) -> bool:
    """Whether a tensor is pending on its slot of a trace."""
    if t._trace is tr:
        return t._storage is None
    if t._btrace is not tr:
        return False
    storage = t._storage
    return storage is not None and storage.trace is tr and t._seen == storage.version


def _run_backward(
    tensors: Sequence[Any],
    gradients: Sequence[Any],
    retain: bool,
    create: bool,
    inputs: Sequence[Any] | None,
) -> None:
    tensors, gradients = by_values(tensors, gradients)
    if inputs is not None:
        inputs = [t._values_ if t._is_sparse_layout else t for t in inputs]
    seeds = check_roots(tensors, gradients)
    if anomaly.is_anomaly_enabled():
        # Step by step means on arrays: what is pending becomes a segment.
        flush.flush_other(open_.trace)
    if len(tensors) == 1 and not create and inputs is None:
        t = tensors[0]
        history = history_of(t)
        tr = open_.trace
        if history is not None and history[0] is tr and history[1] == t._slot:
            if backward_in_trace(tr, t, seeds[0], retain):
                return
    run = Pass(retain, create)
    with run:
        collect(run, tensors, seeds, None if inputs is None else list(inputs))
        settle(run, inputs, create)


def settle(found: Pass, inputs: Sequence[Any] | None, create: bool) -> None:
    """Accumulates what a pass has found."""
    if inputs is None:
        pairs = list(found.leaves.values())
    else:
        pairs = [(t, found.captured[i]) for i, t in enumerate(inputs) if i in found.captured]
    for t, g in pairs:
        if id(g) not in found.fresh or create or not quick(t, g):
            accumulate(t, g, create)


def collect(
    run: Pass, tensors: Sequence[Any], seeds: Sequence[Any], targets: list[Any] | None
) -> None:
    """Runs a pass; it has the gradients of all leaves, and of ``targets`` by position."""
    leaf_targets = []
    for i, t in enumerate(targets or ()):
        history = place_of(t)
        if history is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        if history[0] is None:
            leaf_targets.append((i, t))
        else:
            run.targets[id(history[0]), history[1]] = i
            run.keep.append(history[0])
    run.restricted = targets is not None
    run.leaf_targets = {id(t) for _, t in leaf_targets}
    roots = []
    for t, g in zip(tensors, seeds, strict=True):
        roots.append((t, ones_like(t) if g is None else g))
    # Histories are read once all are settled: settling one may flush the trace of another.
    for t, _ in roots:
        history_of(t)
    run.roots = list(tensors)
    for t, g in roots:
        history = history_of(t)
        run.deliver(t, history, g)
    run.run()
    for i, t in leaf_targets:
        if id(t) in run.leaves:
            run.captured[i] = leaf_hooked(t, run.leaves[id(t)][1])
