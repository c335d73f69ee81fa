"""``torch.backends.mps``: Apple's GPU backend, which Flambeau does not have."""

__all__ = ["is_available", "is_built", "is_macos13_or_newer"]


def is_built() -> bool:
    """Whether this build has the backend: no."""
    return False


def is_available() -> bool:
    """Whether the backend can be used: no."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """Whether the backend runs on macOS 13 or newer: there is no backend."""
    return False
