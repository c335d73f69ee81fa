"""The default device: where tensors are made when no device is named."""

from __future__ import annotations

from typing import Any

from flambeau.device import CPU, device
from flambeau.functions.making import check_device, default_device

# The innermost `with device(...)` last.
_current = [CPU]


def get_default_device() -> device:
    """Where tensors are made when no device is named.

    >>> torch.get_default_device()
    device(type='cpu')
    """
    return _current[-1]


def set_default_device(device: Any) -> None:
    """Sets where tensors are made; ``RuntimeError`` for a device this machine lacks.

    >>> torch.set_default_device("cpu")
    """
    from flambeau.device import device as Device

    found = CPU if device is None else device if isinstance(device, Device) else Device(device)
    check_device(found)
    _current[-1] = found
    _tell()


def enter(found: device) -> None:
    """Makes it the default device until :func:`leave`."""
    check_device(found)
    _current.append(found)
    _tell()


def leave() -> None:
    """Undoes the last :func:`enter`."""
    _current.pop()
    _tell()


def _tell() -> None:
    found = _current[-1]
    default_device[0] = None if found.type == "cpu" else found
