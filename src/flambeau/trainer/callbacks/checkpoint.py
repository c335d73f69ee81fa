"""Checkpoint: the base of callbacks that write checkpoints, which are called after all others."""

from __future__ import annotations

from flambeau.trainer.callback import Callback

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Base of callbacks that write checkpoints.

    At every moment they come last, after the module's own hook and after values went to the
    loggers: what they write is the whole of that moment.
    """
