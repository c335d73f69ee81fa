"""TensorBoard: event files through ``tensorboardX``, with PyTorch's ``SummaryWriter``."""

from __future__ import annotations

from flambeau.utils.tensorboard.event_file import FileWriter, RecordWriter
from flambeau.utils.tensorboard.writer import SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
