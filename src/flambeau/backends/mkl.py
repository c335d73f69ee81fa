"""``torch.backends.mkl``: Flambeau does not use MKL."""

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether MKL is used: no, products go to NumPy's BLAS."""
    return False
