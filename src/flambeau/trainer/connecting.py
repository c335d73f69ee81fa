"""Which functions are called at each moment of a run, found once when it begins."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from flambeau.trainer.callback import Callback, Checkpoint
from flambeau.trainer.hooks import DataHooks
from flambeau.trainer.module import LightningModule

if TYPE_CHECKING:
    from flambeau.trainer.trainer import Trainer

__all__ = ["Moments", "is_overridden", "positional", "with_last_checkpoints"]

# Where callbacks that write checkpoints come after everything else.
_WRITTEN_AT = ("on_train_batch_end", "on_validation_end", "on_train_epoch_end", "on_train_end")
_OLD_NAMES = {
    "training_step": ("train_step",),
    "train_dataloader": ("train_loader", "training_loader"),
    "val_dataloader": ("val_loader", "validation_loader"),
    "test_dataloader": ("test_loader",),
    "training_epoch_end": ("training_end", "train_end"),
    "validation_epoch_end": ("validation_end",),
    "test_epoch_end": ("test_end",),
}


def is_overridden(name: str, owner: object, base: type = LightningModule) -> bool:
    """Whether ``owner`` has a ``name`` of its own, by its class or set on the object."""
    if name in getattr(owner, "__dict__", ()):
        return True
    own = getattr(type(owner), name, None)
    return own is not None and own is not getattr(base, name, None)


def own_function(owner: object, name: str, base: type) -> Callable | None:
    """The function ``name`` of ``owner``, also by a name of Lightning's first years; None if it is
    only the base class's.
    """
    for known in (name, *_OLD_NAMES.get(name, ())):
        if is_overridden(known, owner, base):
            return getattr(owner, known)
    return None


def positional(function: Callable, most: int) -> int:
    """How many arguments by position a function takes, ``most`` at most.

    >>> positional(lambda batch, batch_idx: None, 3)
    2
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return most
    return min(
        most, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    )


def with_last_checkpoints(callbacks: Sequence[Callback]) -> list[Callback]:
    """The callbacks in order, those that write checkpoints after all others."""
    return sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))


class Moments:
    """The functions to call at each moment: those that are overridden, nothing for the others.

    ``moments[name]`` has the callbacks', then the module's. Callbacks that write checkpoints are
    not among them where they write: :meth:`of_checkpoints` gives those.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self.trainer = trainer
        self.owner = module
        self.callbacks = trainer.callbacks
        self._known: dict[str, list[Callable]] = {}

    def __getitem__(self, name: str) -> list[Callable]:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = [
                *self.of_callbacks(
                    name, lambda c: name not in _WRITTEN_AT or not isinstance(c, Checkpoint)
                ),
                *self.of_module(name),
            ]
        return found

    def of_callbacks(self, name: str, wanted: Callable[[Callback], bool]) -> list[Callable]:
        """The hooks of callbacks that are overridden, in order."""
        return [
            partial(getattr(callback, name), self.trainer, self.owner)
            for callback in self.callbacks
            if wanted(callback) and is_overridden(name, callback, Callback)
        ]

    def of_checkpoints(self, name: str) -> list[Callable]:
        """The hooks of callbacks that write checkpoints."""
        key = f"{name} of checkpoints"
        if key not in self._known:
            self._known[key] = self.of_callbacks(name, lambda c: isinstance(c, Checkpoint))
        return self._known[key]

    def own(self, name: str) -> Callable | None:
        """The module's function ``name``; None if it is only the base class's."""
        return own_function(self.owner, name, LightningModule)

    def of_module(self, name: str) -> list[Callable]:
        """The module's hook, if it is overridden."""
        own = self.own(name)
        return [] if own is None else [own]

    def loader(self, name: str) -> Callable | None:
        """What makes a stage's loaders: the data module's function, else the module's."""
        data = self.trainer.datamodule
        found = own_function(data, name, DataHooks) if data is not None else None
        return found or self.own(name)
