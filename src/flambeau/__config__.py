"""``torch.__config__``: how this build came to be, in text."""

from __future__ import annotations

import os

__all__ = ["parallel_info", "show"]


def show() -> str:
    """Versions, processor and libraries, as ``flambeau doctor`` prints them."""
    from flambeau.doctor import report

    return report()


def parallel_info() -> str:
    """The number of processors and the settings that limit threads."""
    lines = [f"processors: {os.cpu_count()}"]
    lines += [
        f"{name}: {os.environ[name]}"
        for name in ("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        if name in os.environ
    ]
    return "\n".join(lines)
