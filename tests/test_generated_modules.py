"""Samples of layers give in Flambeau what they give in PyTorch.

``generated/__init__.py`` says how to run those of one file or name.
"""

from __future__ import annotations

import pytest

from compiled import needs_native
from generated import kinds, layers
from generated.functions import all_compiled
from generated.samples import Sample

LAYERS = kinds.of_kind("layer")
SAMPLES = [s for found in LAYERS.values() for s in found]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_sample(sample: Sample) -> None:
    """Printed form, parameters from a seed, results and gradients, or the refusal."""
    layers.check(sample)


@pytest.mark.parametrize("name", LAYERS)
def test_in_16_bits(name: str) -> None:
    layers.check_halves(LAYERS[name])


@needs_native
@pytest.mark.parametrize("name", LAYERS)
def test_compiled(name: str) -> None:
    for sample in kinds.compiled(LAYERS[name], all_compiled()):
        layers.check_compiled(sample)
