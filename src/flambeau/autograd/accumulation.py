"""What a pass has found, added to the ``.grad`` of the leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.autograd.values import add, grad_mode, private, replace_value
from flambeau.record import alias
from flambeau.record.trace import open_
from flambeau.record.writes import write

# NumPy adds these as the primitive does.
_PLAIN = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def quick(t: Any, g: Any) -> bool:
    """``accumulate`` of an array that is nobody's into a leaf nobody watches; False if it is not.

    One assignment or addition: a recorded one would cost more than the arithmetic.
    """
    if t._hooks or t._post_hooks or not t._meta.leaf:
        return False
    old = t._grad
    if old is None:
        t._grad = g
        return True
    storage = old._storage
    if storage is None or not storage.plain or old._spec is not None:
        return False
    bound = old._trace
    if bound is not None and not bound.closed:
        return False
    dtype = old._meta.dtype
    if dtype is not g._meta.dtype or dtype.numpy not in _PLAIN:
        return False
    # New memory: a segment may have bound the old.
    storage.array = np.asarray(storage.array + g._storage.array)
    storage.version += 1
    return True


def leaf_hooked(t: Any, g: Any) -> Any:
    """Runs the hooks on the whole gradient of a leaf."""
    for hook in list((t._hooks or {}).values()):
        changed = hook(g)
        if changed is not None:
            g = changed
    return g


def accumulate(t: Any, g: Any, create: bool) -> None:
    """Adds to ``t.grad``: into the tensor there, or a new one when history is kept."""
    if t._meta.leaf:
        g = leaf_hooked(t, g)
    old = t._grad
    if g._is_sparse_layout or (old is not None and old._is_sparse_layout):
        # PyTorch adds to a sparse gradient by making a new one.
        g = g if create else g.detach()
        if old is None:
            t._grad = g
        elif create or old._is_sparse_layout:
            t._grad = add(old, g)
        else:
            with grad_mode(False):
                old += g
    elif old is None:
        t._grad = g if create or not g._meta.requires_grad else alias.detached(g)
        if not create:
            t._grad = private(t._grad)
    elif create:
        t._grad = add(old, g)
    else:
        with grad_mode(False):
            total = add(old, g)
        tr = open_.trace
        if total._trace is tr:
            write(tr, old, total._slot, total._meta)
        else:
            replace_value(old, total)
    for hook in list((t._post_hooks or {}).values()):
        hook(t)
