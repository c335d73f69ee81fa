"""Sequences of different lengths: padded, and packed so that no padding is computed."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import flambeau
from flambeau.nn._packing import Padded, places_of
from flambeau.record import alias
from flambeau.tensor import Tensor, concrete

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

_Fields = namedtuple(
    "_Fields", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"],
    defaults=(None, None, None),
)  # fmt: skip


class PackedSequence(_Fields):
    """Sequences one time step after the other: ``data`` holds, for each step, the elements of
    those that are long enough; ``batch_sizes`` how many these are.

    ``sorted_indices`` says in which order the sequences are packed (longest first),
    ``unsorted_indices`` the way back.

    >>> pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).data
    tensor([1, 3, 2])
    """

    # The same as all steps of all sequences: ``data`` is then chosen from it when it is asked for.
    _padded: Padded | None = None

    def __new__(
        cls,
        data: Tensor | None,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a tuple or list of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn. "
                "https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    @classmethod
    def _of(
        cls, padded: Padded, batch_sizes: Tensor, order: Tensor | None, back: Tensor | None = None
    ) -> PackedSequence:
        """Sequences that are there as all steps of all of them."""
        packed = cls(None, batch_sizes, order, back)
        packed._padded = padded
        return packed

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        """The elements, one step after the other."""
        given = tuple.__getitem__(self, 0)
        if given is None and self._padded is not None:
            given = self.__dict__.get("_data")
            if given is None:
                given = self.__dict__["_data"] = self._padded.packed()
        return given

    def __iter__(self) -> Iterator[Any]:
        return iter((self.data, *tuple.__getitem__(self, slice(1, None))))

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, key) if self._padded is None else tuple(self)[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self)

    def __repr__(self) -> str:
        fields = ", ".join(f"{k}={v!r}" for k, v in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({fields})"

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the data is in pinned memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> PackedSequence:
        """The same with its data in pinned memory."""
        return self._with(self.data.pin_memory())

    def _with(self, data: Tensor) -> PackedSequence:
        if data is self.data:
            return self
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with ``data.to(...)``."""
        return self._with(self.data.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on a GPU; raises where there is none."""
        return self.to(*args, device="cuda", **kwargs)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(dtype=flambeau.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(dtype=flambeau.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(dtype=flambeau.float16)

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.to(dtype=flambeau.int64)

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.to(dtype=flambeau.int32)

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self.to(dtype=flambeau.int16)

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self.to(dtype=flambeau.int8)

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self.to(dtype=flambeau.uint8)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another.

    >>> invert_permutation(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    if permutation.is_floating_point() or permutation.is_complex():
        raise RuntimeError("invert_permutation(): Expected dtype int32/int64 for index")
    order = permutation.tolist()
    inverse = [0] * len(order)
    for i, j in enumerate(order):
        inverse[j] = i
    return flambeau.tensor(inverse, dtype=flambeau.int64)


def _indices(values: list[int]) -> Tensor:
    return flambeau.tensor(values, dtype=flambeau.int64)


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | list[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Packs sequences that were padded to the longest.

    Shapes: ``input`` is (T, B, *), or (B, T, *) with ``batch_first``. The lengths must descend,
    unless ``enforce_sorted`` is off.

    Raises: ``RuntimeError`` for lengths that do not descend, are not positive, or are not B many.

    >>> pack_padded_sequence(torch.tensor([[1, 3], [2, 0]]), [2, 1]).data
    tensor([1, 3, 2])
    """
    if not isinstance(lengths, Tensor):
        lengths = flambeau.as_tensor(lengths, dtype=flambeau.int64)
    counts = [int(n) for n in lengths.tolist()]
    order = list(range(len(counts)))
    if not enforce_sorted:
        # Stable, longest first.
        order.sort(key=lambda i: -counts[i])
        counts = [counts[i] for i in order]
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    steps, batch = input.shape[1::-1] if batch_first else input.shape[:2]
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={batch})"
        )
    if any(a < b for a, b in itertools.pairwise(counts)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if counts[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if counts[0] > steps:
        raise RuntimeError(
            f"Expected lengths of at most {steps} (the padded length), got {counts[0]}"
        )
    sizes = _batch_sizes(counts)
    batch_sizes, sorted_indices = _indices(sizes), None if enforce_sorted else _indices(order)
    places = places_of(tuple(sizes))
    flat = input.reshape(-1, *input.shape[2:])
    if places.worth:
        value = flat.index_select(0, places.within(order, steps, batch_first))
        value = value.reshape(len(sizes), batch, *input.shape[2:])
        return PackedSequence._of(Padded(value, places), batch_sizes, sorted_indices)
    chosen = places.within(order, steps, batch_first)[places.out[False]]
    return PackedSequence(flat.index_select(0, chosen), batch_sizes, sorted_indices, None)


def _batch_sizes(counts: list[int]) -> list[int]:
    """How many of these lengths, which descend, reach each step."""
    return [sum(n > step for n in counts) for step in range(counts[0])]


def _lengths_of(batch_sizes: list[int]) -> list[int]:
    """How long each of the packed sequences is."""
    return [sum(n > row for n in batch_sizes) for row in range(batch_sizes[0])]


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Undoes :func:`pack_padded_sequence`: the padded sequences and their lengths.

    Args:
        total_length: pads to this length rather than to the longest.
    Raises: ``ValueError`` for a ``total_length`` shorter than the longest sequence.

    >>> packed = pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2],
            [3, 0]]), tensor([2, 1]))
    """
    sizes = sequence.batch_sizes.tolist()
    longest = len(sizes)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    lengths = _lengths_of(sizes)
    if sequence._padded is not None:
        padded = _with_padding(sequence._padded, longest, padding_value)
    else:
        data, places = sequence.data, places_of(tuple(sizes))
        flat = flambeau.full((longest * sizes[0], *data.shape[1:]), padding_value, dtype=data.dtype)
        padded = flat.index_put((places.out[False],), data)
        padded = padded.reshape(longest, sizes[0], *data.shape[1:])
    if batch_first:
        padded = padded.transpose(0, 1)
    back = sequence.unsorted_indices
    if back is not None:
        padded = padded.index_select(0 if batch_first else 1, back)
        lengths = [lengths[i] for i in back.tolist()]
    return padded, _indices(lengths)


def _with_padding(padded: Padded, longest: int, padding_value: float) -> Tensor:
    value, places = padded
    rest = value.shape[2:]
    real = places.real.reshape(places.steps, places.count, *[1] * len(rest))
    value = value.masked_fill(~real, padding_value)
    missing = longest - places.steps
    if missing:
        shape = (missing, places.count, *rest)
        more = flambeau.full(shape, padding_value, dtype=value.dtype)
        value = flambeau.cat([value, more])
    return value


def pad_sequence(
    sequences: Tensor | list[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stacks sequences of different lengths, padded to the longest.

    Shapes: tensors (L_i, *) to (T, B, *), or (B, T, *) with ``batch_first``.
    Raises: ``RuntimeError`` for what is no iterable, or sizes that differ after the first
    dimension.

    >>> pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("right", "left"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    longest = max(s.size(0) for s in sequences)
    rest = tuple(sequences[0].shape[1:])
    for s in sequences:
        if tuple(s.shape[1:]) != rest:
            raise RuntimeError(
                f"The size of tensor a ({list(rest)}) must match the size of tensor b "
                f"({list(s.shape[1:])}) after the first dimension"
            )
    dtype = sequences[0].dtype
    sequences = [s if s.dtype is dtype else s.to(dtype) for s in sequences]
    data = alias.at_once(sequences)
    if data is not None:
        return concrete(_padded(data, longest, batch_first, padding_value, padding_side), dtype)
    rows = []
    for s in sequences:
        missing = longest - s.size(0)
        if missing:
            pad = flambeau.full((missing, *rest), padding_value, dtype=sequences[0].dtype)
            s = flambeau.cat([s, pad] if padding_side == "right" else [pad, s])
        rows.append(s)
    return flambeau.stack(rows, 0 if batch_first else 1)


def _padded(
    data: list[np.ndarray], longest: int, batch_first: bool, value: float, side: str
) -> np.ndarray:
    lead = (len(data), longest) if batch_first else (longest, len(data))
    out = np.full((*lead, *data[0].shape[1:]), value, data[0].dtype)
    rows = out if batch_first else out.swapaxes(0, 1)
    for row, a in zip(rows, data, strict=True):
        (row[: len(a)] if side == "right" else row[longest - len(a) :])[...] = a
    return out


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """Undoes :func:`pad_sequence`.

    >>> unpad_sequence(torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]), batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    rows = padded_sequences.unbind(0)
    return [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences of different lengths, longest first unless ``enforce_sorted`` is off.

    >>> pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).batch_sizes
    tensor([2, 1])
    """
    lengths = flambeau.as_tensor([s.size(0) for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Undoes :func:`pack_sequence`.

    >>> unpack_sequence(pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


SAMPLES = {
    "nn.utils.rnn.pad_sequence": "[x, row]; [u, v, s[None]], True; [row, x], padding_value=-1.0;"
    " [v, u], True, 0.5, 'left'; [i, j[:1]], padding_value=7; ![x, tall]; ![];"
    " ![x], padding_side='up'",
    "nn.utils.rnn.pack_sequence": "[x, row]; [row, x], False; [v, u, s[None]]; ![row, x]; ![]",
    "nn.utils.rnn.pack_padded_sequence": "sequence, [5, 3];"
    " sequence, torch.tensor([2, 5]), enforce_sorted=False; cube, [3, 1], True; !sequence, [3, 5];"
    " !sequence, [5, 0]; !sequence, [3, 6]; !sequence, [5]",
    "nn.utils.rnn.pad_packed_sequence": "nn.utils.rnn.pack_padded_sequence(sequence, [5, 3]);"
    " nn.utils.rnn.pack_padded_sequence(sequence, [2, 4], enforce_sorted=False), True, -1.0, 6;"
    " !nn.utils.rnn.pack_padded_sequence(sequence, [5, 3]), total_length=4; !x",
    "nn.utils.rnn.unpad_sequence": "sequence * 1, torch.tensor([5, 3]);"
    " cube * 1, torch.tensor([1, 3]), True; !sequence * 1, [5, 3]",
    "nn.utils.rnn.unpack_sequence": "nn.utils.rnn.pack_sequence([x, row]);"
    " nn.utils.rnn.pack_sequence([row, x], False); !x",
    "nn.utils.rnn.invert_permutation": "torch.tensor([2, 0, 1]); None; labels[:0]; !u",
    "nn.utils.rnn.PackedSequence": "x, torch.tensor([2, 1]);"
    " x, torch.tensor([2, 1]), torch.tensor([1, 0]);"
    " x, torch.tensor([2, 1]), None, torch.tensor([1, 0])",
}
