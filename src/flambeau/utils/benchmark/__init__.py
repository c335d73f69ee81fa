"""``torch.utils.benchmark``: timing a statement."""

from flambeau.utils.benchmark.timer import Measurement, Timer, timer

__all__ = ["Measurement", "Timer", "timer"]
