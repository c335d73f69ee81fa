"""``torch.profiler``: where the time goes, by program, kernel, block and line."""

from flambeau.autograd.profiler import record_function
from flambeau.profiler.profile import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


def kineto_available() -> bool:
    """Whether PyTorch's tracing library is there: no; traces are written without it."""
    return False
