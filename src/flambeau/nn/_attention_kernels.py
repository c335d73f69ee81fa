"""Which kernels attention may choose between: noted, as there is one kernel here."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flambeau.backends.cuda import sdp_kernel

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """The kernels of PyTorch's ``scaled_dot_product_attention``.

    >>> torch.nn.attention.SDPBackend.MATH.name
    'MATH'
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return self.value


@contextmanager
def sdpa_kernel(
    backends: SDPBackend | Iterable[SDPBackend], set_priority: bool = False
) -> Iterator[None]:
    """Allows these kernels only, inside ``with``: the switches of ``torch.backends.cuda`` say so.

    Attention is computed the same way whatever is allowed.

    Raises: ``AssertionError`` for what is no backend.

    >>> with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
    ...     torch.backends.cuda.flash_sdp_enabled()
    False
    """
    if isinstance(backends, str) or not isinstance(backends, (SDPBackend, Iterable)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    wanted = {backends} if isinstance(backends, SDPBackend) else set(backends)
    with sdp_kernel(
        enable_flash=SDPBackend.FLASH_ATTENTION in wanted,
        enable_math=SDPBackend.MATH in wanted,
        enable_mem_efficient=SDPBackend.EFFICIENT_ATTENTION in wanted,
        enable_cudnn=SDPBackend.CUDNN_ATTENTION in wanted,
    ):
        yield
