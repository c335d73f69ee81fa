"""The version of Lightning's interface that the trainer follows."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "2.5.0"
