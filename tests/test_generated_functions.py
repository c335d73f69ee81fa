"""Samples of functions and methods give in Flambeau what they give in PyTorch.

``generated/__init__.py`` says how to run those of one file or name.
"""

from __future__ import annotations

import pytest

from compiled import needs_native
from generated import functions, kinds, variants
from generated.samples import Sample

FUNCTIONS = kinds.of_kind("function")
SAMPLES = [s for found in FUNCTIONS.values() for s in found]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_sample(sample: Sample) -> None:
    """Values, first and second gradients, or the refusal."""
    functions.check(sample)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_variants(name: str) -> None:
    """Views, other dtypes, the method, in place, ``out=``."""
    variants.check(FUNCTIONS[name])


@needs_native
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name: str) -> None:
    for sample in kinds.compiled(FUNCTIONS[name], functions.all_compiled()):
        functions.check_compiled(sample)
