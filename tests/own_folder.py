"""What tests of commands share: a folder of their own, the weights a run left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.trainer.recipes import runs

SOURCE = str(Path(__file__).parent.parent / "src")


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Each test in a folder of its own, with the process as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        # Set first, so that the variables a run sets are taken back.
        monkeypatch.setenv(name, "0")
    before = flambeau.are_deterministic_algorithms_enabled()
    yield
    flambeau.use_deterministic_algorithms(before)


def weights(folder: str) -> dict[str, np.ndarray]:
    found = flambeau.load(runs.last_checkpoint(Path(folder)))
    return {name: tensor.numpy() for name, tensor in found["state_dict"].items()}
