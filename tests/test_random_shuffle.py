"""Long permutations, which a native loop shuffles, are PyTorch's."""

from __future__ import annotations

import numpy as np
import torch

import flambeau
from compiled import needs_native
from flambeau.run.random import native


@needs_native
def test_long_permutations() -> None:
    flambeau.rand(native.WORTH_IT)  # asks for the native functions
    native._ticket.wait()
    for n in (native.LARGE, native.LARGE + 1, 100_003):
        for lib in (flambeau, torch):
            lib.manual_seed(n)
        found, expected = (lib.randperm(n).numpy() for lib in (flambeau, torch))
        np.testing.assert_array_equal(found, expected)
    assert native._ready(0) is not None
