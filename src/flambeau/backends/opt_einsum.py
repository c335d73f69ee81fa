"""``torch.backends.opt_einsum``: the opt_einsum package is not used."""

from __future__ import annotations

__all__ = ["enabled", "is_available", "strategy"]

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """Whether opt_einsum chooses the order of products: no."""
    return False


def get_opt_einsum() -> None:
    """The opt_einsum package: ``None``."""
    return None
