"""Convolution kernels beside PyTorch's: forward, gradient of the input, gradient of the weights.

``python benchmarks/convolution.py [--threads N] [name...]``. Ours run on one thread, PyTorch's on
as many as are asked for; medians of alternating runs, in microseconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from flambeau import dtypes
from flambeau.ir.graph import Aval
from flambeau.ir.reference import convolution_output_size
from flambeau.run.compiler.convolution import PLANS
from flambeau.run.compiler.target import host
from native_plans import Runner

# Name: image, kernels, stride, padding, dilation, groups.
CASES: dict[str, tuple] = {
    "mnist 1": ((64, 1, 28, 28), (32, 1, 3, 3), 1, 0, 1, 1),
    "mnist 2": ((64, 32, 26, 26), (64, 32, 3, 3), 1, 0, 1, 1),
    "res 3-16": ((32, 3, 32, 32), (16, 3, 3, 3), 1, 1, 1, 1),
    "res 16": ((32, 16, 32, 32), (16, 16, 3, 3), 1, 1, 1, 1),
    "res 16-32 s2": ((32, 16, 32, 32), (32, 16, 3, 3), 2, 1, 1, 1),
    "res 16-32 1x1 s2": ((32, 16, 32, 32), (32, 16, 1, 1), 2, 0, 1, 1),
    "res 32": ((32, 32, 16, 16), (32, 32, 3, 3), 1, 1, 1, 1),
    "res 32-64 s2": ((32, 32, 16, 16), (64, 32, 3, 3), 2, 1, 1, 1),
    "res 32-64 1x1 s2": ((32, 32, 16, 16), (64, 32, 1, 1), 2, 0, 1, 1),
    "res 64": ((32, 64, 8, 8), (64, 64, 3, 3), 1, 1, 1, 1),
    "5x5": ((16, 16, 28, 28), (32, 16, 5, 5), 1, 2, 1, 1),
    "1x1": ((16, 64, 28, 28), (64, 64, 1, 1), 1, 0, 1, 1),
    "7x7 s2": ((4, 3, 112, 112), (64, 3, 7, 7), 2, 3, 1, 1),
    "1-d": ((16, 32, 512), (64, 32, 5), 1, 2, 1, 1),
    "3-d": ((4, 16, 8, 16, 16), (32, 16, 3, 3, 3), 1, 1, 1, 1),
    "groups": ((16, 64, 28, 28), (64, 16, 3, 3), 1, 1, 1, 4),
    "depthwise": ((16, 64, 28, 28), (64, 1, 3, 3), 1, 1, 1, 64),
    "depthwise s2": ((16, 64, 28, 28), (64, 1, 3, 3), 2, 1, 1, 64),
    "dilated": ((16, 32, 28, 28), (32, 32, 3, 3), 1, 2, 2, 1),
    "256 at 14x14": ((4, 256, 14, 14), (256, 256, 3, 3), 1, 1, 1, 1),
    "512 at 7x7": ((4, 512, 7, 7), (512, 512, 3, 3), 1, 1, 1, 1),
}
NAMES = ("convolution", "convolution_input_gradient", "convolution_weight_gradient")


def functions(case: tuple, name: str, dtype: str = "float32"):
    """Two functions without arguments that do the same work: ours and PyTorch's."""
    x_shape, w_shape, stride, padding, dilation, groups = case
    d = len(x_shape) - 2
    how = dict(stride=(stride,) * d, padding=((padding, padding),) * d, dilation=(dilation,) * d)
    size = convolution_output_size(x_shape[2:], w_shape[2:], **how)
    how["groups"] = groups
    y_shape = (x_shape[0], w_shape[0], *size)
    kind = getattr(dtypes, dtype)
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, y_shape))
    tx, tw, tg = map(torch.from_numpy, (x, w, g))
    inputs = {
        NAMES[0]: ([x, w], y_shape),
        NAMES[1]: ([g, w], x_shape),
        NAMES[2]: ([g, x], w_shape),
    }
    arrays, out_shape = inputs[name]
    extra = {NAMES[1]: {"input_size": x_shape[2:]}, NAMES[2]: {"kernel_size": w_shape[2:]}}
    outs = [Aval(out_shape, kind)]
    attrs = how | extra.get(name, {})
    plan = PLANS[name](attrs, [Aval(a.shape, kind) for a in arrays], outs, host())
    ours = Runner(plan, outs).bind(*arrays)
    f = (None, torch.conv1d, torch.conv2d, torch.conv3d)[d]
    if name == NAMES[0]:
        return ours, lambda: f(tx, tw, None, stride, padding, dilation, groups)
    mask = [name == NAMES[1], name == NAMES[2], False]
    backward = torch.ops.aten.convolution_backward
    return ours, lambda: backward(
        tg, tx, tw, None, [stride] * d, [padding] * d, [dilation] * d, False, [0] * d, groups, mask
    )


def medians(*rivals, seconds: float = 0.25) -> list[float]:
    """Of each function, in microseconds."""
    times: list[list[float]] = [[] for _ in rivals]
    for f in rivals:
        f()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for f, found in zip(rivals, times, strict=True):
            start = time.perf_counter()
            f()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) * 1e6 for found in times]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'':18}" + "".join(f"{n:>34}" for n in ("forward", "input", "weight")))
    for label, case in CASES.items():
        if args.names and label not in args.names:
            continue
        row = f"{label:18}"
        totals = [0.0, 0.0]
        for name in NAMES:
            ours, theirs = medians(*functions(case, name, args.dtype))
            totals = [totals[0] + ours, totals[1] + theirs]
            row += f"{ours:10.0f} {theirs:10.0f} {theirs / ours:6.2f}x     "
        print(row + f"  all {totals[1] / totals[0]:5.2f}x", flush=True)


if __name__ == "__main__":
    main()
