"""Signal processing: ``flambeau.signal``."""

from flambeau.signal import windows

__all__ = ["windows"]
