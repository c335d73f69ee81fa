"""Makes ``import torch`` mean Flambeau, and undoes it.

A finder on ``sys.meta_path`` answers for ``torch`` and everything below it with the very module
objects of Flambeau, so ``torch.nn is flambeau.nn``. ``lightning``, ``lightning.pytorch`` and
``pytorch_lightning`` are the trainer in the same way.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import CodeType, ModuleType

from flambeau import version
from flambeau.shown import hide, show

__all__ = ["install", "uninstall", "is_installed", "where_to_look"]

# Child processes of `multiprocessing`'s spawn method get `sys.path` but not our finder; the module
# `torch` in this folder installs it there.
_SHIM = str(Path(__file__).parent / "shim")

# What a name stands for; of several that begin a module's name, the longest.
_ALIASES = {
    "torch": "flambeau",
    "lightning": "flambeau.trainer",
    "lightning.pytorch": "flambeau.trainer",
    "pytorch_lightning": "flambeau.trainer",
}
# Modules that are in another place here.
_MOVED = {
    "flambeau._dynamo.eval_frame": "flambeau.optimized",
    "flambeau.nn.attention.bias": "flambeau.nn.attention_bias",
    "flambeau.trainer.callbacks.callback": "flambeau.trainer.callback",
    "flambeau.trainer.core": "flambeau.trainer",
    "flambeau.trainer.core.datamodule": "flambeau.trainer.datamodule",
    "flambeau.trainer.core.hooks": "flambeau.trainer.hooks",
    "flambeau.trainer.core.module": "flambeau.trainer.module",
    "flambeau.trainer.core.optimizer": "flambeau.trainer.optimizers",
    "flambeau.trainer.trainer.states": "flambeau.trainer.state",
    "flambeau.trainer.trainer.trainer": "flambeau.trainer.trainer",
    "flambeau.trainer.utilities.seed": "flambeau.trainer.seeding",
}


def install() -> None:
    """Makes ``import torch`` (and ``torch.nn.functional`` …) mean Flambeau in this process.

    Calling it again changes nothing. ``torch.__version__`` is then the version of the PyTorch
    interface that Flambeau follows (see :mod:`flambeau.version`).

    Raises: ``ImportError`` if the real PyTorch is imported already: its modules are in use.
    """
    if is_installed():
        return
    loaded = sys.modules.get("torch")
    ours = importlib.import_module("flambeau")
    if loaded is not None and loaded is not ours and not _is_shim(loaded):
        raise ImportError(
            "flambeau.install(): PyTorch is already imported in this process (from "
            f"{getattr(loaded, '__file__', 'an unknown place')}). Call flambeau.install() before "
            "the first `import torch`; in a notebook, restart the kernel first."
        )
    sys.meta_path.insert(0, _Finder())
    sys.path.insert(min(1, len(sys.path)), _SHIM)
    sys.modules["torch"] = ours
    ours.__version__ = version.interface
    # Libraries ask a namespace's name which one it is.
    ours.__name__ = "torch"
    show()


def uninstall() -> None:
    """Undoes :func:`install`; names already bound to Flambeau's modules stay as they are."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    while _SHIM in sys.path:
        sys.path.remove(_SHIM)
    for name, module in list(sys.modules.items()):
        if _aliased(name) is not None and _is_ours(module):
            del sys.modules[name]
    ours = sys.modules["flambeau"]
    ours.__version__, ours.__name__ = version.flambeau, "flambeau"
    hide()


def is_installed() -> bool:
    """Whether ``import torch`` means Flambeau at present."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def where_to_look(name: str) -> str:
    """The sentence that ends every message about a name Flambeau lacks."""
    return (
        f"Flambeau has no '{name}'. What is supported is listed in docs/coverage.md; "
        "`flambeau doctor` prints this installation's versions for a report."
    )


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for the names in ``_ALIASES``, and all below them, with Flambeau's modules."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        real = _aliased(fullname)
        if real is None:
            return None
        try:
            module = importlib.import_module(real)
            show()
        except ModuleNotFoundError as error:
            if error.name is None or not (real + ".").startswith(error.name + "."):
                raise  # the module exists: something it needs is missing
            raise ModuleNotFoundError(
                f"No module named '{fullname}'. {where_to_look(fullname)}", name=fullname
            ) from None
        if any(moved.rpartition(".")[0] == real for moved in _MOVED):
            # A package there: `_MOVED` has what lies in it.
            module.__dict__.setdefault("__path__", [])
        loader = _Loader(module)
        return importlib.machinery.ModuleSpec(
            fullname, loader, is_package=hasattr(module, "__path__")
        )


class _Loader(importlib.abc.Loader):
    """Hands out a module that is loaded already, leaving it as it was."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just replaced it by the alias's.
        module.__spec__ = self.spec

    def get_code(self, name: str) -> CodeType | None:
        """What ``python -m`` runs: the code of the module that the name stands for."""
        assert self.spec is not None
        return self.spec.loader.get_code(self.spec.name)  # type: ignore[union-attr]


def _aliased(name: str) -> str | None:
    """The module of Flambeau's that a name stands for; None for names of others."""
    for alias in sorted(_ALIASES, key=len, reverse=True):
        if name == alias or name.startswith(alias + "."):
            real = _ALIASES[alias] + name.removeprefix(alias)
            return _MOVED.get(real, real)
    return None


def _is_ours(module: object) -> bool:
    name = getattr(module, "__name__", "")
    return name == "flambeau" or name.startswith("flambeau.")


def _is_shim(module: ModuleType) -> bool:
    return str(getattr(module, "__file__", None) or "").startswith(_SHIM)
