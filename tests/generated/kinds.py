"""What the name of a sample stands for, and the samples of each kind."""

from __future__ import annotations

import inspect

import torch

from generated.samples import Sample, chosen
from generated.sides import find

CLASSES: dict[str, type] = {
    "layer": torch.nn.Module,
    "optimizer": torch.optim.Optimizer,
    "schedule": torch.optim.lr_scheduler.LRScheduler,
    "distribution": torch.distributions.Distribution,
}


def kind(name: str) -> str:
    """``function``, ``layer``, ``optimizer``, ``schedule`` or ``distribution``."""
    if name.startswith("Tensor."):
        return "function"
    found = find(torch, name)
    if not inspect.isclass(found):
        return "function"
    return next((word for word, base in CLASSES.items() if issubclass(found, base)), "function")


def of_kind(word: str) -> dict[str, list[Sample]]:
    """The samples of all names of a kind, of those that are asked for."""
    return {name: found for name, found in chosen().items() if kind(name) == word}


def compiled(samples: list[Sample], everything: bool) -> list[Sample]:
    """Those to compile: every one, or the first that is none of a refusal."""
    taken = [s for s in samples if not s.refused and not s.marked("no-compile")]
    return taken if everything else taken[:1]
