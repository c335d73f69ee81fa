"""``torch.backends.openmp``: Flambeau has threads of its own, not OpenMP's."""

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether OpenMP is used: no."""
    return False
