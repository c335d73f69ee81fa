"""Metrics: streaming, mergeable, logged with ``self.log("name", metric)``."""

from flambeau.trainer.metrics.accuracy import Accuracy
from flambeau.trainer.metrics.aggregation import MaxMetric, MeanMetric, MinMetric, SumMetric
from flambeau.trainer.metrics.auroc import AUROC
from flambeau.trainer.metrics.collection import MetricCollection
from flambeau.trainer.metrics.confusion_matrix import ConfusionMatrix
from flambeau.trainer.metrics.metric import Metric
from flambeau.trainer.metrics.perplexity import Perplexity
from flambeau.trainer.metrics.precision_recall import F1Score, FBetaScore, Precision, Recall
from flambeau.trainer.metrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score
from flambeau.trainer.metrics.stat_scores import StatScores

__all__ = [
    "AUROC",
    "Accuracy",
    "ConfusionMatrix",
    "F1Score",
    "FBetaScore",
    "MaxMetric",
    "MeanAbsoluteError",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "MetricCollection",
    "MinMetric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "StatScores",
    "SumMetric",
]
