"""Programs written in primitives, for tests of what the compiler makes of them."""

from __future__ import annotations

import numpy as np

from flambeau import dtypes
from flambeau.ir.graph import Aval, Graph, Var, recorders
from flambeau.run.compiler import code, launch, passes
from flambeau.run.compiler.program import Compiled, Draft
from flambeau.run.interpreter import needed, walk


class Built:
    """Entries written by hand: ``inputs`` are arrays, ``f`` gets Vars and gives results."""

    def __init__(self, f, *inputs):
        self.inputs = [np.ascontiguousarray(a) for a in inputs]
        graph = Graph()
        given = [
            Var(-1 - i, Aval(a.shape, dtypes.from_numpy_dtype(a.dtype)))
            for i, a in enumerate(self.inputs)
        ]
        before, recorders.current = recorders.current, graph
        try:
            found = f(*given)
        finally:
            recorders.current = before
        self.entries = graph.entries
        found = found if isinstance(found, tuple) else (found,)
        self.outs = [v.slot for v in found]

    def draft(self):
        entries = needed(passes.rewrite(self.entries, self.outs), self.outs)
        return Draft(entries, self.outs, [])

    def compiled(self, storages=()):
        draft = self.draft()
        wanted = [*launch.kernels(), *draft.kernels.values()]
        return Compiled(draft, code.request(wanted).wait(), len(self.inputs), storages)

    def check(self, rtol=2e-6, atol=2e-6):
        with np.errstate(all="ignore"):
            expected = walk(self.entries, self.outs, self.inputs, [])
        found = self.compiled()(list(self.inputs), [])
        for a, b in zip(found, expected, strict=True):
            b = np.asarray(b)
            assert a.shape == b.shape and a.dtype == b.dtype
            wide = np.float64 if b.dtype.kind in "fV" else b.dtype
            np.testing.assert_allclose(a.astype(wide), b.astype(wide), rtol=rtol, atol=atol)
