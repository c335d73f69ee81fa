"""Writes docs/coverage.md: which public names of PyTorch Flambeau has.

    python tools/coverage.py

Needs PyTorch (the `test` extra). A name that is there is not yet a promise that every option of
it works: the generated tests and the probe say that.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"
SPACES = (
    "", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "optim",
    "optim.lr_scheduler", "utils.data", "autograd", "linalg", "fft", "special", "func",
    "distributions", "random",
)  # fmt: skip


def space(root: str, path: str) -> object | None:
    """The module or class ``root.path``; None if it is missing."""
    try:
        found = importlib.import_module(root)
        for part in filter(None, path.split(".")):
            try:
                found = getattr(found, part)
            except AttributeError:
                found = importlib.import_module(f"{found.__name__}.{part}")
    except (ImportError, AttributeError):
        return None
    return found


def public(owner: object) -> set[str]:
    """The names a user may call."""
    names = {n for n in dir(owner) if not n.startswith("_")}
    found = set()
    for n in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = getattr(owner, n)
            except Exception:
                continue
        if callable(value) or isinstance(value, property) or type(value).__name__ == "dtype":
            found.add(n)
    return found


def main() -> None:
    lines = [
        "# What is supported",
        "",
        "Public names of PyTorch 2.13, by namespace: those Flambeau has are counted, those it lacks listed.",
        "`tools/coverage.py` writes this page.",
        "",
    ]
    for path in SPACES:
        theirs = space("torch", path)
        ours = space("flambeau", path)
        wanted = public(theirs)
        have = set() if ours is None else {n for n in wanted if hasattr(ours, n)}
        missing = sorted(wanted - have)
        title = f"torch.{path}".rstrip(".")
        lines += [f"## {title}: {len(have)} of {len(wanted)}", ""]
        if missing:
            lines += ["Missing: " + ", ".join(f"`{n}`" for n in missing) + ".", ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
