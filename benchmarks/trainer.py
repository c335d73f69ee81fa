"""What the trainer costs a step, against a loop written by hand.

``python benchmarks/trainer.py [--steps 400] [--rounds 15]`` trains 784-128-10 on batches of 32
with Adam, by hand and by the trainer in turns, with and without logging, and prints medians in us a
step, and quartiles of what the trainer takes more. Where Lightning is installed its own overhead,
over a loop by hand in PyTorch, is measured in the same turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# With `--cpu` the process's own time: what other processes take does not count.
CLOCK: Callable[[], float] = time.perf_counter


class Batches:
    """Batches that are there already: a loader that takes no time. Lightning takes a list for
    several loaders.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def programs(torch: Any, pl: Any, steps: int, callback: type, logger: Any) -> dict[str, Callable]:
    """The loops to time: each returns its seconds."""
    nn, F = torch.nn, torch.nn.functional
    torch.manual_seed(0)
    batches = Batches((torch.randn(32, 784), torch.randint(0, 10, (32,))) for _ in range(steps))

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
            self.begun = CLOCK()

        def on_train_end(self, trainer, module):
            self.seconds = CLOCK() - self.begun

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
            begun = CLOCK()
            for x, y in batches:
                loss = F.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss.item()
            return CLOCK() - begun

        return run

    return {
        "by hand": by_hand(),
        "trainer": by_trainer(False),
        "trainer, logging": by_trainer(True),
    }


def measure(libraries: dict[str, dict[str, Callable]], steps: int, rounds: int) -> None:
    """Runs all loops in turns; prints medians, and quartiles of each round's difference."""
    times: dict[tuple[str, str], list[float]] = {}
    order = [(name, kind) for name, loops in libraries.items() for kind in loops]
    for number in range(rounds + 2):
        # Another is first each time: what ran before one changes what it finds in the caches.
        for key in order[number % len(order) :] + order[: number % len(order)]:
            seconds = libraries[key[0]][key[1]]()
            if number >= 2:
                times.setdefault(key, []).append(seconds / steps * 1e6)
    for name, kind in order:
        taken = times[name, kind]
        hand = times[name, "by hand"]
        more = [t - h for t, h in zip(taken, hand, strict=True)]
        low, middle, high = statistics.quantiles(more, n=4)
        spread = "" if kind == "by hand" else f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"| {name} | {kind} | {statistics.median(taken):.1f} | {spread} |", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="the process's time, not the clock's")
    options = parser.parse_args()
    if options.cpu:
        global CLOCK
        CLOCK = time.process_time
    import flambeau
    from flambeau import trainer
    from flambeau.trainer.loggers import Logger

    class Nowhere(Logger):
        name, version = "nowhere", 0

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, params, *args, **kwargs):
            pass

    libraries = {"Flambeau": programs(flambeau, trainer, options.steps, trainer.Callback, Nowhere)}
    if importlib.util.find_spec("lightning") is None:
        print("Lightning is not installed: not measured", file=sys.stderr)
    else:
        import lightning.pytorch as pl
        import torch
        from lightning.pytorch.loggers.logger import DummyLogger

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        loops = programs(torch, pl, options.steps, pl.Callback, DummyLogger)
        libraries[f"Lightning {pl.__version__}"] = loops
    print("| | loop | us a step | more than by hand |\n| --- | --- | ---: | ---: |")
    measure(libraries, options.steps, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
