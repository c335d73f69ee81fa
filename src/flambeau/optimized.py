"""What ``torch.compile`` makes of a module: the module, in a shell of its own name."""

from __future__ import annotations

from typing import Any

from flambeau.nn.module import Module

__all__ = ["OptimizedModule"]


class OptimizedModule(Module):
    """A module given to ``torch.compile``: calls, attributes and modes are those of the module.

    The module itself is ``_orig_mod``, which also begins the names in the ``state_dict``. Nothing
    is compiled by it: what is recorded is compiled anyway, with or without.

    >>> compiled = torch.compile(nn.Linear(2, 1))
    >>> list(compiled.state_dict()), compiled.in_features
    (['_orig_mod.weight', '_orig_mod.bias'], 2)
    """

    _orig_mod: Module

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module's call gives."""
        return self._orig_mod(*args, **kwargs)

    @property
    def training(self) -> bool:  # type: ignore[override]
        """The module's mode."""
        inner = self.__dict__.get("_orig_mod")
        return True if inner is None else inner.training

    @training.setter
    def training(self, mode: bool) -> None:
        inner = self.__dict__.get("_orig_mod")
        if inner is not None:
            inner.training = mode

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("_orig_mod")
        if inner is None:
            return super().__getattr__(name)
        return getattr(inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        inner = self.__dict__.get("_orig_mod")
        # The shell's own are what every module begins with: registries and hooks.
        if inner is None or name in self.__dict__ or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(inner, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__:
            super().__delattr__(name)
        else:
            delattr(self._orig_mod, name)

    def __len__(self) -> int:
        return len(self._orig_mod)  # type: ignore[arg-type]
