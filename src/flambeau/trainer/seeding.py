"""One seed for all generators."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.random import get_rng_state, manual_seed, set_rng_state

__all__ = ["isolate_rng", "rng_state", "seed_everything", "set_rng"]

_HIGHEST = 2**32 - 1


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = True) -> int:
    """Seeds Flambeau's, Python's and NumPy's generators; returns the seed.

    Without ``seed`` it is ``PL_GLOBAL_SEED`` of the environment, or 0. ``workers`` and ``verbose``
    change nothing: loaders' workers are seeded from Flambeau's generator.

    Raises: ``ValueError`` if it is outside [0, 2**32).

    >>> from flambeau.trainer import seed_everything
    >>> seed_everything(1)
    1
    """
    if seed is None:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
    seed = int(seed)
    if not 0 <= seed <= _HIGHEST:
        raise ValueError(f"seed_everything: the seed must be in [0, {_HIGHEST}], got {seed}")
    # Processes started from here take the same seed.
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    os.environ["PL_SEED_WORKERS"] = str(int(workers))
    random.seed(seed)
    np.random.seed(seed)
    manual_seed(seed)
    return seed


def rng_state() -> dict[str, Any]:
    """The states of all three generators, of types that a checkpoint can hold."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "flambeau": get_rng_state(),
        "python": [version, list(words), gauss],
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(cached)],
    }


def set_rng(state: dict[str, Any]) -> None:
    """Puts all three generators in a state from :func:`rng_state`."""
    set_rng_state(state["flambeau"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))


@contextmanager
def isolate_rng(include_cuda: bool = True) -> Iterator[None]:
    """Puts the generators back, when the block ends, to where they were when it began."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng(state)
