"""Loggers: where the numbers of a run go."""

from __future__ import annotations

from flambeau.trainer.loggers.csv_logs import CSVLogger
from flambeau.trainer.loggers.dummy import DummyLogger
from flambeau.trainer.loggers.logger import DummyExperiment, Logger, rank_zero_experiment
from flambeau.trainer.loggers.mlflow import MLFlowLogger
from flambeau.trainer.loggers.tensorboard import TensorBoardLogger
from flambeau.trainer.loggers.wandb import WandbLogger

__all__ = [
    "CSVLogger",
    "DummyExperiment",
    "DummyLogger",
    "Logger",
    "MLFlowLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "rank_zero_experiment",
]
