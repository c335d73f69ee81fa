"""Utilities: data loading, checkpointing, hooks, extras."""
