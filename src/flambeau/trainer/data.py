"""Loaders as the loops use them: limited, and for training taken up again within an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from flambeau.trainer.seeding import rng_state, set_rng
from flambeau.trainer.utilities.combined_loader import (
    CombinedLoader,
    batches_of,
    flattened,
)
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.utils.data import DataLoader, RandomSampler, SequentialSampler

__all__ = [
    "EpochBatches",
    "as_list",
    "in_order",
    "length_of",
    "limited",
    "own_generators",
    "parts_of",
]

Limit = int | float | None


def as_list(loaders: Any) -> list[Any]:
    """The evaluation loaders as a list: a collection's one after another."""
    if loaders is None:
        return []
    if isinstance(loaders, CombinedLoader):
        return loaders.flattened if loaders.mode == "sequential" else [loaders]
    if isinstance(loaders, dict):
        return flattened(loaders)
    return list(loaders) if isinstance(loaders, (list, tuple)) else [loaders]


def length_of(loader: Any) -> int | None:
    """How many batches a loader has; None if it cannot say."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return None


def limited(loader: Any, limit: Limit, name: str) -> int | None:
    """How many batches of ``loader`` are used; None: as many as come.

    An integer is a number of batches, a float a fraction of them.

    Raises: ``MisconfigurationException`` for a fraction of an unknown length or of nothing.

    >>> limited(range(10), 0.25, "limit_val_batches"), limited(range(10), 30, "limit_val_batches")
    (2, 10)
    """
    length = length_of(loader)
    if limit is None or (limit == 1.0 and isinstance(limit, float)):
        return length
    if isinstance(limit, int):
        return limit if length is None else min(limit, length)
    if length is None:
        if limit == 0.0:
            return 0
        raise MisconfigurationException(
            f"`Trainer({name}={limit})`: a fraction needs a loader that has a length; give a "
            "number of batches (an int) instead"
        )
    count = int(length * limit)
    if count == 0 and limit > 0 and length > 0:
        raise MisconfigurationException(
            f"You requested {limit} of the {length} batches of a loader ({name}), which is less "
            f"than one. Please increase it to at least {1 / length}"
        )
    return count


def in_order(loader: Any) -> Any:
    """The loader without shuffling, for ``overfit_batches``: each epoch has the same batches."""
    if isinstance(loader, CombinedLoader):
        loader.flattened = [in_order(part) for part in loader.flattened]
        return loader
    if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, RandomSampler):
        return loader
    warnings.warn(
        "You requested to overfit but enabled training dataloader shuffling. We are turning off "
        "the training dataloader shuffling for you.",
        stacklevel=2,
    )
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=SequentialSampler(loader.dataset),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last,
    )


class EpochBatches:
    """One pass over the training loader: ``(index, batch, is it the last)``.

    ``position`` says where a pass stands: the generators' states when it began, and how many
    batches were taken. Made with a position, it draws the same order again and leaves those out:
    by index where the loader's sampler gives it, by loading them otherwise. A loader with
    ``state_dict`` and ``load_state_dict`` is asked to do it itself.
    """

    def __init__(
        self, loader: Any, length: int | None, position: dict[str, Any] | None = None
    ) -> None:
        self.loader = loader
        self.length = length
        self.taken = 0
        self._began: dict[str, Any] = {}
        # Of a loader without a length a batch is fetched ahead, to know which is the last.
        self._before_ahead: dict[str, Any] | None = None
        self._iterator: Iterator[Any] | None = None
        if position is None:
            self._began = self._generators()
        else:
            self._resume(position)

    @property
    def position(self) -> dict[str, Any]:
        """Where the pass stands."""
        state = {"taken": self.taken, "began": self._began, "ahead": self._before_ahead}
        if hasattr(self.loader, "state_dict"):
            state["loader"] = self.loader.state_dict()
        return state

    def __iter__(self) -> Iterator[tuple[int, Any, bool]]:
        if self.length == 0:
            return
        if self._iterator is None:
            self._iterator = batches_of(self.loader)
        if self.length is None:
            yield from self._with_lookahead(self._iterator)
            return
        while self.taken < self.length:
            try:
                batch = next(self._iterator)
            except StopIteration:
                return
            index = self.taken
            self.taken += 1
            yield index, batch, self.taken == self.length

    def _with_lookahead(self, iterator: Iterator[Any]) -> Iterator[tuple[int, Any, bool]]:
        if self._before_ahead is not None:
            # The batch ahead was drawn from these states in the run that is resumed.
            now = rng_state()
            set_rng(self._before_ahead)
            ahead = next(iterator, self)
            set_rng(now)
        else:
            self._before_ahead = rng_state()
            ahead = next(iterator, self)
        while ahead is not self:
            batch = ahead
            self._before_ahead = rng_state()
            ahead = next(iterator, self)
            index = self.taken
            self.taken += 1
            yield index, batch, ahead is self

    def _generators(self) -> dict[str, Any]:
        """The states of all generators that the order may be drawn from."""
        own = [generator.get_state() for generator in own_generators(self.loader)]
        return {"global": rng_state(), "own": own}

    def _set_generators(self, states: dict[str, Any]) -> None:
        set_rng(states["global"])
        for generator, state in zip(own_generators(self.loader), states["own"], strict=True):
            generator.set_state(state)

    def _resume(self, position: dict[str, Any]) -> None:
        self.taken = position["taken"]
        self._began = position["began"]
        self._before_ahead = position["ahead"]
        if "loader" in position and hasattr(self.loader, "load_state_dict"):
            self.loader.load_state_dict(position["loader"])
            return
        if self.taken == 0:
            return
        now = rng_state()
        self._set_generators(self._began)
        self._iterator = batches_of(self.loader)
        skip = self._iterator.__next__
        if hasattr(self._iterator, "_next_index") and not getattr(self.loader, "num_workers", 0):
            if getattr(self.loader, "_dataset_kind", 1) == 0:
                skip = self._iterator._next_index
        for _ in range(self.taken):
            skip()
        set_rng(now)


def parts_of(loader: Any) -> list[Any]:
    """The loader, or those it combines, each with its samplers."""
    if isinstance(loader, CombinedLoader):
        return [part for one in loader.flattened for part in parts_of(one)]
    owners = [loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    owners.append(getattr(owners[2], "sampler", None))
    return [owner for owner in owners if owner is not None]


def own_generators(loader: Any) -> list[Any]:
    """Generators of the loader's and its samplers' own, each once."""
    found: list[Any] = []
    for owner in parts_of(loader):
        generator = getattr(owner, "generator", None)
        if generator is not None and not any(generator is known for known in found):
            found.append(generator)
    return found
