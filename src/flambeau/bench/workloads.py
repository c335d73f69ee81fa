"""The ten training loops of ``flambeau bench``, each written once for ``torch`` and ``flambeau``.

A workload is its data (NumPy, made beforehand) and ``build``: given the library, it makes model
and optimizer and returns the function that trains on one batch and returns the loss.

Imports neither library, so that a process that measures one side loads that side only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["WORKLOADS", "Build", "Workload", "choose", "stepper"]

Arrays = tuple[np.ndarray, ...]
# Turns a model into the one that is trained: itself, or torch.compile's.
Wrap = Callable[[Any], Any]
Build = Callable[[Any, Wrap], Callable[..., Any]]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    ``data(rng, n)`` gives arrays of ``n`` samples; an epoch is ``batches`` batches of ``batch``
    samples, the last of them ``last`` samples only. ``target`` is the least ratio wanted,
    ``tolerance`` the largest relative difference of early losses that is still the same training.
    """

    name: str
    title: str
    target: float
    batch: int
    last: int
    data: Callable[[np.random.Generator, int], Arrays]
    build: Build
    batches: int = 24
    tolerance: float = 1e-3

    def shortened(self, batches: int) -> Workload:
        """The same with shorter epochs."""
        values = {**self.__dict__, "batches": min(batches, self.batches)}
        return Workload(**values)

    def arrays(self, seed: int = 0) -> Arrays:
        """The samples of an epoch."""
        samples = (self.batches - 1) * self.batch + self.last
        return self.data(np.random.default_rng(seed), samples)


def stepper(
    workload: Workload, mod: Any, arrays: Arrays, wrap: Wrap = lambda model: model, seed: int = 0
) -> Callable[[int], float]:
    """``step(i)`` of the workload under a library: batch ``i``, one update, the loss as a float."""
    samples = [mod.tensor(a) for a in arrays]
    size, batches, total = workload.batch, workload.batches, len(arrays[0])
    mod.manual_seed(seed)
    train = workload.build(mod, wrap)

    def step(i: int) -> float:
        start = i % batches * size
        stop = min(start + size, total)
        return train(*[t[start:stop] for t in samples]).item()

    return step


def choose(names: list[str]) -> list[Workload]:
    """The workloads of these names; all of them for none.

    Raises: ``ValueError`` for a name that is none, naming those there are.

    >>> [w.name for w in choose(["mlp"])]
    ['mlp']
    """
    table = {w.name: w for w in WORKLOADS}
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"no workload {', '.join(unknown)}; there are {', '.join(table)}")
    return [w for w in WORKLOADS if not names or w.name in names]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.random(shape, dtype=np.float32)


def fit(optimizer: Any, model: Any, criterion: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The usual step: forward, loss, backward, update."""

    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train


def quadratic_data(rng: np.random.Generator, n: int) -> Arrays:
    x = uniform(rng, n, 1) * 2 - 1
    return x, x**2 + 0.2 * uniform(rng, n, 1)


def quadratic(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
    return fit(mod.optim.SGD(model.parameters(), lr=0.2), wrap(model), nn.MSELoss())


def two_layer_data(rng: np.random.Generator, n: int) -> Arrays:
    return normal(rng, n, 1000), normal(rng, n, 10)


def two_layer(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(nn.Linear(1000, 100), nn.ReLU(), nn.Linear(100, 10))
    return fit(mod.optim.SGD(model.parameters(), lr=1e-2), wrap(model), nn.MSELoss())


def cat_data(rng: np.random.Generator, n: int) -> Arrays:
    x = uniform(rng, n, 12288)
    return x, (x[:, :1] > 0.5).astype(np.float32)


def cat_logistic(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(nn.Linear(12288, 1), nn.Sigmoid())
    return fit(mod.optim.SGD(model.parameters(), lr=1e-4), wrap(model), nn.BCELoss())


def cat_deep(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(
        nn.Linear(12288, 512), nn.ReLU(),
        nn.Linear(512, 12288), nn.ReLU(),
        nn.Linear(12288, 512), nn.ReLU(),
        nn.Linear(512, 1), nn.Sigmoid(),
    )  # fmt: skip
    return fit(mod.optim.SGD(model.parameters(), lr=1e-3), wrap(model), nn.BCELoss())


def digit_data(rng: np.random.Generator, n: int) -> Arrays:
    return uniform(rng, n, 784), rng.integers(0, 10, n)


def image_data(rng: np.random.Generator, n: int) -> Arrays:
    return normal(rng, n, 1, 28, 28), rng.integers(0, 10, n)


def mlp(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return fit(mod.optim.Adam(model.parameters(), lr=1e-3), wrap(model), nn.CrossEntropyLoss())


def cnn(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    Module: Any = nn.Module

    class Net(Module):
        """PyTorch's MNIST example."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 32, 3)
            self.conv2 = nn.Conv2d(32, 64, 3)
            self.dropout1 = nn.Dropout(0.25)
            self.dropout2 = nn.Dropout(0.5)
            self.fc1 = nn.Linear(9216, 128)
            self.fc2 = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            x = nn.functional.relu(self.conv1(x))
            x = nn.functional.relu(self.conv2(x))
            x = self.dropout1(nn.functional.max_pool2d(x, 2))
            x = nn.functional.relu(self.fc1(mod.flatten(x, 1)))
            return nn.functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)

    model = Net()
    optimizer = mod.optim.Adadelta(model.parameters(), lr=1.0)
    return fit(optimizer, wrap(model), nn.functional.nll_loss)


def autoencoder_data(rng: np.random.Generator, n: int) -> Arrays:
    return (uniform(rng, n, 784),)


def autoencoder(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(),
        nn.Linear(128, 32), nn.ReLU(),
        nn.Linear(32, 128), nn.ReLU(),
        nn.Linear(128, 784), nn.Sigmoid(),
    )  # fmt: skip
    train = fit(mod.optim.Adam(model.parameters(), lr=1e-3), wrap(model), nn.MSELoss())
    return lambda x: train(x, x)


def rows_data(rng: np.random.Generator, n: int) -> Arrays:
    return uniform(rng, n, 28, 28), rng.integers(0, 10, n)


def lstm(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    Module: Any = nn.Module

    class Net(Module):
        """The rows of an image as a sequence; the last state gives the class."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(28, 64, batch_first=True)
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            states, _ = self.lstm(x)
            return self.head(states[:, -1])

    model = Net()
    return fit(mod.optim.Adam(model.parameters(), lr=1e-3), wrap(model), nn.CrossEntropyLoss())


TOKENS, LENGTH = 64, 64


def token_data(rng: np.random.Generator, n: int) -> Arrays:
    return rng.integers(0, TOKENS, (n, LENGTH)), rng.integers(0, 10, n)


def transformer(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    Module: Any = nn.Module

    class Net(Module):
        """A classifier of sequences: embedding, two encoder layers, the mean over tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 64)
            self.position = nn.Parameter(mod.zeros(LENGTH, 64))
            layer = nn.TransformerEncoderLayer(64, 4, dim_feedforward=256, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(self.embedding(x) + self.position).mean(1))

    model = Net()
    return fit(mod.optim.AdamW(model.parameters(), lr=1e-3), wrap(model), nn.CrossEntropyLoss())


def colour_data(rng: np.random.Generator, n: int) -> Arrays:
    return normal(rng, n, 3, 32, 32), rng.integers(0, 10, n)


def residual(mod: Any, wrap: Wrap) -> Callable[..., Any]:
    nn = mod.nn
    Module: Any = nn.Module

    class Block(Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(outside)
            self.shortcut = nn.Sequential()
            if stride != 1 or inside != outside:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )

        def forward(self, x: Any) -> Any:
            y = mod.relu(self.norm1(self.conv1(x)))
            return mod.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 16, 1),
        Block(16, 32, 2), Block(32, 32, 1),
        Block(32, 64, 2), Block(64, 64, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = mod.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return fit(optimizer, wrap(model), nn.CrossEntropyLoss())


WORKLOADS = (
    Workload("quadratic", "quadratic regression, 100x1, 1-10-1, SGD",
             10, 100, 60, quadratic_data, quadratic),
    Workload("two_layer", "two-layer 64x1000-100-10, SGD", 3, 64, 40, two_layer_data, two_layer),
    Workload("cat_logistic", "cat logistic 209x12288-1, BCE",
             1.5, 209, 120, cat_data, cat_logistic, batches=5),
    Workload("cat_deep", "cat deep 209x12288-512-12288-512-1",
             1.3, 209, 120, cat_data, cat_deep, batches=5),
    Workload("mlp", "MNIST MLP 32x784-128-10, Adam", 6, 32, 20, digit_data, mlp),
    Workload("cnn", "MNIST CNN, batch 64, Adadelta", 2, 64, 40, image_data, cnn, batches=12),
    Workload("autoencoder", "auto-encoder 784-128-32-128-784, batch 128, Adam",
             2, 128, 70, autoencoder_data, autoencoder),
    Workload("lstm", "LSTM 28->64 over 28 steps, batch 64, Adam", 2, 64, 40, rows_data, lstm),
    Workload("transformer", "transformer encoder 2 layers, d 64, 4 heads, 16x64 tokens, AdamW",
             2, 16, 10, token_data, transformer),
    Workload("residual", "residual CNN on 32x32x3, batch 32, BatchNorm, SGD momentum",
             1.5, 32, 20, colour_data, residual, batches=12),
)  # fmt: skip
