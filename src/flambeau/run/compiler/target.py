"""What code is made for: the vector width, and LLVM's names for the processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

__all__ = ["Target", "host"]


@dataclass(frozen=True)
class Target:
    """A processor: LLVM's triple, name and features, and the bits of its widest vectors."""

    triple: str
    cpu: str
    features: str
    bits: int
    registers: int

    def lanes(self, bytes_each: int) -> int:
        """How many elements of that size fill a vector."""
        return self.bits // (8 * bytes_each)


@cache
def host() -> Target:
    """This machine."""
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    bits, registers = 128, 16
    if found.get("avx512f"):
        bits, registers = 512, 32
    elif found.get("avx2"):
        bits = 256
    elif llvm.get_process_triple().startswith(("aarch64", "arm64")):
        registers = 32
    return Target(
        llvm.get_process_triple(), llvm.get_host_cpu_name(), found.flatten(), bits, registers
    )
