"""What ``flambeau doctor`` prints: versions, processor, threads, caches, extras."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

from flambeau import version
from flambeau.utils.extras import EXTRAS, missing_packages

__all__ = ["report", "cache_folder", "processor_name"]

_THREAD_VARIABLES = ("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# The vector extensions that choose kernels; a full feature list is two screens.
_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512bf16", "amx-bf16", "neon", "sve")


def report() -> str:
    """The whole report, one ``name  value`` a line."""
    model, features = _processor()
    rows = [
        ("flambeau", f"{version.flambeau} (interface of PyTorch {version.interface})"),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        *((name, _installed(name)) for name in ("numpy", "llvmlite", "ml_dtypes")),
        ("platform", platform.platform()),
        ("processor", model),
        ("features", features),
        ("threads", _threads()),
        ("blas", _blas()),
        ("tier", os.environ.get("FLAMBEAU_TIER", "auto")),
        ("cache", _cache()),
        *((f"extra {extra}", _extra(extra)) for extra in EXTRAS),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$FLAMBEAU_CACHE``, or the platform's cache folder."""
    chosen = os.environ.get("FLAMBEAU_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "flambeau"


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"missing: pip install {package}"


def _processor() -> tuple[str, str]:
    # Imported here: it takes 80 ms, and only this report and the compiler need it.
    import llvmlite.binding as llvm

    present = llvm.get_host_cpu_features()
    features = " ".join(name for name in _FEATURES if present.get(name)) or "none of note"
    return f"{processor_name()} (LLVM: {llvm.get_host_cpu_name()})", features


def processor_name() -> str:
    """What the system calls its processor."""
    if sys.platform.startswith("linux"):
        for line in _lines(Path("/proc/cpuinfo")):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _threads() -> str:
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    settings = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    return ", ".join([f"{usable} usable of {os.cpu_count()}", *settings])


def _blas() -> str:
    built = np.show_config(mode="dicts") or {}
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _cache() -> str:
    folder = cache_folder()
    if not folder.is_dir():
        return f"{folder} (not made yet)"
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{folder} ({len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB)"


def _extra(extra: str) -> str:
    missing = missing_packages(extra)
    if not missing:
        return "present"
    return f"missing {', '.join(missing)}: pip install 'flambeau[{extra}]'"
