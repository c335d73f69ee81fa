"""What ``flambeau train`` can train: bundled recipes, and modules in files of the user's."""

from __future__ import annotations

__all__ = ["BUILT_IN"]

BUILT_IN = ("digits", "mnist", "cifar10")
"""The names of the bundled recipes."""
