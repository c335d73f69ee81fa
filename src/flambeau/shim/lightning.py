"""Stands for ``lightning`` in spawned child processes of a program run under Flambeau."""

import importlib
import sys

from flambeau.install import install

install()
sys.modules[__name__] = importlib.import_module("flambeau.trainer")
