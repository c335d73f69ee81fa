"""In which dtypes a run computes: the ``precision`` of a trainer."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.tensor import Tensor
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flambeau import nn

__all__ = ["Precision"]

# Name: (dtype of parameters and inputs, dtype of autocast).
_KINDS: dict[str, tuple[Any, Any]] = {
    "32-true": (None, None),
    "64-true": (flambeau.float64, None),
    "bf16-true": (flambeau.bfloat16, None),
    "16-true": (flambeau.float16, None),
    "bf16-mixed": (None, flambeau.bfloat16),
    "16-mixed": (None, flambeau.bfloat16),
}
_SHORT = {
    "32": "32-true",
    "64": "64-true",
    "16": "16-mixed",
    "bf16": "bf16-mixed",
}


class Precision:
    """What ``precision`` means.

    "32-true" (the default), "64-true", "bf16-true" and "16-true" are the dtype of parameters,
    inputs and new tensors; "bf16-mixed" and "16-mixed" run steps under ``autocast``.

    Raises: ``MisconfigurationException`` for anything else.
    """

    def __init__(self, given: str | int | None) -> None:
        name = "32-true" if given is None else str(given)
        name = _SHORT.get(name, name)
        if name not in _KINDS:
            raise MisconfigurationException(
                f"Trainer(precision={given!r}): must be one of {', '.join(_KINDS)}"
            )
        if name == "16-mixed":
            rank_zero_warn(
                "You passed `Trainer(precision='16-mixed')` but AMP with fp16 is not supported on "
                "CPU. Using `precision='bf16-mixed'` instead."
            )
            name = "bf16-mixed"
        self.name = name
        self._true, self._mixed = _KINDS[name]

    def convert(self, module: nn.Module) -> None:
        """Puts the parameters in the dtype."""
        if self._true is not None:
            module.to(self._true)

    def context(self) -> AbstractContextManager[Any]:
        """What steps run in."""
        if self._mixed is not None:
            return flambeau.autocast("cpu", self._mixed)
        return self.initial()

    def initial(self) -> AbstractContextManager[Any]:
        """What parameters are made in."""
        return nullcontext() if self._true is None else _default_dtype(self._true)

    @property
    def plain(self) -> bool:
        """Whether there is nothing to do."""
        return self._true is None and self._mixed is None

    def batch(self, batch: Any) -> Any:
        """The batch with floating tensors in the dtype."""
        return batch if self._true is None else _cast(batch, self._true)


@contextmanager
def _default_dtype(dtype: Any) -> Iterator[None]:
    before = flambeau.get_default_dtype()
    flambeau.set_default_dtype(dtype)
    try:
        yield
    finally:
        flambeau.set_default_dtype(before)


def _cast(batch: Any, dtype: Any) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(dtype) if batch.is_floating_point() else batch
    if isinstance(batch, dict):
        return {k: _cast(v, dtype) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_cast(v, dtype) for v in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(_cast(v, dtype) for v in batch)
    return batch
