"""Small helpers that user code imports from ``lightning.pytorch.utilities``."""

from __future__ import annotations

from flambeau.trainer.hparams import AttributeDict
from flambeau.trainer.utilities.checks import (
    PossibleUserWarning,
    disable_possible_user_warnings,
    is_picklable,
    is_shared_filesystem,
    suggested_max_num_workers,
)
from flambeau.trainer.utilities.combined_loader import CombinedLoader
from flambeau.trainer.utilities.enums import GradClipAlgorithmType, LightningEnum
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.norms import grad_norm
from flambeau.trainer.utilities.rank_zero import (
    rank_zero_deprecation,
    rank_zero_info,
    rank_zero_only,
    rank_zero_warn,
)
from flambeau.trainer.utilities.shared_parameters import (
    find_shared_parameters,
    set_shared_parameters,
)
from flambeau.trainer.utilities.throughput import measure_flops
from flambeau.trainer.utilities.transfer import move_data_to_device

__all__ = [
    "AttributeDict",
    "CombinedLoader",
    "GradClipAlgorithmType",
    "LightningEnum",
    "MisconfigurationException",
    "PossibleUserWarning",
    "disable_possible_user_warnings",
    "find_shared_parameters",
    "grad_norm",
    "is_picklable",
    "is_shared_filesystem",
    "measure_flops",
    "move_data_to_device",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
    "set_shared_parameters",
    "suggested_max_num_workers",
]
