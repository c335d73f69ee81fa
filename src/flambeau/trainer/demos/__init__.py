"""The smallest models that use every part of the trainer."""
