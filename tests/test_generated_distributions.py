"""Samples of distributions give in Flambeau what they give in PyTorch.

``generated/__init__.py`` says how to run those of one file or name.
"""

from __future__ import annotations

import pytest

from beside_torch import validating  # noqa: F401  (a fixture)
from generated import distributions, kinds
from generated.samples import Sample

pytestmark = pytest.mark.usefixtures("validating")
DISTRIBUTIONS = kinds.of_kind("distribution")


@pytest.mark.parametrize("sample", [s for found in DISTRIBUTIONS.values() for s in found], ids=str)
def test_sample(sample: Sample) -> None:
    """Printed form, moments, draws, densities and their gradients, or the refusal."""
    distributions.check(sample)
