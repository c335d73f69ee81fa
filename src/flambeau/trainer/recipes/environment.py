"""Where and how a run was made: versions, processor, command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from typing import Any

from flambeau import version
from flambeau.doctor import processor_name

__all__ = ["environment", "versions"]


def versions() -> dict[str, str]:
    """The versions of what numbers depend on."""
    return {
        "flambeau": version.flambeau,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("numpy", "llvmlite")},
    }


def environment() -> dict[str, Any]:
    """What is needed to repeat a run, for people to read."""
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return {
        "command": shlex.join(["flambeau", *sys.argv[1:]]),
        "folder": os.getcwd(),
        **versions(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": usable,
    }
