"""The Mersenne Twister, its state in the byte layout that PyTorch's CPU generator saves."""

from __future__ import annotations

import threading

import numpy as np

from flambeau.run.chores import chores

from . import native
from ._arithmetic import blocks

__all__ = ["MersenneTwister", "STATE_SIZE", "DEFAULT_SEED"]

DEFAULT_SEED = 67280421310721
STATE_SIZE = 5056

_WORDS = 624
_LEGACY_SIZE = 5048
_ALL32 = 0xFFFFFFFF
_ALL64 = 0xFFFFFFFFFFFFFFFF

# One record, as a C compiler lays it out: a words-remaining counter, the index of the next word,
# each word widened to 64 bits, and the second half of the last Box-Muller pair.
_LAYOUT = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "words", "x", "y", "rho", "has_double"]
        + ["float_normal", "has_float"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<f8", "<f8", "<i4"]
        + ["<f4", "u1"],
        "offsets": [0, 8, 12, 16, 24, 5016, 5024, 5032, 5040, 5048, 5052],
        "itemsize": STATE_SIZE,
    }
)


class MersenneTwister:
    """The generator MT19937 [Matsumoto and Nishimura 1998], drawing what PyTorch's CPU one draws.

    ``seed`` is an integer in [-2**63, 2**64); its low 32 bits start the recurrence, all 64 are
    remembered as ``initial_seed``. ``next_double_normal`` and ``next_float_normal`` hold the half
    of a Box-Muller pair that the last draw of normal numbers left over, or ``None``.

    Every method is atomic. Hold ``lock`` (re-entrant) around draws that belong together.

    Raises ``ValueError`` if the seed is out of range.

    >>> engine = MersenneTwister(0)
    >>> engine.random32(2)
    array([2357136044, 2546248239], dtype=uint32)
    >>> twin = engine.clone()
    >>> bool((twin.random64(3) == engine.random64(3)).all())
    True
    """

    __slots__ = (
        "lock",
        "initial_seed",
        "next_double_normal",
        "next_float_normal",
        "_bits",
        "_fill",
        "_fresh",
        "_given",
        "__weakref__",
    )

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self.lock = threading.RLock()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Starts again from ``seed``, forgetting cached normal numbers."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise ValueError(
                "Overflow when unpacking long long: expected a seed in "
                f"[-0x8000_0000_0000_0000, 0xffff_ffff_ffff_ffff], but got {seed}"
            )
        with self.lock:
            self.initial_seed = seed & _ALL64
            # RandomState is NumPy's public way to the original integer seeding (init_genrand).
            self._adopt(np.random.RandomState(seed & _ALL32)._bit_generator)
            self._fresh = True
            self.next_double_normal: float | None = None
            self.next_float_normal: float | None = None

    def _adopt(self, bits: np.random.MT19937) -> None:
        self._bits = bits
        self._fill = np.random.Generator(bits).integers
        self._given = native.Given.of(bits)

    def settle(self) -> None:
        """Waits for draws that were left to others; whoever goes on holds the lock."""
        if chores.waiting:
            chores.join()

    def random32(self, n: int) -> np.ndarray:
        """The next ``n`` 32-bit draws, as uint32."""
        if n >= native.LARGE:
            draws = native.random32(self, n)
            if draws is not None:
                return draws
        with self.lock:
            self.settle()
            if n:
                self._fresh = False
            # Over the full range NumPy stores the raw draws, at half the memory of random_raw.
            return self._fill(0, _ALL32, n, dtype=np.uint32, endpoint=True)

    def random64(self, n: int) -> np.ndarray:
        """The next ``n`` 64-bit draws, as uint64; each is two 32-bit draws, the high one first."""
        with self.lock:
            self.settle()
            if n:
                self._fresh = False
            return self._fill(0, _ALL64, n, dtype=np.uint64, endpoint=True)

    def uniform32(self, n: int) -> np.ndarray:
        """``n`` float32 in [0, 1): the low 24 bits of a 32-bit draw, over 2**24."""
        if n >= native.LARGE:
            numbers = native.uniform32(self, n)
            if numbers is not None:
                return numbers
        draws = self.random32(n)
        result = draws.view(np.float32)
        # Signed integers convert with one vector instruction, unsigned ones do not.
        for part, converted in zip(blocks(draws.view(np.int32)), blocks(result), strict=True):
            part &= np.int32(0xFFFFFF)
            np.multiply(part.astype(np.float32), np.float32(2.0**-24), converted)
        return result

    def uniform64(self, n: int) -> np.ndarray:
        """``n`` float64 in [0, 1): the low 53 bits of a 64-bit draw, over 2**53."""
        draws = self.random64(n)
        draws &= np.uint64((1 << 53) - 1)
        result = draws.view(np.int64).astype(np.float64)
        result *= 2.0**-53
        return result

    def skip(self, n: int) -> None:
        """Moves ``n`` 32-bit draws ahead."""
        with self.lock:
            self.settle()
            if n:
                self._fresh = False
                self._bits.random_raw(n, output=False)

    def clone(self) -> MersenneTwister:
        """An engine of its own in the same state."""
        twin = MersenneTwister.__new__(MersenneTwister)
        twin.lock = threading.RLock()
        with self.lock:
            self.settle()
            bits = np.random.MT19937(0)
            bits.state = self._bits.state
            twin._adopt(bits)
            twin._fresh = self._fresh
            twin.initial_seed = self.initial_seed
            twin.next_double_normal = self.next_double_normal
            twin.next_float_normal = self.next_float_normal
        return twin

    def get_state(self) -> np.ndarray:
        """The state as 5056 bytes (uint8), the same that ``torch.get_rng_state()`` returns."""
        record = np.zeros((), _LAYOUT)
        with self.lock:
            self.settle()
            state = self._bits.state["state"]
            # PyTorch's fresh generator stands before word 0 of a block yet to be made, NumPy's
            # after word 623 of the seed's block: the same place under two names.
            position = 0 if self._fresh else state["pos"]
            record["seed"] = self.initial_seed
            record["left"] = 1 if self._fresh else _WORDS + 1 - position
            record["seeded"] = 1
            record["next"] = position
            record["words"] = state["key"]
            if self.next_double_normal is not None:
                record["y"], record["has_double"] = self.next_double_normal, 1
            if self.next_float_normal is not None:
                record["float_normal"], record["has_float"] = self.next_float_normal, 1
        return np.frombuffer(record.tobytes(), np.uint8).copy()

    def set_state(self, state: np.ndarray) -> None:
        """Takes over a state made by ``get_state`` or by ``torch.get_rng_state()``.

        Raises ``TypeError`` if ``state`` is not uint8, ``RuntimeError`` if its size or content is
        not that of a generator's state; the engine is then unchanged.
        """
        state = np.asarray(state)
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.size not in (STATE_SIZE, _LEGACY_SIZE):
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_SIZE} but found the input RNG "
                f"state size to be {state.size}"
            )
        data = state.tobytes().ljust(STATE_SIZE, b"\0")
        record = np.frombuffer(data, _LAYOUT)[0]
        left, position = int(record["left"]), int(record["next"])
        if record["seeded"] != 1 or not 0 < left <= _WORDS or position > _WORDS:
            raise RuntimeError("Invalid mt19937 state")
        if left > 1 and left + position != _WORDS + 1:
            raise RuntimeError("Invalid mt19937 state")
        bits = np.random.MT19937(0)
        bits.state = {
            "bit_generator": "MT19937",
            "state": {
                "key": (record["words"] & np.uint64(_ALL32)).astype(np.uint32),
                "pos": _WORDS if left == 1 else position,
            },
        }
        with self.lock:
            self._adopt(bits)
            self._fresh = left == 1 and position == 0
            self.initial_seed = int(record["seed"])
            self.next_double_normal = float(record["y"]) if record["has_double"] else None
            self.next_float_normal = float(record["float_normal"]) if record["has_float"] else None

    def __reduce__(self) -> tuple:
        return _from_state, (self.get_state(),)

    def __deepcopy__(self, memo: dict) -> MersenneTwister:
        return self.clone()

    def __repr__(self) -> str:
        return f"MersenneTwister(initial_seed={self.initial_seed})"


def _from_state(state: np.ndarray) -> MersenneTwister:
    engine = MersenneTwister()
    engine.set_state(state)
    return engine
