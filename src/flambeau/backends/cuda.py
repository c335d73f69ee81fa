"""``torch.backends.cuda``: not built; its switches can be set and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

__all__ = [
    "cudnn_sdp_enabled",
    "enable_cudnn_sdp",
    "enable_flash_sdp",
    "enable_math_sdp",
    "enable_mem_efficient_sdp",
    "flash_sdp_enabled",
    "is_built",
    "math_sdp_enabled",
    "matmul",
    "mem_efficient_sdp_enabled",
    "sdp_kernel",
]

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
    allow_fp16_accumulation=False,
    fp32_precision="none",
)
_attention = {"flash": True, "math": True, "mem_efficient": True, "cudnn": True}


def is_built() -> bool:
    """Whether this build has CUDA: no."""
    return False


def flash_sdp_enabled() -> bool:
    """Whether flash attention may be chosen on a GPU."""
    return _attention["flash"]


def math_sdp_enabled() -> bool:
    """Whether plain attention may be chosen on a GPU."""
    return _attention["math"]


def mem_efficient_sdp_enabled() -> bool:
    """Whether memory-efficient attention may be chosen on a GPU."""
    return _attention["mem_efficient"]


def cudnn_sdp_enabled() -> bool:
    """Whether cuDNN's attention may be chosen on a GPU."""
    return _attention["cudnn"]


def enable_flash_sdp(enabled: bool) -> None:
    """Allows or forbids flash attention on a GPU."""
    _attention["flash"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Allows or forbids plain attention on a GPU."""
    _attention["math"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allows or forbids memory-efficient attention on a GPU."""
    _attention["mem_efficient"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allows or forbids cuDNN's attention on a GPU."""
    _attention["cudnn"] = bool(enabled)


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """Sets the four attention switches inside ``with``."""
    before = dict(_attention)
    _attention.update(
        flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn
    )
    try:
        yield
    finally:
        _attention.update(before)
