"""A program and its tiers: interpreted at first, compiled where it is run again and again."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import from_numpy_dtype
from flambeau.ir.graph import NUMBERS, Aval, Const
from flambeau.run import pace, tier
from flambeau.run.chores import chores
from flambeau.run.forms import form_of, sample_of
from flambeau.run.interpreter import needed, straight_line, walk
from flambeau.run.simplify import simplify, with_inputs
from flambeau.run.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flambeau.ir.graph import Entry
    from flambeau.run.compiler.code import Ticket
    from flambeau.run.compiler.program import Compiled
    from flambeau.run.forms import Form

__all__ = ["Program", "compile_at_once", "steady"]

TIER = tier.chosen()
# The run at which compilation begins, in the background, and the one that is the first compiled:
# counts, not times, so that two runs of a script give the same bits.
START, PROMOTE = (1, 1) if TIER == "compile" else (2, 4)
# A program of more floating-point operations is waited for at once when it repeats: interpreting it
# again would take as long.
HEAVY = 1_000_000_000
# Blocks in which no program changes its tier.
_steady = [0]


def compile_at_once(mode: bool) -> None:
    """Whether programs are compiled at their first run: then the same bits come out each time."""
    global START, PROMOTE
    START, PROMOTE = (1, 1) if mode or TIER == "compile" else (2, 4)


@contextmanager
def steady() -> Iterator[None]:
    """Within, a program that is interpreted stays so: a repetition gives the same bits."""
    _steady[0] += 1
    try:
        yield
    finally:
        _steady[0] -= 1


class Program:
    """Computes slots ``outs`` of a list of entries from inputs and run-time numbers.

    The first run walks the entries; from the second on a straight-line Python function does,
    which is written once: for small arrays the walk would cost more than the arithmetic. From the
    ``PROMOTE``-th on native code does; from the second if it is heavy, or if programs that differ
    in shapes only were compiled.

    ``storages`` are (output, input) pairs: the output is the new value of the memory that the input
    lies in, and may be written there if ``donate`` says at the call that nobody else has it.
    """

    __slots__ = (
        "entries", "outs", "visits", "function", "native", "ticket", "storages", "places", "fixed",
        "scalars", "form", "moved", "sample", "work", "asked", "again",
    )  # fmt: skip

    def __init__(
        self,
        entries: Iterable[Entry],
        outs: Sequence[int],
        storages: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.outs = tuple(outs)
        self.entries = needed(entries, self.outs)
        self.visits = 0
        self.function: Callable | None = None
        self.native: Compiled | None = None
        self.ticket: Ticket | None = None
        self.storages = tuple(storages)
        # Integer numbers (by index) that were the same at each visit, such as a time step's: native
        # code is made for them. None: not looked at yet.
        self.places: dict[int, int] | None = None
        # What they must be for the native code to run: (take them out, their values).
        self.fixed: tuple[Any, Any] | None = None
        # Whether inputs do not always lie in the same way.
        self.moved = False
        # What is known of the programs of these primitives.
        self.form: Form | None = None
        # It as it was first called, until it is native: other programs may be planned with it.
        self.sample: Any = None
        # Inputs that are numbers (saved ones of a forward): native code takes them among those.
        self.scalars: tuple[int, ...] = ()
        # Floating-point operations, once they were counted; when code was asked for (``pace``).
        self.work = -1
        self.asked = (0, 0)
        # Whether it is compiled at its first run, as the next round of a loop.
        self.again = False

    def __call__(
        self, inputs: list[np.ndarray], numbers: Sequence[Any], donate: Any = None
    ) -> list[Any]:
        if tail.given is not None:
            tail.join()
        if chores.waiting:
            chores.join()
        native = self.native
        fixed = self.fixed
        if fixed is not None and native is not None and fixed[0](numbers) != fixed[1]:
            # From now on these numbers are run-time ones: other code, asked for in its time.
            self.native = native = self.fixed = self.ticket = None
            self.visits = 0
        if native is not None:
            # The last run's outputs are handed out: whoever counts references need not see these.
            native.kept_outs = None
            given = () if donate is None else donate(native.donations)
            try:
                if self.scalars:
                    return native(*self.apart(inputs, numbers), given)
                return native(inputs, numbers, given)
            except native.Faulty:
                # The references know what is wrong with which value.
                return self.interpret(inputs, numbers)
            except native.Moved:
                # From now on they are copied to where the code wants them.
                self.native = self.fixed = self.ticket = None
                self.visits = 0
                self.moved = True
        if _steady[0] and TIER != "compile":
            return self.interpret(inputs, numbers)
        self.visits += 1
        self.watch(numbers)
        foreseen = self.foreseen()
        if self.ticket is None and TIER != "interpret" and self.fits(inputs, numbers):
            return self(inputs, numbers, donate)
        start = 1 if foreseen or self.comes_round(inputs) else START
        if self.visits >= start and TIER != "interpret" and self.ticket is None:
            self.begin(inputs, numbers)
        if self.ticket is not None and self.is_due(foreseen):
            self.promote(numbers)
            if self.native is not None:
                return self(inputs, numbers, donate)
        return self.interpret(inputs, numbers)

    def interpret(self, inputs: Sequence[np.ndarray], numbers: Sequence[Any]) -> list[Any]:
        """Tier 0."""
        with np.errstate(all="ignore"):
            if self.function is None:
                if self.visits <= 1 and not _steady[0]:
                    return walk(self.entries, self.outs, inputs, numbers)
                self.entries = self.simplified()
                self.function = straight_line(self.entries, self.outs)
            try:
                return self.function(inputs, numbers)
            except OverflowError:
                return walk(self.entries, self.outs, inputs, numbers)

    def foreseen(self) -> bool:
        """Whether it will repeat and be compiled, by what came of those that differ in shapes.

        Counts again, and at most as many in vain as not.
        """
        form = self.form
        if form is None:
            form = self.form = form_of(hash(tuple([e.prim for e in self.entries])))
            form.made += 1
        elif self.visits == 2:
            form.repeated += 1
        return form.foreseen

    def fits(self, inputs: Sequence[Any], numbers: Sequence[Any]) -> bool:
        """Takes native code by a plan for all programs of its primitives, if it is there.

        At its first run it is noted among those.
        """
        form = self.form
        if form is None or not self.entries:
            return False
        if self.visits == 1:
            self.sample = sample_of(self, inputs, numbers)
        if self.sample is None:
            return False
        if form.templates or form.asked is not None:
            found = form.fit(self.sample, form.foreseen or self.visits >= START)
            if found is not None:
                self.ticket, complete = found
                self.asked = pace.now()
                self.sample = None
                # Not by what is ready by now: that would be a question of time.
                if not complete:
                    return False
                self.promote(numbers)
                return self.native is not None
        if self.visits == 1:
            form.note(self.sample)
        return False

    @property
    def heavy(self) -> bool:
        """Whether another interpreted run takes longer than waiting for the compiler may."""
        if self.work < 0:
            self.work = pace.work(self.entries)
        return self.work > HEAVY

    def comes_round(self, inputs: Sequence[Any]) -> bool:
        """Whether it is heavy, and what makes it so was run before: the next step of a loop."""
        # Work is not counted where there is little: in code that never repeats it would cost.
        if self.visits == 1 and pace.is_large(inputs) and self.heavy:
            self.again = pace.rounds.again(self.entries)
        return self.again

    def is_due(self, foreseen: bool) -> bool:
        """Whether native code is taken at this visit, whether or not that means to wait.

        One that is foreseen and rare (the last batch of an epoch) goes on interpreted while its
        kernels are compiled: a heavy one for its first run, a light one for longer.
        """
        before = self.visits - 1
        heavy = self.heavy
        if foreseen and before == 0 and PROMOTE > 1 and pace.now()[0] >= pace.RARE:
            return pace.interpreting(self.work, len(self.entries)) > pace.LONG
        if not foreseen or before < 1 or heavy:
            return self.visits >= PROMOTE or heavy
        runs, time = (a - b for a, b in zip(pace.now(), self.asked, strict=True))
        lost = before * pace.interpreting(self.work, len(self.entries))
        return runs < pace.RARE * before or time > pace.PATIENCE or lost > pace.LOSS

    def simplified(self) -> list[Entry]:
        return needed(simplify(self.entries, self.outs), self.outs)

    def watch(self, numbers: Sequence[Any]) -> None:
        """Notes which integers stay the same."""
        if self.places is None:
            used = {
                NUMBERS - i
                for e in self.entries
                if e.prim.name in _PLACED
                for i in e.inputs
                if i.__class__ is int and i <= NUMBERS
            }
            self.places = {i: numbers[i] for i in used if numbers[i].__class__ is int}
        elif any(numbers[i] != n for i, n in self.places.items()):
            self.places = {i: n for i, n in self.places.items() if numbers[i] == n}

    def as_before(self, numbers: Sequence[Any]) -> bool:
        """Whether native code may be called as it is, with these numbers."""
        fixed = self.fixed
        return not self.scalars and (fixed is None or fixed[0](numbers) == fixed[1])

    def apart(self, inputs: Sequence[Any], numbers: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The inputs with arrays only, the numbers among them with the others."""
        arrays = [_NOTHING if i in self.scalars else a for i, a in enumerate(inputs)]
        return arrays, [*numbers, *[inputs[i] for i in self.scalars]]

    def begin(self, inputs: Sequence[Any], numbers: Sequence[Any]) -> None:
        """Asks for native code; the interpreter goes on meanwhile."""
        if not self.entries:
            self.ticket = _NEVER
            return
        from flambeau.run.compiler import code

        entries, places = self.entries, dict(self.places or {})
        if places:
            entries = [_placed(e, places) for e in entries]
        self.scalars = tuple(
            sorted(
                {
                    -1 - i
                    for e in entries
                    for i, aval in zip(e.inputs, e.in_avals, strict=True)
                    if i.__class__ is int and NUMBERS < i < 0 and aval.dtype is None
                }
            )
        )
        if self.scalars:
            first = NUMBERS - len(numbers)
            moved = {-1 - i: first - k for k, i in enumerate(self.scalars)}
            entries = [_moved(e, moved) for e in entries]
        count = len(inputs)
        # Outputs that are inputs, which perhaps no entry reads.
        passed = {
            i: Aval(inputs[-1 - i].shape, from_numpy_dtype(inputs[-1 - i].dtype))
            for i in self.outs
            if NUMBERS < i < 0 and -1 - i not in self.scalars
        }
        samples = [*numbers, *[inputs[i] for i in self.scalars]]
        layouts = {} if self.moved else layouts_of(inputs)

        def work() -> Any:
            from flambeau.run.compiler.compile import compiled

            simple = needed(simplify(entries, self.outs), self.outs)
            return compiled(simple, self.outs, count, samples, self.storages, passed, layouts)

        self.ticket = code.defer(work)
        self.asked = pace.now()
        if places:
            order = sorted(places)
            values = tuple([places[i] for i in order])
            self.fixed = (itemgetter(*order), values if len(order) > 1 else values[0])

    def promote(self, numbers: Sequence[Any]) -> None:
        """Takes the native code, waiting for it if need be; not twice."""
        ticket = self.ticket
        if ticket is _NEVER:
            return
        if self.fixed is not None and self.fixed[1] != self.fixed[0](numbers):
            # One changed since: begin again.
            self.fixed = self.ticket = None
            self.visits = 0
            return
        try:
            # An interrupt of the wait leaves the ticket: the next visit takes it.
            made = ticket.wait()  # type: ignore[union-attr]
            self.native = made and made()
        except Exception as error:
            self.ticket = _NEVER
            if ticket.refused:  # type: ignore[union-attr]
                return
            if os.environ.get("FLAMBEAU_DEBUG"):
                raise
            warnings.warn(
                f"the compiler failed on a program of {len(self.entries)} entries, which stays "
                f"interpreted (please report it): {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self.ticket = _NEVER
        if self.native is not None and self.form is not None:
            self.form.taken(self.native, self.visits == 1)
            self.sample = None
        if self.native is not None:
            pace.noted(self.native, self.work)
            if self.again:
                pace.rounds.take(self.native)

    def finished(self, before: int) -> list[Any] | None:
        """The outputs of a native run that was finished since ``done`` said ``before``."""
        tail.join()
        native = self.native
        if native is None or native.done is None or int(native.done[0]) == before:
            return None
        return native.kept_outs

    @property
    def done(self) -> int:
        """How many native runs were finished; with no tail running."""
        native = self.native
        return 0 if native is None or native.done is None else int(native.done[0])


def layouts_of(inputs: Sequence[Any]) -> dict[int, tuple[int, ...]]:
    """Strides, in elements, of arrays that are not contiguous, by their slots."""
    found = {}
    for i, a in enumerate(inputs):
        if a.__class__ is not np.ndarray or a.flags.c_contiguous or a.dtype.kind == "c":
            continue
        size = a.itemsize
        if a.flags.aligned and all(s >= 0 and s % size == 0 for s in a.strides):
            found[-1 - i] = tuple(s // size for s in a.strides)
    return found


_NEVER: Any = object()
_NOTHING = np.zeros(1, np.float32)
# Primitives whose numbers are places in a value.
_PLACED = frozenset({"slice", "unslice", "as_strided", "unstrided", "write_strided"})


def _placed(entry: Entry, places: dict[int, int]) -> Entry:
    """The entry with numbers that stay the same as literals."""
    if entry.prim.name not in _PLACED:
        return entry
    inputs = tuple(
        Const(places[NUMBERS - i])
        if i.__class__ is int and i <= NUMBERS and NUMBERS - i in places
        else i
        for i in entry.inputs
    )
    return entry if inputs == entry.inputs else with_inputs(entry, inputs)


def _moved(entry: Entry, places: dict[int, int]) -> Entry:
    """The entry with some slots it reads called otherwise."""
    inputs = tuple(places.get(i, i) if i.__class__ is int else i for i in entry.inputs)
    return entry if inputs == entry.inputs else with_inputs(entry, inputs)
