"""Data loading: orders, numbers and errors are those of PyTorch."""

from __future__ import annotations

import random
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
import torch.utils.data as theirs

import flambeau
import flambeau.utils.data as ours

Point = namedtuple("Point", "x y")
BOTH = ((torch, theirs), (flambeau, ours))


def plain(value):
    """Tensors of either library as lists with their dtype."""
    if isinstance(value, (torch.Tensor, flambeau.Tensor)):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(v) for v in value]
    return value


def agree(body):
    """Runs ``body(torch, torch.utils.data)`` with both and compares results or errors."""
    outcomes = []
    for lib, data in BOTH:
        lib.manual_seed(5)
        try:
            outcomes.append(plain(body(lib, data)))
        except Exception as e:
            outcomes.append((type(e).__name__, str(e)))
    assert outcomes[0] == outcomes[1]


def stream(data, n=5):
    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(n))

        def __len__(self):
            return n

        def __repr__(self):
            return "Stream"

    return Stream()


LOADERS = {
    "plain": {},
    "batched": {"batch_size": 3},
    "shuffled": {"batch_size": 3, "shuffle": True},
    "dropped": {"batch_size": 4, "shuffle": True, "drop_last": True},
    "single": {"batch_size": None},
    "single shuffled": {"batch_size": None, "shuffle": True},
    "sampler": {"batch_size": 2, "sampler": [4, 1, 0]},
    "batch_sampler": {"batch_sampler": [[3, 1], [2]]},
    "negative workers": {"num_workers": -1},
    "negative timeout": {"timeout": -1},
    "prefetch": {"prefetch_factor": 2},
    "persistent": {"persistent_workers": True},
    "sampler and shuffle": {"sampler": [1], "shuffle": True},
    "batch_sampler and size": {"batch_sampler": [[1]], "batch_size": 2},
    "no batch, drop_last": {"batch_size": None, "drop_last": True},
    "zero batch": {"batch_size": 0},
    "context": {"multiprocessing_context": "fork"},
    "index": {"batch_sampler": [[100]]},
}


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("kind", ["tensors", "list", "subset", "stream"])
def test_loader(kind, options):
    def body(lib, data):
        dataset = {
            "tensors": lambda: data.TensorDataset(lib.arange(10.0).reshape(10, 1), lib.arange(10)),
            "list": lambda: [(float(i), i, f"{i}", True) for i in range(10)],
            "subset": lambda: data.Subset(data.TensorDataset(lib.arange(20)), list(range(5, 15))),
            "stream": lambda: stream(data),
        }[kind]()
        loader = data.DataLoader(dataset, **options)
        two_epochs = [list(loader), list(loader)]
        length = None if kind == "stream" and "sampler" in str(options) else len(loader)
        return two_epochs, length, lib.rand(2)

    if kind == "tensors" and "batch_sampler" in options and options["batch_sampler"] == [[100]]:
        with pytest.raises(IndexError):
            list(ours.DataLoader(ours.TensorDataset(flambeau.arange(10)), **options))
        return
    if kind == "stream" and ("sampler" in options or "batch_sampler" in options):
        with pytest.raises(ValueError):
            ours.DataLoader(stream(ours), **options)
        return
    agree(body)


def test_loader_with_generator():
    def body(lib, data):
        g = lib.Generator().manual_seed(3)
        loader = data.DataLoader(range(9), batch_size=4, shuffle=True, generator=g)
        return list(loader), list(loader), lib.rand(1)

    agree(body)


def test_loader_fields_are_fixed():
    agree(lambda lib, data: setattr(data.DataLoader([1]), "batch_size", 2))


class Drawing:
    """Draws from every generator there is, and counts what it was asked for."""

    def __init__(self, lib, data):
        self.lib, self.data, self.asked, self.offset = lib, data, 0, 0

    def __len__(self):
        return 7

    def __getitem__(self, i):
        self.asked += 1
        info = self.data.get_worker_info()
        assert info.dataset is self and info.num_workers == 2
        drawn = [random.random(), np.random.rand(), self.lib.rand(1).item()]
        return self.lib.tensor([i + self.offset, info.id, info.seed % 1000, self.asked, *drawn])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_have_random_numbers_and_datasets_of_their_own():
    def body(lib, data):
        def begin(i):
            data.get_worker_info().dataset.offset = 100 * i + random.randrange(10)

        lib.manual_seed(5)
        random.seed(1)
        np.random.seed(2)
        found = []
        for persistent in (False, True):
            loader = data.DataLoader(
                Drawing(lib, data),
                batch_size=2,
                shuffle=True,
                num_workers=2,
                worker_init_fn=begin,
                persistent_workers=persistent,
                multiprocessing_context="fork",
            )
            found += [list(loader), list(loader), loader.dataset.asked, loader.dataset.offset]
        return found, random.random(), float(np.random.rand()), lib.rand(1), data.get_worker_info()

    agree(body)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_share_out_a_stream():
    def body(lib, data):
        class Numbers(data.IterableDataset):
            def __init__(self, end):
                self.start, self.end = 0, end

            def __iter__(self):
                return iter(range(self.start, self.end))

        def part(i):
            info = data.get_worker_info()
            whole = info.dataset.end
            info.dataset.start = whole * i // info.num_workers
            info.dataset.end = whole * (i + 1) // info.num_workers - (i == 0)

        return [
            list(
                data.DataLoader(
                    Numbers(11),
                    batch_size=size,
                    num_workers=workers,
                    worker_init_fn=init,
                    multiprocessing_context="fork",
                )
            )
            for size in (None, 2)
            for workers, init in ((1, None), (2, None), (2, part))
        ]

    agree(body)


def test_a_worker_that_fails_leaves_the_others_numbers():
    class Broken:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            if i == 1:
                raise KeyError(i)
            return i, random.random()

    random.seed(3)
    expected = random.random()
    random.seed(3)
    batches = iter(ours.DataLoader(Broken(), num_workers=2, batch_size=None))
    next(batches)
    with pytest.raises(KeyError):
        next(batches)
    assert next(batches)[0] == 2 and ours.get_worker_info() is None
    assert random.random() == expected


BATCHES = [
    [1, 2],
    [1.5, 2.0],
    [True, False],
    ["a", "b"],
    [b"a"],
    [(1, 2.0), (3, 4.0)],
    [[1, 2], [3, 4]],
    [{"a": 1, "b": [2]}, {"a": 3, "b": [4]}],
    [OrderedDict(a=1), OrderedDict(a=2)],
    [Point(1, 2.0), Point(3, 4.0)],
    [np.float32(1), np.float32(2)],
    [np.int64(1), np.int64(2)],
    [np.zeros(2, np.float32), np.ones(2, np.float32)],
    [np.array(["a"])],
    [[1, 2], [3]],
    [object()],
    [range(2), range(2)],
    [None, None],
]


@pytest.mark.parametrize("batch", BATCHES, ids=range(len(BATCHES)))
def test_collate(batch):
    if type(batch[0]) is object:
        for _, data in BOTH:
            with pytest.raises(TypeError, match="default_collate: batch must contain tensors"):
                data.default_collate(batch)
        return
    agree(lambda lib, data: data.default_collate(batch))
    agree(lambda lib, data: data.default_convert(batch))


def test_collate_tensors():
    agree(lambda lib, d: d.default_collate([lib.zeros(2), lib.ones(2)]))
    agree(lambda lib, d: d.default_collate([lib.zeros(2), lib.ones(3)]))
    agree(lambda lib, d: d.default_collate([lib.arange(6).reshape(2, 3).t()[0], lib.ones(2)]))
    x = flambeau.ones(2, requires_grad=True)
    ours.default_collate([x, x]).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    # The batch has memory of its own.
    source = flambeau.zeros(3, 2)
    batch = ours.default_collate([source[0], source[1]])
    source += 1
    assert batch.tolist() == [[0.0, 0.0], [0.0, 0.0]]


SAMPLERS = {
    "random": lambda lib, d: d.RandomSampler(range(7)),
    "more": lambda lib, d: d.RandomSampler(range(7), num_samples=17),
    "exact": lambda lib, d: d.RandomSampler(range(7), num_samples=14),
    "replaced": lambda lib, d: d.RandomSampler(range(7), replacement=True, num_samples=70),
    "own": lambda lib, d: d.RandomSampler(range(7), generator=lib.Generator().manual_seed(1)),
    "empty": lambda lib, d: d.RandomSampler([]),
    "bad": lambda lib, d: d.RandomSampler([1], replacement=1),
    "zero": lambda lib, d: d.RandomSampler([1], num_samples=0),
    "subset": lambda lib, d: d.SubsetRandomSampler([3, 5, 9, 1]),
    "weighted": lambda lib, d: d.WeightedRandomSampler([0.1, 0.4, 0.5], 20),
    "weighted once": lambda lib, d: d.WeightedRandomSampler([0.1, 0.4, 0.5], 2, False),
    "weighted bad": lambda lib, d: d.WeightedRandomSampler([[0.1]], 2),
    "weighted none": lambda lib, d: d.WeightedRandomSampler([0.1], 0),
    "batches": lambda lib, d: d.BatchSampler(range(7), 3, False),
    "whole batches": lambda lib, d: d.BatchSampler(range(7), 3, True),
    "no batch": lambda lib, d: d.BatchSampler(range(7), True, True),
    "no bool": lambda lib, d: d.BatchSampler(range(7), 2, 1),
    "distributed": lambda lib, d: d.DistributedSampler(range(7), 3, 2),
    "in order": lambda lib, d: d.DistributedSampler(range(7), 3, 2, shuffle=False),
    "few": lambda lib, d: d.DistributedSampler(range(2), 5, 4, shuffle=False),
    "tail": lambda lib, d: d.DistributedSampler(range(7), 3, 1, drop_last=True),
    "rank": lambda lib, d: d.DistributedSampler(range(7), 3, 3),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_sampler(make):
    def body(lib, data):
        sampler = make(lib, data)
        return list(sampler), list(sampler), len(sampler), lib.rand(1)

    agree(body)


SPLITS = [[3, 4, 3], [0.5, 0.5], [0.33, 0.33, 0.34], [1.0], [1, 2], [1.5, -0.5], [0.2, 0.2, 0.6]]


@pytest.mark.parametrize("lengths", SPLITS, ids=str)
def test_random_split(lengths):
    def body(lib, data):
        return [list(part.indices) for part in data.random_split(range(10), lengths)], lib.rand(1)

    agree(body)


DATASETS = {
    "tensors": lambda lib, d: list(d.TensorDataset(lib.arange(3), lib.ones(3, 2))[:2]),
    "lengths": lambda lib, d: d.TensorDataset(lib.ones(3), lib.ones(2)),
    "stack": lambda lib, d: d.StackDataset([1, 2], [3, 4]).__getitems__([1, 0]),
    "stack names": lambda lib, d: d.StackDataset(a=[1, 2], b=[3, 4]).__getitems__([1, 0]),
    "stack both": lambda lib, d: d.StackDataset([1], a=[1]),
    "stack none": lambda lib, d: d.StackDataset(),
    "stack sizes": lambda lib, d: d.StackDataset([1], [1, 2]),
    "concat": lambda lib, d: [d.ConcatDataset([[1, 2], [3]])[i] for i in (0, 1, 2, -1, -3)],
    "concat far": lambda lib, d: d.ConcatDataset([[1, 2], [3]])[-4],
    "concat none": lambda lib, d: d.ConcatDataset([]),
    "concat stream": lambda lib, d: d.ConcatDataset([stream(d)]),
    "chain": lambda lib, d: list(stream(d) + stream(d, 2)),
    "chain list": lambda lib, d: list(d.ChainDataset([[1]])),
    "subset": lambda lib, d: d.Subset("abcd", [3, 1]).__getitems__([1, 0]),
    "dataset": lambda lib, d: d.Dataset()[0],
}


@pytest.mark.parametrize("body", DATASETS.values(), ids=DATASETS)
def test_dataset(body):
    agree(body)
