"""Which file holds which layers: what ``nn`` and ``nn.modules`` give their names from."""

from __future__ import annotations

import importlib
import sys
import types

# PyTorch's files under nn/modules, and where their names live here.
FILES: dict[str, tuple[str, ...]] = {
    "activation": ("activation", "attention"),
    "adaptive": ("adaptive",),
    "batchnorm": ("batchnorm", "normalization"),
    "channelshuffle": ("channelshuffle",),
    "container": ("containers", "parameter_containers"),
    "conv": ("conv", "lazy_conv"),
    "distance": ("distance",),
    "dropout": ("dropout",),
    "flatten": ("flatten",),
    "fold": ("fold",),
    "instancenorm": ("instancenorm", "normalization"),
    "lazy": ("lazy",),
    "linear": ("linear",),
    "loss": ("loss",),
    "module": ("module",),
    "normalization": ("normalization",),
    "padding": ("padding",),
    "pixelshuffle": ("pixelshuffle",),
    "pooling": ("pooling", "adaptive_pooling"),
    "rnn": ("rnn", "rnn_cells"),
    "sparse": ("sparse",),
    "transformer": ("transformer",),
    "upsampling": ("upsampling",),
}

# Held back from `nn`: they are the library's own, as in PyTorch.
_PRIVATE = ("NonDynamicallyQuantizableLinear",)


def load(name: str) -> types.ModuleType:
    """The names of one of PyTorch's files, as a module."""
    sources = [importlib.import_module(f"flambeau.nn.{source}") for source in FILES[name]]
    if len(sources) == 1:
        return sources[0]
    module = types.ModuleType(f"flambeau.nn.modules.{name}", f"The names of nn/modules/{name}.py.")
    for source in sources:
        module.__dict__.update(
            {k: v for k, v in vars(source).items() if not (k.startswith("__") and k != "__all__")}
        )
    module.__all__ = [n for source in sources for n in source.__all__]  # type: ignore[attr-defined]
    return module


def exported() -> dict[str, object]:
    """All public layers by name."""
    found: dict[str, object] = {}
    for name in FILES:
        module = load(name)
        for public in module.__all__:
            if public not in _PRIVATE and not (name == "module" and public != "Module"):
                found[public] = getattr(module, public)
    return found


def alias_modules(package: types.ModuleType) -> None:
    """Makes ``nn.modules.linear`` and the like importable."""
    for name in FILES:
        module = load(name)
        sys.modules[f"{package.__name__}.{name}"] = module
        setattr(package, name, module)
