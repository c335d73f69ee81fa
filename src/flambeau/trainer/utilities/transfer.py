"""Moving a batch, whatever its structure, to a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["move_data_to_device"]


def move_data_to_device(batch: Any, device: Any) -> Any:
    """The batch with everything that has a ``to`` method moved to ``device``.

    Lists, tuples, named tuples, dictionaries and dataclasses are looked through.

    >>> move_data_to_device({"x": [torch.ones(1)]}, "cpu")
    {'x': [tensor([1.])]}
    """
    if hasattr(batch, "to") and callable(batch.to):
        moved = batch.to(device)
        return batch if moved is None else moved
    if isinstance(batch, Mapping):
        pairs = {k: move_data_to_device(v, device) for k, v in batch.items()}
        return pairs if type(batch) is dict else type(batch)(pairs)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move_data_to_device(v, device) for v in batch))
    if isinstance(batch, Sequence) and not isinstance(batch, (str, bytes)):
        return type(batch)(move_data_to_device(v, device) for v in batch)  # type: ignore[call-arg]
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.init}
        moved = {k: move_data_to_device(v, device) for k, v in fields.items()}
        return dataclasses.replace(batch, **moved)
    return batch
