"""Callbacks: what can be added to training without touching the module."""

from __future__ import annotations

from flambeau.trainer.callback import Callback
from flambeau.trainer.callbacks.batch_size_finder import BatchSizeFinder
from flambeau.trainer.callbacks.checkpoint import Checkpoint
from flambeau.trainer.callbacks.device_stats_monitor import DeviceStatsMonitor
from flambeau.trainer.callbacks.early_stopping import EarlyStopping
from flambeau.trainer.callbacks.finetuning import BackboneFinetuning, BaseFinetuning
from flambeau.trainer.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from flambeau.trainer.callbacks.lambda_function import LambdaCallback
from flambeau.trainer.callbacks.lr_finder import LearningRateFinder
from flambeau.trainer.callbacks.lr_monitor import LearningRateMonitor
from flambeau.trainer.callbacks.model_checkpoint import ModelCheckpoint
from flambeau.trainer.callbacks.model_summary import ModelSummary, RichModelSummary
from flambeau.trainer.callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from flambeau.trainer.callbacks.prediction_writer import BasePredictionWriter
from flambeau.trainer.callbacks.profiler import Profiler
from flambeau.trainer.callbacks.progress.progress_bar import ProgressBar
from flambeau.trainer.callbacks.progress.rich_progress import RichProgressBar, RichProgressBarTheme
from flambeau.trainer.callbacks.pruning import ModelPruning
from flambeau.trainer.callbacks.spike import SpikeDetection
from flambeau.trainer.callbacks.throughput_monitor import ThroughputMonitor
from flambeau.trainer.callbacks.timer import Timer
from flambeau.trainer.callbacks.progress.tqdm_progress import TQDMProgressBar
from flambeau.trainer.callbacks.stochastic_weight_avg import StochasticWeightAveraging
from flambeau.trainer.callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging

__all__ = [
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "BatchSizeFinder",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EMAWeightAveraging",
    "EarlyStopping",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelPruning",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "Profiler",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "RichProgressBarTheme",
    "SpikeDetection",
    "StochasticWeightAveraging",
    "TQDMProgressBar",
    "ThroughputMonitor",
    "Timer",
    "WeightAveraging",
]
