"""Long permutations, which a native loop shuffles, are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flambeau
from flambeau.run import tier
from flambeau.run.random import native


@pytest.mark.skipif(tier.chosen() == "interpret", reason="FLAMBEAU_TIER=interpret: no native code")
def test_long_permutations() -> None:
    flambeau.rand(native.WORTH_IT)  # asks for the native functions
    native._ticket.wait()
    for n in (native.LARGE, native.LARGE + 1, 100_003):
        for lib in (flambeau, torch):
            lib.manual_seed(n)
        found, expected = (lib.randperm(n).numpy() for lib in (flambeau, torch))
        np.testing.assert_array_equal(found, expected)
    assert native._ready(0) is not None
