"""The commands of ``flambeau``, a file each; a file is imported when its command is given.

Each file has ``main(arguments) -> int``. ``run``, ``doctor`` and ``bench`` need nothing but
Flambeau; the others are Typer's, which comes with ``flambeau[train]``.
"""

from __future__ import annotations

__all__ = ["COMMANDS"]

COMMANDS: dict[str, str] = {
    "run": "run an unmodified PyTorch script",
    "train": "train a bundled example, or a LightningModule in a file",
    "eval": "measure a checkpoint on its data",
    "predict": "say what a checkpoint makes of an image",
    "info": "say what is in a checkpoint",
    "report": "write a run as one HTML page",
    "bench": "time training loops beside PyTorch",
    "doctor": "print versions, processor, threads, extras",
}
"""Each command, with what it does."""
