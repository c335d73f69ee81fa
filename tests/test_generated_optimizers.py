"""Samples of optimizers and schedules give in Flambeau what they give in PyTorch.

``generated/__init__.py`` says how to run those of one file or name.
"""

from __future__ import annotations

import pytest

from compiled import needs_native
from generated import kinds, optimizers
from generated.functions import all_compiled
from generated.samples import Sample

OPTIMIZERS, SCHEDULES = kinds.of_kind("optimizer"), kinds.of_kind("schedule")


@pytest.mark.parametrize("sample", [s for found in OPTIMIZERS.values() for s in found], ids=str)
def test_sample(sample: Sample) -> None:
    """Steps, the printed form, state dicts of both libraries, or the refusal."""
    optimizers.check(sample)


@needs_native
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiled(name: str) -> None:
    for sample in kinds.compiled(OPTIMIZERS[name], all_compiled()):
        optimizers.check_compiled(sample)


@pytest.mark.parametrize("sample", [s for found in SCHEDULES.values() for s in found], ids=str)
def test_schedule(sample: Sample) -> None:
    """Learning rates and momenta of each step."""
    optimizers.check_schedule(sample)
