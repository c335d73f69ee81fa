"""Fetchers: the batch for a list of indices, or the next one of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.record.trace import open_
from flambeau.tensor import Tensor, concrete
from flambeau.utils.data._utils.collate import default_collate
from flambeau.utils.data.dataset import Subset, TensorDataset

__all__ = ["IterableFetcher", "MapFetcher"]


class IterableFetcher:
    """Takes samples from an iterator until it ends."""

    # Whether no code but ours runs in it.
    plain = False

    def __init__(
        self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool
    ) -> None:
        self.samples = iter(dataset)
        self.auto_collation, self.collate_fn = auto_collation, collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, index: Any) -> Any:
        """The next batch; raises ``StopIteration`` where there is none."""
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.samples))
        data = []
        for _ in index:
            try:
                data.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not data or (self.drop_last and len(data) < len(index)):
            raise StopIteration
        return self.collate_fn(data)


class MapFetcher:
    """Looks samples up by their indices."""

    def __init__(
        self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool
    ) -> None:
        self.dataset = dataset
        self.auto_collation, self.collate_fn = auto_collation, collate_fn
        inner = dataset.dataset if type(dataset) is Subset else dataset
        self.plain = type(inner) is TensorDataset and collate_fn is default_collate

    def fetch(self, index: Any) -> Any:
        """The sample of an index, or the batch of a list of them."""
        dataset = self.dataset
        if not self.auto_collation:
            return self.collate_fn(dataset[index])
        if self.collate_fn is default_collate:
            rows = _gathered(dataset, index)
            if rows is not None:
                return rows
        if getattr(dataset, "__getitems__", None):
            return self.collate_fn(dataset.__getitems__(index))
        return self.collate_fn([dataset[i] for i in index])


def _gathered(dataset: Any, index: Any) -> list[Tensor] | None:
    """The collated rows of a dataset of tensors, taken in one pass; ``None`` for others.

    Numbers are those of the general way: rows looked up one by one, then stacked.
    """
    if type(dataset) is Subset:
        try:
            index = [dataset.indices[i] for i in index]
        except (IndexError, TypeError):
            return None
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not index:
        return None
    if not all(type(i) is int for i in index):
        return None
    tensors = dataset.tensors
    for t in tensors:
        if type(t) is not Tensor or (t.requires_grad and open_.state.grad):
            return None
    try:
        return [concrete(np.asarray(t._array()[index]), t.dtype) for t in tensors]
    except IndexError:
        # The general way says which index in PyTorch's words.
        return None
