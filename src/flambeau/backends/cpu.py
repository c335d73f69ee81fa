"""``torch.backends.cpu``: what the processor can do."""

from __future__ import annotations

import functools

__all__ = ["get_cpu_capability"]


@functools.cache
def get_cpu_capability() -> str:
    """The widest vector extension: "AVX512", "AVX2", "NEON", "SVE" or "DEFAULT"."""
    # Imported here: it takes 80 ms, which `import flambeau` must not pay.
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    for feature, name in (
        ("avx512f", "AVX512"),
        ("avx2", "AVX2"),
        ("sve", "SVE"),
        ("neon", "NEON"),
    ):
        if features.get(feature):
            return name
    return "DEFAULT"
