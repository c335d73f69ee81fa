"""``DataParallel``, which on a machine without GPUs calls the module it wraps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from flambeau.nn.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """The module under the name ``module``: with PyTorch its batches are shared out over GPUs.

    There are none here, as on PyTorch's machines without one, so the module gets the whole batch.
    The keys of the state dict begin with ``module.`` either way.

    >>> list(nn.DataParallel(nn.Linear(1, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> NoReturn:
    """Raises: ``RuntimeError``, as PyTorch does where there is no GPU."""
    raise RuntimeError("device type could not be determined")
