"""Training on batches of another length each: PyTorch and Flambeau, each in a process of its own.

    python benchmarks/lengths.py                         # all, one thread each, nothing cached
    python benchmarks/lengths.py --only encoder,lstm     # names that contain one of these
    python benchmarks/lengths.py --batches               # batch sizes vary as well
    python benchmarks/lengths.py --apart                 # Flambeau without plans for all lengths

Batches are padded to their longest sequence, 17 to 100 elements. The times are of the whole loop,
first steps and compilation included, in seconds: by the clock, by the processor (all threads), of
that LLVM's; kernels that it compiled in all and in the last half of the steps; steps that ran
natively; the median of the last 50 steps, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

WORDS, CLASSES = 300, 6
Model = Callable[[ModuleType], Any]


def encoder(T: ModuleType) -> Any:
    """Two layers of a transformer's encoder over words, with a padding mask."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 64, padding_idx=0)
            self.position = nn.Embedding(128, 64)
            layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x):
            padding = x == 0
            h = self.embedding(x) + self.position(T.arange(x.size(1)))
            h = self.encoder(h, src_key_padding_mask=padding)
            keep = (~padding).unsqueeze(2)
            return self.head((h * keep).sum(1) / keep.sum(1))

    return Net()


def attention(T: ModuleType) -> Any:
    """The same by hand: products, a mask and softmax."""
    nn, F = T.nn, T.nn.functional

    class Block(nn.Module):
        def __init__(self, d, heads):
            super().__init__()
            self.heads = heads
            self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)
            self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

        def forward(self, x, padding):
            b, t, d = x.shape
            parts = self.qkv(self.first(x)).view(b, t, 3, self.heads, d // self.heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            scores = q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5
            scores = scores.masked_fill(padding[:, None, None, :], float("-inf"))
            mixed = (F.softmax(scores, -1) @ v).transpose(1, 2).reshape(b, t, d)
            x = x + self.out(mixed)
            return x + self.down(F.relu(self.up(self.second(x))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 64, padding_idx=0)
            self.blocks = nn.ModuleList([Block(64, 4) for _ in range(2)])
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x):
            padding = x == 0
            h = self.embedding(x)
            for block in self.blocks:
                h = block(h, padding)
            return self.head(h.mean(1))

    return Net()


def mixer(T: ModuleType) -> Any:
    """Linear layers, normalisation and a masked mean: nests and products alone."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 64, padding_idx=0)
            self.norm = nn.LayerNorm(64)
            self.up, self.down = nn.Linear(64, 128), nn.Linear(128, 64)
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x):
            keep = (x != 0).unsqueeze(2)
            h = self.embedding(x)
            h = h + self.down(nn.functional.gelu(self.up(self.norm(h))))
            return self.head((h * keep).sum(1) / keep.sum(1))

    return Net()


def convolutions(T: ModuleType) -> Any:
    """Two convolutions along the words, and the largest value of each channel."""
    nn, F = T.nn, T.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
            self.first = nn.Conv1d(32, 64, 3, padding=1)
            self.second = nn.Conv1d(64, 64, 3, padding=1)
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x):
            h = F.relu(self.first(self.embedding(x).transpose(1, 2)))
            return self.head(F.relu(self.second(h)).amax(2))

    return Net()


def lstm(T: ModuleType) -> Any:
    """nn.LSTM over words; the mean of its outputs."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
            self.lstm = nn.LSTM(32, 64, batch_first=True)
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x):
            return self.head(self.lstm(self.embedding(x))[0].mean(1))

    return Net()


def pooled(T: ModuleType) -> Any:
    """Convolutions along the words, grouped ones, too; pooling between and over all of them."""
    nn, F = T.nn, T.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
            self.first = nn.Conv1d(32, 64, 3, padding=1)
            self.second = nn.Conv1d(64, 64, 3, padding=1, groups=64)
            self.third = nn.Conv1d(64, 64, 1)
            self.head = nn.Linear(128, CLASSES)

        def forward(self, x):
            h = F.max_pool1d(F.relu(self.first(self.embedding(x).transpose(1, 2))), 2)
            h = F.relu(self.third(self.second(h)))
            most = F.max_pool1d(h, h.size(2)).squeeze(2)
            return self.head(T.cat([most, F.adaptive_avg_pool1d(h, 1).squeeze(2)], 1))

    return Net()


def last(T: ModuleType) -> Any:
    """nn.GRU over words; its output at the end of each sequence, gathered, and at its middle."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
            self.gru = nn.GRU(32, 64, batch_first=True)
            self.head = nn.Linear(128, CLASSES)

        def forward(self, x):
            h, _ = self.gru(self.embedding(x))
            ends = (x != 0).sum(1) - 1
            last = h.gather(1, ends.view(-1, 1, 1).expand(-1, 1, 64)).squeeze(1)
            middle = h[T.arange(len(h)), ends // 2]
            return self.head(T.cat([last, middle], 1))

    return Net()


MODELS: dict[str, Model] = {
    f.__name__: f for f in (mixer, attention, encoder, convolutions, lstm, pooled, last)
}


def batches(steps: int, vary: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Padded batches and their classes."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(steps):
        rows, longest = int(rng.integers(5, 33)) if vary else 16, int(rng.integers(17, 101))
        lengths = rng.integers(5, longest + 1, rows)
        lengths[0] = longest
        words = rng.integers(1, WORDS, (rows, longest))
        words[np.arange(longest) >= lengths[:, None]] = 0
        found.append((words, lengths % CLASSES))
    return found


def train(T: ModuleType, name: str, steps: int, vary: bool) -> list[Any]:
    """Trains and gives what the header says, with the sum of losses."""
    T.manual_seed(0)
    T.set_num_threads(1)
    model = MODELS[name](T)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    times, losses, half = [], 0.0, 0
    data = batches(steps, vary)
    stats = None
    if T.__name__ == "flambeau":
        from flambeau.run.compiler.code import stats
    begun, used = time.perf_counter(), time.process_time()
    for i, (x, y) in enumerate(data):
        if i == steps // 2 and stats is not None:
            half = stats.compiled
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = T.nn.functional.cross_entropy(model(T.tensor(x)), T.tensor(y))
        loss.backward()
        optimizer.step()
        losses += loss.item()
        times.append(time.perf_counter() - start)
    wall, used = time.perf_counter() - begun, time.process_time() - used
    compiled = [0, 0, 0] if stats is None else [stats.compile_seconds, stats.compiled, half]
    return [wall, used, *compiled, 1e3 * statistics.median(times[-50:]), losses]


HEADER = """\
| program | PyTorch s, processor s | Flambeau s, processor s | ratio (clock, processor) | LLVM s \
| kernels, of them late | last steps ms: PyTorch, Flambeau | losses differ by |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def child(library: str, name: str, steps: int, vary: bool, *more: str) -> list[float]:
    """``train`` in a process of its own, with nothing cached."""
    with tempfile.TemporaryDirectory() as folder:
        given = [sys.executable, __file__, "--child", library, "--only", name]
        given += ["--steps", str(steps), *(["--batches"] if vary else []), *more]
        out = subprocess.run(
            given, capture_output=True, text=True, env={**os.environ, "FLAMBEAU_CACHE": folder}
        )
    if out.returncode:
        raise RuntimeError(out.stderr[-2000:])
    return [float(v) for v in out.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--child", default="")
    args = parser.parse_args()
    if args.child:
        import importlib

        if args.apart:
            from flambeau.run import forms

            forms.ATTEMPTS = 0
        print(*train(importlib.import_module(args.child), args.only, args.steps, args.batches))
        return
    print(HEADER)
    for name in MODELS:
        if any(part in name for part in args.only.split(",")):
            peer = child("torch", name, args.steps, args.batches)
            more = ["--apart"] if args.apart else []
            own = child("flambeau", name, args.steps, args.batches, *more)
            print(
                f"| {name} | {peer[0]:.2f}, {peer[1]:.2f} | {own[0]:.2f}, {own[1]:.2f} "
                f"| {peer[0] / own[0]:.2f}, {peer[1] / own[1]:.2f} | {own[2]:.2f} "
                f"| {own[3]:.0f}, {own[3] - own[4]:.0f} | {peer[5]:.2f}, {own[5]:.2f} "
                f"| {abs(peer[6] - own[6]) / abs(peer[6]):.1g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
