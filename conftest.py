"""Names for the examples in docstrings, and which files hold none."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import warnings

import numpy as np
import pytest
from hypothesis import settings

# In CI the generated examples are the same every time: a submission is judged by its change, not by
# the draw. Elsewhere they differ from run to run, and what they find becomes a test.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

# The shim stands in for torch in child processes: importing it here would hide the oracle.
collect_ignore_glob = ["src/flambeau/shim/*"]


@pytest.fixture(autouse=True)
def _own_numbers() -> None:
    """No test's random numbers depend on which tests ran before it."""
    np.random.seed(0)
    for name in ("torch", "flambeau"):
        if name in sys.modules:
            sys.modules[name].manual_seed(0)


@pytest.fixture(autouse=True)
def _example_names(request: pytest.FixtureRequest) -> None:
    """Gives docstring examples the names a user would have, and a fixed seed."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    flambeau = importlib.import_module("flambeau")
    names = request.getfixturevalue("doctest_namespace")
    # Its functions by their bare names, where neither the module nor Python has such a name.
    for name, value in vars(flambeau).items():
        if not name.startswith("_") and not hasattr(builtins, name):
            request.node.dtest.globs.setdefault(name, value)
    names.update(
        torch=flambeau,
        flambeau=flambeau,
        nn=importlib.import_module("flambeau.nn"),
        F=importlib.import_module("flambeau.nn.functional"),
        optim=importlib.import_module("flambeau.optim"),
        tensor=flambeau.tensor,
    )
    # Lazy modules say at every construction that they are new, as PyTorch's do.
    warnings.filterwarnings("ignore", "Lazy modules are a new feature", UserWarning)
    flambeau.manual_seed(0)
