"""What the trainer costs a step, against a loop written by hand.

``python benchmarks/trainer.py [--steps 400] [--rounds 15]`` trains 784-128-10 on batches of 32
with Adam, by hand and by the trainer in turns, with and without logging, and prints medians in us a
step. Where Lightning is installed its own overhead, over a loop by hand in PyTorch, is measured
beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any


def programs(torch: Any, pl: Any, steps: int, callback: type, logger: Any) -> dict[str, Callable]:
    """The loops to time: each returns its seconds."""
    nn, F = torch.nn, torch.nn.functional
    torch.manual_seed(0)
    batches = [(torch.randn(32, 784), torch.randint(0, 10, (32,))) for _ in range(steps)]

    class Net(pl.LightningModule):
        def __init__(self, logs: bool) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
            self.logs = logs

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            x, y = batch
            loss = F.cross_entropy(self(x), y)
            if self.logs:
                self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    class Clock(callback):
        def on_train_start(self, trainer, module):
            self.begun = time.perf_counter()

        def on_train_end(self, trainer, module):
            self.seconds = time.perf_counter() - self.begun

    def by_trainer(logs: bool) -> Callable[[], float]:
        module = Net(logs)

        def run() -> float:
            clock = Clock()
            trainer = pl.Trainer(
                max_epochs=1,
                accelerator="cpu",
                logger=logger() if logs else False,
                callbacks=[clock],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, batches)
            return clock.seconds

        return run

    def by_hand() -> Callable[[], float]:
        net = Net(False).net
        optimizer = torch.optim.Adam(net.parameters())

        def run() -> float:
            begun = time.perf_counter()
            for x, y in batches:
                loss = F.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss.item()
            return time.perf_counter() - begun

        return run

    return {
        "by hand": by_hand(),
        "trainer": by_trainer(False),
        "trainer, logging": by_trainer(True),
    }


def measure(name: str, loops: dict[str, Callable], steps: int, rounds: int) -> None:
    """Runs the loops in turns; prints medians, and medians of each round's difference."""
    times: dict[str, list[float]] = {kind: [] for kind in loops}
    for number in range(rounds + 2):
        for kind, run in loops.items():
            seconds = run()
            if number >= 2:
                times[kind].append(seconds / steps * 1e6)
    hand = times["by hand"]
    for kind, taken in times.items():
        more = statistics.median(t - h for t, h in zip(taken, hand, strict=True))
        print(f"| {name} | {kind} | {statistics.median(taken):.1f} | {more:+.1f} |", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    import flambeau
    from flambeau import trainer
    from flambeau.trainer.loggers import Logger

    class Nowhere(Logger):
        name, version = "nowhere", 0

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, params, *args, **kwargs):
            pass

    print("| | loop | us a step | more than by hand |\n| --- | --- | --- | --- |")
    loops = programs(flambeau, trainer, options.steps, trainer.Callback, Nowhere)
    measure("Flambeau", loops, options.steps, options.rounds)
    if importlib.util.find_spec("lightning") is None:
        print("Lightning is not installed: not measured", file=sys.stderr)
        return 0
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers.logger import DummyLogger

    loops = programs(torch, pl, options.steps, pl.Callback, DummyLogger)
    measure("Lightning", loops, options.steps, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
