"""Workers: who loads a batch, with random numbers and a dataset of its own, in this process."""

from __future__ import annotations

import dataclasses
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.functions.random import Generator, default_generator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Worker", "WorkerInfo", "get_worker_info"]


@dataclasses.dataclass
class WorkerInfo:
    """One of several workers: its number, how many there are, its seed and dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The worker for which this code runs; ``None`` outside of loading.

    >>> get_worker_info() is None
    True
    """
    return _worker_info


class Worker:
    """What a worker process of PyTorch's would have to itself.

    Its generators (of this package, ``random`` and NumPy) begin where PyTorch's would; what is
    assigned to attributes of its dataset is not seen by others.
    """

    def __init__(self, number: int, count: int, base_seed: int, dataset: Any) -> None:
        seed = base_seed + number
        self.info = WorkerInfo(number, count, seed, _own(dataset))
        self.fetcher: Any = None
        self.active = True
        self._engine = Generator().manual_seed(seed).engine
        self._random = random.Random(seed).getstate()
        words = [number, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
        start = np.random.RandomState(np.random.SeedSequence(words).generate_state(4))
        self._numpy = start.get_state(legacy=False)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A block that draws the worker's random numbers, and in which it is the worker."""
        global _worker_info
        before = _worker_info, default_generator.engine
        randoms = random.getstate(), np.random.get_state(legacy=False)
        _worker_info, default_generator.engine = self.info, self._engine
        random.setstate(self._random)
        np.random.set_state(self._numpy)
        try:
            yield
        finally:
            self._random, self._numpy = random.getstate(), np.random.get_state(legacy=False)
            _worker_info, default_generator.engine = before
            random.setstate(randoms[0])
            np.random.set_state(randoms[1])


def _own(dataset: Any) -> Any:
    """A twin with the same attributes; the dataset itself where they are not all it has."""
    kind = type(dataset)
    slots = any(getattr(base, "__slots__", ()) for base in kind.__mro__)
    if kind.__new__ is not object.__new__ or slots or not hasattr(dataset, "__dict__"):
        return dataset
    twin = object.__new__(kind)
    twin.__dict__.update(dataset.__dict__)
    return twin
