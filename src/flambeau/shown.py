"""Where classes say that they are from while ``import torch`` means Flambeau: as PyTorch's do."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["hide", "renewed", "show"]

# Classes that are in another module here.
_MOVED = {
    "Tensor": "torch", "Size": "torch", "device": "torch", "dtype": "torch",
    "Generator": "torch._C",
}  # fmt: skip
# Packages whose modules are called as PyTorch's.
_PACKAGES = (
    "flambeau.amp", "flambeau.autograd.function", "flambeau.distributions",
    "flambeau.nn.parameter", "flambeau.nn.utils", "flambeau.optim", "flambeau.utils.data",
)  # fmt: skip
# Modules there that are packages here.
_GATHERED = ("flambeau.distributions.transforms", "flambeau.optim.lr_scheduler")

# What was renamed: the class, and where it is; the modules that have been looked through.
_own: dict[type, str] = {}
_seen: set[str] = set()


def show() -> None:
    """Has classes say where PyTorch's are: those that are loaded and were not asked yet."""
    flambeau = sys.modules["flambeau"]
    if not _own:
        for name, place in _MOVED.items():
            _rename(getattr(flambeau, name), place)
        for kind, place in _layers():
            _rename(kind, place)
    for name, module in list(sys.modules.items()):
        if name in _seen or not name.startswith(_PACKAGES) or module is None:
            continue
        _seen.add(name)
        place = next((g for g in _GATHERED if name.startswith(g)), name)
        place = "torch" + place.removeprefix("flambeau")
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == name:
                _rename(kind, place)
        # Where the source of such a class is looked up.
        sys.modules.setdefault("torch" + name.removeprefix("flambeau"), module)


def renewed() -> None:
    """``show`` for what was loaded since, if classes say so now."""
    if _own:
        show()


def hide() -> None:
    """Undoes :func:`show`."""
    for kind, place in _own.items():
        kind.__module__ = place
    _own.clear()
    _seen.clear()


def _rename(kind: type, place: str) -> None:
    _own[kind] = kind.__module__
    kind.__module__ = place


def _layers() -> list[tuple[type, str]]:
    """The layers, and the file of PyTorch's that each is in."""
    from flambeau.nn import layers  # upward: the table of files

    found: dict[Any, str] = {}
    for file in layers.FILES:
        module = layers.load(file)
        sys.modules.setdefault(f"torch.nn.modules.{file}", module)
        for name in module.__all__:
            kind = getattr(module, name)
            own = kind.__module__.rpartition(".")[2]
            if isinstance(kind, type) and (kind not in found or own == file):
                found[kind] = f"torch.nn.modules.{file}"
    return list(found.items())
