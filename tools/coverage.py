"""Writes docs/coverage.md: which public names of PyTorch Flambeau has.

Needs PyTorch (the `test` extra). A name that is there is not yet a promise that every option of
it works: the generated tests and the probe say that.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path
from types import ModuleType

import torch

import flambeau

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"
SPACES = (
    "", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "optim",
    "optim.lr_scheduler", "utils.data", "autograd", "linalg", "fft", "special", "func",
    "distributions", "random",
)  # fmt: skip


# What PyTorch's modules import for themselves: no names of its interface.
FOREIGN = ("abc", "bisect", "builtins", "collections", "functools", "typing", "warnings", "weakref")
# Of the C++ core's classes only these are documented; the others belong to TorchScript and tools.
CORE = {
    "DeviceObjType", "Event", "Generator", "Size", "Stream", "SymBool", "SymFloat", "SymInt", "Tag",
    "Tensor", "device", "dtype", "finfo", "iinfo", "layout", "memory_format",
}  # fmt: skip

# Direct calls of other libraries' kernels.
OTHER_KERNELS = ("cudnn_", "fbgemm_", "miopen_", "mkldnn_", "quantized_", "q_")


def space(root: ModuleType, path: str) -> object | None:
    """The module or class ``root.path``; None if it is missing."""
    found: object = root
    for part in filter(None, path.split(".")):
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                return None
        found = getattr(found, part)
    return found


def public(owner: object) -> set[str]:
    """The names of PyTorch that a user may call."""
    found = set()
    for n in dir(owner):
        if n.startswith(("_", *OTHER_KERNELS)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = getattr(owner, n)
            except (AttributeError, RuntimeError):
                # A property of the class that only instances have.
                continue
        home = str(getattr(value, "__module__", None))
        if isinstance(owner, ModuleType):
            if home.partition(".")[0] in FOREIGN and type(value).__module__ != "torch":
                continue
            if isinstance(value, type) and getattr(torch._C, n, None) is value and n not in CORE:
                continue
            if n == "Tensor" and owner is not torch:
                continue
        if callable(value) or inspect.isdatadescriptor(value) or isinstance(value, torch.dtype):
            found.add(n)
    return found


INTRO = """# What is supported

Public names of PyTorch 2.13, by namespace: those Flambeau has are counted, those it lacks listed.
A name that is there is no promise yet that every option of it works: the tests say that.
TorchScript's classes, names of Python's that PyTorch's modules import, and direct calls of cuDNN's
and the like's kernels are not counted. `tools/coverage.py` writes this page.
"""


def main() -> None:
    lines = [INTRO]
    for path in SPACES:
        theirs = space(torch, path)
        ours = space(flambeau, path)
        wanted = public(theirs)
        have = set() if ours is None else {n for n in wanted if hasattr(ours, n)}
        missing = sorted(wanted - have)
        title = f"torch.{path}".rstrip(".")
        lines += [f"## {title}: {len(have)} of {len(wanted)}", ""]
        if missing:
            lines += ["Missing: " + ", ".join(f"`{n}`" for n in missing) + ".", ""]
    lines.pop()
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
