"""Matrix products on one thread: ours beside OpenBLAS (NumPy) and MKL (PyTorch, where it is there).

    python benchmarks/gemm.py [substring of a case's name]

Billions of operations a second, from the median processor time of runs that alternate.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from flambeau.run.compiler.gemm import Product, product
from flambeau.run.compiler.target import host
from native_plans import compiled, lent

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None

# m, n, k, whether A and B are contiguous ("n") or transposed ("t"), batch
CASES = {
    "8": (8, 8, 8, "nn", 1),
    "16": (16, 16, 16, "nn", 1),
    "32": (32, 32, 32, "nn", 1),
    "64": (64, 64, 64, "nn", 1),
    "128": (128, 128, 128, "nn", 1),
    "256": (256, 256, 256, "nn", 1),
    "512": (512, 512, 512, "nn", 1),
    "1000": (1000, 1000, 1000, "nn", 1),
    "1024": (1024, 1024, 1024, "nn", 1),
    "2048": (2048, 2048, 2048, "nn", 1),
    "1024 x @ W.T": (1024, 1024, 1024, "nt", 1),
    "1024 X.T @ y": (1024, 1024, 1024, "tn", 1),
    "quadratic regression": (100, 10, 1, "nt", 1),
    "quadratic regression, out": (100, 1, 10, "nt", 1),
    "mnist x @ W.T": (32, 128, 784, "nt", 1),
    "mnist dW": (128, 784, 32, "tn", 1),
    "mnist dX": (32, 784, 128, "nn", 1),
    "mnist head": (32, 10, 128, "nt", 1),
    "two layers": (64, 100, 1000, "nt", 1),
    "two layers dW": (100, 1000, 64, "tn", 1),
    "cats x @ W": (209, 512, 12288, "nn", 1),
    "cats x @ W.T": (209, 512, 12288, "nt", 1),
    "cats dW": (12288, 512, 209, "tn", 1),
    "logistic": (209, 1, 12288, "nn", 1),
    "logistic dw": (12288, 1, 209, "tn", 1),
    "convnet head": (64, 128, 9216, "nt", 1),
    "convnet head dX": (64, 9216, 128, "nn", 1),
    "convnet head dW": (128, 9216, 64, "tn", 1),
    "lstm input": (64, 256, 28, "nt", 1),
    "lstm hidden": (64, 256, 64, "nt", 1),
    "attention scores": (16, 16, 64, "nt", 64),
    "attention values": (16, 64, 16, "nn", 64),
    "batched": (64, 64, 16, "nn", 64),
    "vector @ matrix": (1, 1024, 1024, "nn", 1),
    "vector @ W.T": (1, 1024, 1024, "nt", 1),
    "one row of many": (1, 4096, 4096, "nn", 1),
}


def arrays(m: int, n: int, k: int, kinds: str, batch: int) -> list[np.ndarray]:
    """The operands as they lie in memory, and C."""
    shapes = [
        (batch, m, k) if kinds[0] == "n" else (batch, k, m),
        (batch, k, n) if kinds[1] == "n" else (batch, n, k),
        (batch, m, n),
    ]
    rng = np.random.default_rng(0)
    found = []
    for shape in shapes:
        array = lent(4 * int(np.prod(shape))).view(np.float32).reshape(shape)
        array[:] = rng.standard_normal(shape)
        found.append(array)
    return found


def strides(array: np.ndarray) -> tuple[int, int, int]:
    batch, rows, columns = (s // array.itemsize for s in array.strides)
    return batch, rows, columns


def ours(a: np.ndarray, b: np.ndarray, c: np.ndarray):
    """A call that runs every stage's kernel over all its units."""
    batch, m, n = c.shape
    spec = Product(m, n, a.shape[2], batch, strides(a), strides(b), strides(c), "float")
    plan = product(spec, host())
    memory = {"a": a, "b": b, "c": c, "w": lent(plan.workspace + 64)}
    calls = []
    for stage in plan.stages:
        table = (ctypes.c_void_p * len(stage.operands))(
            *[memory[o].ctypes.data for o in stage.operands]
        )
        scratch = lent(stage.kernel.scratch + 64)
        kept = (table, scratch, memory)  # calls have only their addresses
        where = ctypes.addressof(table), scratch.ctypes.data
        calls.append((compiled(stage.kernel), *where, stage.units, kept))

    def call() -> None:
        for function, table, scratch, units, _ in calls:
            function(table, 0, units, scratch)

    return call


def measured(calls: list, seconds: float = 0.3) -> list[float]:
    """The median time of each, in turn."""
    repeats, times = [], [[] for _ in calls]
    for call in calls:
        call()
        begin = time.thread_time()
        call()
        repeats.append(max(1, int(1e-3 / max(time.thread_time() - begin, 1e-7))))
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or len(times[0]) < 7:
        for call, repeat, found in zip(calls, repeats, times, strict=True):
            begin = time.thread_time()
            for _ in range(repeat):
                call()
            found.append((time.thread_time() - begin) / repeat)
    return [float(np.median(found)) for found in times]


def main(wanted: str = "") -> None:
    print(f"{'':26}{'m x n x k':>20}{'':4}{'ours':>8}{'OpenBLAS':>10}{'MKL':>8}{'ours/best':>11}")
    for name, (m, n, k, kinds, batch) in CASES.items():
        if wanted not in name:
            continue
        memory = arrays(m, n, k, kinds, batch)
        a, b, c = memory
        a = a.transpose(0, 2, 1) if kinds[0] == "t" else a
        b = b.transpose(0, 2, 1) if kinds[1] == "t" else b
        other = np.empty_like(c)
        x, y, z = (a[0], b[0], other[0]) if batch == 1 else (a, b, other)
        calls = [ours(a, b, c), lambda x=x, y=y, z=z: np.matmul(x, y, out=z)]
        if torch is not None:
            tensors = [torch.from_numpy(v) for v in (x, y, z)]
            multiply = torch.mm if batch == 1 else torch.bmm
            calls.append(lambda f=multiply, t=tensors: f(t[0], t[1], out=t[2]))
        rates = [2e-9 * batch * m * n * k / t for t in measured(calls)]
        np.testing.assert_allclose(c, other, rtol=1e-3, atol=1e-3 * k**0.5)
        best = rates[0] / max(rates[1:])
        shape = f"{f'{batch} x ' if batch > 1 else ''}{m} x {n} x {k}"
        cells = "".join(f"{r:>{w}.1f}" for r, w in zip(rates, (8, 10, 8), strict=False))
        print(f"{name:26}{shape:>20}  {kinds}{cells}{best:>11.2f}", flush=True)


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when the libraries are loaded
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    main(*sys.argv[1:])
