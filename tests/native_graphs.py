"""Programs written in primitives, for tests of what the compiler makes of them."""

from __future__ import annotations

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import NUMBERS, Aval, Graph, Var, recorders
from flambeau.run.compiler import code, epilogue, launch, passes
from flambeau.run.compiler.draft import Draft
from flambeau.run.compiler.program import Compiled
from flambeau.run.compiler.scheduling import scheduled
from flambeau.run.interpreter import needed, walk


class Built:
    """Entries written by hand: ``inputs`` are arrays, ``f`` gets Vars and gives results.

    ``numbers`` are run-time numbers, which come after them.
    """

    def __init__(self, f, *inputs, numbers=()):
        self.numbers = list(numbers)
        self.inputs = [np.ascontiguousarray(a) for a in inputs]
        graph = Graph()
        given = [
            Var(-1 - i, Aval(a.shape, dtypes.from_numpy_dtype(a.dtype)))
            for i, a in enumerate(self.inputs)
        ]
        given += [Var(NUMBERS - i, Aval((), None)) for i in range(len(numbers))]
        before, recorders.current = recorders.current, graph
        try:
            found = f(*given)
        finally:
            recorders.current = before
        self.entries = graph.entries
        found = found if isinstance(found, tuple) else (found,)
        self.outs = [v.slot for v in found]

    def draft(self, storages=()):
        entries = needed(passes.rewrite(self.entries, self.outs), self.outs)
        return Draft(entries, self.outs, self.numbers, None, storages)

    def compiled(self, storages=()):
        draft = self.draft(storages)
        wanted = [*launch.kernels(), *draft.kernels.values()]
        made = scheduled(draft, len(self.inputs), storages)
        return Compiled(made, code.request(wanted).wait())

    def check(self, rtol=2e-6, atol=2e-6):
        with np.errstate(all="ignore"):
            expected = walk(self.entries, self.outs, self.inputs, self.numbers)
        found = self.compiled()(list(self.inputs), self.numbers)
        for a, b in zip(found, expected, strict=True):
            b = np.asarray(b)
            assert a.shape == b.shape and a.dtype == b.dtype
            wide = np.float64 if b.dtype.kind in "fV" else b.dtype
            np.testing.assert_allclose(a.astype(wide), b.astype(wide), rtol=rtol, atol=atol)


def both_ways(built, monkeypatch, storages=(), given=()):
    """The outputs' bytes with epilogues and with nests; ``given``: outputs in inputs' memory."""
    found = []
    for wanted in (True, False):
        monkeypatch.setattr(epilogue, "worth", lambda attached, w=wanted: w)
        draft = built.draft(storages)
        assert bool(draft.epilogues) == wanted
        compiled = built.compiled(storages)
        inputs = [a.copy() for a in built.inputs]
        places = [(k, inputs[i]) for k, i in given]
        outs = compiled(list(inputs), list(built.numbers), places)
        for k, i in given:
            assert outs[k] is inputs[i]
        found.append([a.tobytes() for a in outs])
    assert found[0] == found[1]
    return found[0]
