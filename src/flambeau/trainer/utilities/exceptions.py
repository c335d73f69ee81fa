"""What the trainer raises."""

from __future__ import annotations

__all__ = ["MisconfigurationException", "NonFiniteLossError", "SIGTERMException"]


class MisconfigurationException(ValueError):
    """The trainer, the module or the data were asked for something that makes no sense."""


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message says at which step, batch and layer."""


class SIGTERMException(SystemExit):
    """The process was asked to end; a checkpoint was saved first. The exit status is 143."""
