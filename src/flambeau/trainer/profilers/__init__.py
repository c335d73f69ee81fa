"""Profilers: what the callback ``Profiler`` times a run with."""

from flambeau.trainer.profilers.advanced import AdvancedProfiler
from flambeau.trainer.profilers.kernels import KernelProfiler, PyTorchProfiler
from flambeau.trainer.profilers.profiler import PassThroughProfiler, Profiler
from flambeau.trainer.profilers.simple import SimpleProfiler

__all__ = [
    "AdvancedProfiler",
    "KernelProfiler",
    "PassThroughProfiler",
    "Profiler",
    "PyTorchProfiler",
    "SimpleProfiler",
]
