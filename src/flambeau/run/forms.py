"""What is known of programs of the same primitives, which differ in shapes."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.dtypes import from_numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.code import Ticket
    from flambeau.run.compiler.program import Compiled
    from flambeau.run.compiler.template import Template
    from flambeau.run.program import Program

__all__ = ["Form", "Sample", "form_of", "sample_of"]

# Different shapes of inputs that make a plan with run-time sizes worth it: a loop has two, as its
# last batch is smaller.
WANTED = 3
# Plans for one form (what they asked about sizes was answered otherwise), attempts at one, and
# programs remembered to make them from.
TEMPLATES, ATTEMPTS, SAMPLES = 8, 12, 6
# Programs native at their first run that may yet come again.
EARLY = 64
# Code that never repeats would fill the memory with forms; with entries, the latest of so many
# have some.
FORMS, NOTED, MOST = 1 << 14, 256, 64
# A program of more primitives is not planned with others: each plan is made twice.
LARGEST = 5_000

_forms: dict[int, Form] = {}
_noted: dict[int, Form] = {}


def form_of(key: int) -> Form:
    """The form of programs whose primitives have this hash."""
    found = _forms.get(key)
    if found is None:
        if len(_forms) > FORMS:
            _forms.clear()
        found = _forms[key] = Form()
    return found


class Sample(NamedTuple):
    """A program as it was called: what a template is made from, and fitted to."""

    entries: list[Entry]
    outs: tuple[int, ...]
    storages: tuple[tuple[int, int], ...]
    # Shapes and dtypes of its inputs, and its run-time numbers.
    inputs: tuple[tuple[tuple[int, ...], Any], ...]
    numbers: tuple[Any, ...]


class Form:
    """Programs of one sequence of primitives."""

    __slots__ = (
        "made", "repeated", "native", "early", "samples", "shapes", "templates", "asked", "tried",
    )  # fmt: skip

    def __init__(self) -> None:
        # How many there were, were repeated, became native.
        self.made = self.repeated = self.native = 0
        # Of those that were native at their first run: what counts their runs, until the second.
        self.early: list[np.ndarray] = []
        self.samples: list[Sample] = []
        self.shapes: set[Any] = set()
        self.templates: list[Template] = []
        self.asked: Ticket | None = None
        self.tried = 0

    @property
    def foreseen(self) -> bool:
        """Whether another one will repeat and be compiled: at most as many in vain as not."""
        again = [runs for runs in self.early if runs[0] < 2]
        self.repeated += len(self.early) - len(again)
        self.early = again[-EARLY:]
        return self.native > 0 and 2 * self.repeated >= self.made

    def taken(self, native: Compiled, first: bool) -> None:
        """A program has become native; ``first``: at its first run."""
        self.native += 1
        if first and native.runs:
            self.early.append(native.runs[-1].done)

    def note(self, sample: Sample) -> None:
        """Another program; a plan for all of them is asked for where their shapes vary."""
        shapes = tuple([shape for shape, _ in sample.inputs])
        if shapes in self.shapes or len(sample.entries) > LARGEST:
            return
        if len(self.shapes) < MOST:
            self.shapes.add(shapes)
        if len(self.shapes) >= WANTED and self.asked is None and self.tried < ATTEMPTS:
            if len(self.templates) < TEMPLATES:
                self.ask(sample)
        self.samples = [sample, *self.samples[: SAMPLES - 1]]
        _noted.pop(id(self), None)
        _noted[id(self)] = self
        while len(_noted) > NOTED:
            _noted.pop(next(iter(_noted))).samples = []

    def ask(self, sample: Sample) -> None:
        from flambeau.run.compiler import code

        # Those first that differ from it in most.
        others = sorted(self.samples, key=lambda s: -_differences(s, sample))
        others = [s for s in others if _differences(s, sample)]
        self.tried += 1

        def work() -> Any:
            from flambeau.run.compiler.template import Template, Unlike

            for other in others:
                try:
                    return Template(sample, other, [s for s in others if s is not other])
                except Unlike:
                    continue
            return None

        self.asked = code.defer(work)

    def take(self) -> None:
        """Waits for the plan that was asked for."""
        ticket = self.asked
        if ticket is None:
            return
        try:
            # An interrupt of the wait leaves the ticket for the next program.
            made: Any = ticket.wait()
        except Exception as error:
            self.asked, self.tried = None, ATTEMPTS
            if not ticket.refused:
                failed(error)
            return
        self.asked = None
        if made is not None:
            self.templates.insert(0, made)

    def fit(self, sample: Sample, repeats: bool) -> tuple[Ticket, bool] | None:
        """What will be a program's native code by one of the plans, and whether the plan is all
        that it takes.

        What has to be compiled for it alone is so only if it ``repeats``.
        """
        self.take()
        for k, template in enumerate(self.templates):
            try:
                found = template.fill(sample) if repeats or template.complete else None
            except Exception as error:
                self.templates.remove(template)
                self.tried = ATTEMPTS
                failed(error)
                return None
            if found is not None:
                if k:
                    self.templates.insert(0, self.templates.pop(k))
                return found, template.complete
        return None


def failed(error: Exception) -> None:
    """Says that there will be no plan for several sizes."""
    if os.environ.get("FLAMBEAU_DEBUG"):
        raise error
    warnings.warn(
        "the compiler failed on a plan for several sizes; each is compiled by itself "
        f"(please report it): {type(error).__name__}: {error}",
        RuntimeWarning,
        stacklevel=3,
    )


def _differences(one: Sample, other: Sample) -> int:
    """In how many places the shapes of inputs differ; 0 where that is not all."""
    if len(one.inputs) != len(other.inputs):
        return 0
    count = 0
    for (a, _), (b, _) in zip(one.inputs, other.inputs, strict=True):
        if len(a) != len(b):
            return 0
        count += sum(m != n for m, n in zip(a, b, strict=True))
    return count


def sample_of(program: Program, inputs: Sequence[Any], numbers: Sequence[Any]) -> Sample | None:
    """The program as it is called; None where there is no plan with others."""
    try:
        given = tuple([(a.shape, from_numpy_dtype(a.dtype)) for a in inputs])
    except AttributeError:
        return None
    return Sample(program.entries, program.outs, program.storages, given, tuple(numbers))
