"""Small helpers that user code imports from ``lightning.pytorch.utilities``."""

from __future__ import annotations

from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.norms import grad_norm
from flambeau.trainer.utilities.rank_zero import (
    rank_zero_deprecation,
    rank_zero_info,
    rank_zero_only,
    rank_zero_warn,
)
from flambeau.trainer.utilities.transfer import move_data_to_device

__all__ = [
    "MisconfigurationException",
    "grad_norm",
    "move_data_to_device",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]
