"""The default device: where tensors are made when no device is named."""

from __future__ import annotations

from typing import Any

from flambeau.device import CPU, device
from flambeau.functions.making import check_device

_current = [CPU]


def get_default_device() -> device:
    """Where tensors are made when no device is named.

    >>> torch.get_default_device()
    device(type='cpu')
    """
    return _current[0]


def set_default_device(device: Any) -> None:
    """Sets where tensors are made; ``RuntimeError`` for a device this machine lacks.

    >>> torch.set_default_device("cpu")
    """
    from flambeau.device import device as Device

    found = CPU if device is None else device if isinstance(device, Device) else Device(device)
    check_device(found)
    _current[0] = found
