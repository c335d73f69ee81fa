"""Checkpoint, under the name of the file that Lightning has it in."""

from __future__ import annotations

from flambeau.trainer.callback import Checkpoint

__all__ = ["Checkpoint"]
