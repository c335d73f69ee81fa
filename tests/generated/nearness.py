"""Which of two results of 16 bits is nearer to what 64 bits give: roundings add up differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from generated.sides import Seen

# How much further off than PyTorch's a result may be, and how many roundings of its largest value
# count for nothing.
TIMES, ROUNDINGS = 1.5, 1.5 * 2.0**-8


def as_near(ours: Any, theirs: Any, exact: Any) -> bool:
    """Whether no array of a result is further from the exact one than PyTorch's worst is."""
    parts = [list(_arrays(found)) for found in (ours, theirs, exact)]
    if len({len(part) for part in parts}) != 1:
        return False
    off = [[_off(a, c) for a, c in zip(found, parts[2], strict=True)] for found in parts[:2]]
    return max(off[0], default=0.0) <= TIMES * max(off[1], default=0.0) + ROUNDINGS


def _arrays(found: Any) -> Iterator[np.ndarray | None]:
    """The arrays in a result, in order; None where there is no gradient."""
    if isinstance(found, Seen):
        yield found.array
    elif found is None or isinstance(found, np.ndarray):
        yield found
    elif isinstance(found, Mapping):
        for part in found.values():
            yield from _arrays(part)
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for part in found:
            yield from _arrays(part)


def _off(found: np.ndarray | None, exact: np.ndarray | None) -> float:
    """The largest error over the largest value; infinite for another shape."""
    known = exact if found is None else found
    if known is None or known.dtype.kind not in "fc" or not known.size:
        return 0.0
    a, c = (np.zeros(known.shape) if x is None else x for x in (found, exact))
    if a.shape != c.shape or not np.isfinite(a).all():
        return np.inf
    return float(np.abs(a - c).max() / max(np.abs(c).max(), np.finfo(np.float32).tiny))
