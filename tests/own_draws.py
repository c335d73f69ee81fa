"""A generator of random numbers that begins anew with each test, whichever ran before."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_draw(request: pytest.FixtureRequest) -> None:
    """Each test draws from a seed of its own: its name's."""
    seed = zlib.crc32(request.node.name.encode())
    rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
