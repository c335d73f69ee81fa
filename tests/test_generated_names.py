"""Every public name has samples, and every primitive is recorded by some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from generated import names, samples

# Primitives that no sample records, and why.
UNRECORDED = {
    "absent_gradient": "refuses a gradient that PyTorch has not",
    "bits": "a view of another dtype is made at once; what is written to one is not",
}


def test_tables_are_well_written() -> None:
    assert not samples.errors(), "\n".join(samples.errors())


def test_every_supported_name_has_samples() -> None:
    lacking = [n for n in names.supported() if n not in names.covered()]
    assert not lacking, "write samples beside them"


def test_every_namespace_is_asked_or_exempt() -> None:
    assert {*names.SPACES, *names.OTHERS} == set(names.coverage().SPACES)


def test_every_exemption_is_of_use() -> None:
    page = names.coverage()
    every = []
    for path in names.SPACES:
        every += [f"{path}.{n}".lstrip(".") for n in page.public(page.space(names.torch, path))]
    unused = [why for why in names.EXEMPT if not any(names.exempt(n) == why for n in every)]
    assert not unused


def test_no_sample_is_of_a_name_that_is_not_there() -> None:
    for name in samples.tables():
        for library in (names.torch, names.flambeau):
            names.find(library, name)


def test_every_primitive_is_recorded_by_a_sample() -> None:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "generated.primitives", *UNRECORDED],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not found.stdout.split()
