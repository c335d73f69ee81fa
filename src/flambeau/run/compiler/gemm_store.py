"""How a tile's sums reach C: added to what earlier blocks of k left there, through the epilogue."""

from __future__ import annotations

from typing import NamedTuple

from flambeau.run.compiler.emit import Function, vector
from flambeau.run.compiler.gemm_spec import BYTES, Product

__all__ = ["Output", "Place"]


class Place(NamedTuple):
    """A vector of C: where it is in memory, its row and first column, the lanes that exist."""

    pointer: str
    row: str
    column: str
    mask: str | None


class Output:
    """Writes vectors of ``lanes`` elements of C; ``single``: k is one block."""

    def __init__(self, f: Function, spec: Product, lanes: int, single: bool) -> None:
        self.f, self.single, self.lanes = f, single, lanes
        self.element, self.epilogue = spec.element, spec.epilogue
        self.align = BYTES[spec.element]
        self.type = vector(lanes, spec.element)
        self.bits = f"i{8 * self.align}"
        self.whole = vector(lanes, self.bits)

    def block(self, at: str, end: str, k: str) -> None:
        """The tiles that follow sum over k from ``at`` to ``end``."""
        f = self.f
        # What is kept of C's old bits: none in the first block, whose C may hold anything.
        later = f.value(f"icmp ne i64 {at}, 0")
        bits = f.value(f"sext i1 {later} to {self.bits}")
        self.keep = f.splat(self.lanes, self.bits, bits)
        self.final = f.value(f"icmp eq i64 {end}, {k}")

    def write(self, places: list[Place], sums: list[str]) -> None:
        f = self.f
        if self.single:
            self._finish(places, sums)
        elif not self.epilogue:
            for place, value in zip(places, sums, strict=True):
                self._put(self._added(value, place), place)
        else:
            sums = [self._added(v, place) for place, v in zip(places, sums, strict=True)]
            with f.when(self.final):
                self._finish(places, sums)
            with f.when(f.value(f"xor i1 {self.final}, true")):
                for place, value in zip(places, sums, strict=True):
                    self._put(value, place)

    def _finish(self, places: list[Place], sums: list[str]) -> None:
        """Stores whole sums, through the epilogue if there is one."""
        emit = self.epilogue.begin(self.f) if self.epilogue else None
        for place, value in zip(places, sums, strict=True):
            if emit:
                value = emit(self.lanes, value, (place.row, place.column), place.mask)
            self._put(value, place)

    def _added(self, value: str, place: Place) -> str:
        f = self.f
        bits = f.value(f"bitcast {self.type} {self._get(place)} to {self.whole}")
        kept = f.value(f"and {self.whole} {bits}, {self.keep}")
        before = f.value(f"bitcast {self.whole} {kept} to {self.type}")
        return f.value(f"fadd {self.type} {before}, {value}")

    def _get(self, place: Place) -> str:
        if place.mask:
            return self.f.load_masked(self.lanes, self.element, place.pointer, place.mask)
        return self.f.load(self.type, place.pointer, self.align)

    def _put(self, value: str, place: Place) -> None:
        if place.mask:
            self.f.store_masked(self.lanes, self.element, value, place.pointer, place.mask)
        else:
            self.f.store(self.type, value, place.pointer, self.align)
