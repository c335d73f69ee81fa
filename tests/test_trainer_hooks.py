"""Hooks are called in Lightning's order, with its arguments, at the same place of the run.

tests/lightning_hooks.json is what Lightning did; tools/lightning_hooks.py recorded it.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest

import flambeau
import flambeau.trainer
import flambeau.trainer.callbacks


def recorder():
    source = Path(__file__).parent.parent / "tools" / "lightning_hooks.py"
    spec = importlib.util.spec_from_file_location("lightning_hooks", source)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


TOOL = recorder()
RECORDED = TOOL.read()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    with warnings.catch_warnings():
        # Both libraries warn of a schedule that steps without its optimizer.
        warnings.simplefilter("ignore")
        return TOOL.record_all(flambeau, flambeau.trainer, tmp_path_factory.mktemp("hooks"))


def test_every_scenario_is_recorded(ours):
    assert set(ours) == set(RECORDED)
    assert sum(map(len, ours.values())) > 2500


def hooks():
    """Each hook that Lightning called, of the module, the callback and the data module."""
    return sorted({call.partition("(")[0] for calls in RECORDED.values() for call in calls
                   if call.startswith(("module.", "callback.", "data."))})  # fmt: skip


@pytest.mark.parametrize("hook", hooks())
def test_a_hook_is_called_as_by_lightning(ours, hook):
    def calls(recorded):
        return [(s, c) for s in ours for c in recorded[s] if c.startswith(f"{hook}(")]

    assert calls(ours) == calls(RECORDED) != []


@pytest.mark.parametrize("scenario", sorted(RECORDED))
def test_hooks_are_lightnings(ours, scenario):
    assert ours[scenario] == RECORDED[scenario]
