"""Files of events, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util


def events_of(folder: Path) -> list[list]:
    """The events of each event file below a folder, without the time, in order."""
    found = []
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        events = []
        for event in event_file_loader.EventFileLoader(str(path)).Load():
            assert event.wall_time > 1.6e9
            event.ClearField("wall_time")
            event.ClearField("source_metadata")
            events.append(event)
        found.append(events)
    return found


def read(folder: Path) -> EventAccumulator:
    sizes = {"scalars": 0, "images": 0, "audio": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def array_of(read_back: EventAccumulator, tag: str) -> np.ndarray:
    return tensor_util.make_ndarray(read_back.Tensors(tag)[0].tensor_proto)
