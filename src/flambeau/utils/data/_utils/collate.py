"""Collating: one batch of tensors from a list of samples."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau.record.trace import open_
from flambeau.tensor import Tensor, concrete

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_STRINGS = re.compile(r"[SaUO]")
_WRONG = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def default_convert(data: Any) -> Any:
    """NumPy arrays become tensors, also inside lists, tuples and dictionaries; the rest stays.

    >>> default_convert([np.array([0, 1]), "a"])
    [tensor([0, 1]), 'a']
    """
    kind = type(data)
    if isinstance(data, Tensor):
        return data
    if kind.__module__ == "numpy" and kind.__name__ not in ("str_", "string_", "bytes_"):
        if kind.__name__ == "ndarray" and _STRINGS.search(data.dtype.str) is not None:
            return data
        return flambeau.as_tensor(data)
    if isinstance(data, Mapping):
        converted = {key: default_convert(value) for key, value in data.items()}
        return _like_mapping(data, converted)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return kind(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data


def _like_mapping(element: Any, values: dict) -> Any:
    """The values in a mapping of the element's type, if it can be made."""
    try:
        if isinstance(element, MutableMapping):
            # A copy keeps what the type holds besides its entries.
            clone = copy.copy(element)
            clone.update(values)
            return clone
        return type(element)(values)
    except TypeError:
        return values


def _like_sequence(element: Any, values: list) -> Any:
    """The values in a sequence of the element's type, if it can be made."""
    try:
        if isinstance(element, MutableSequence):
            clone = copy.copy(element)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        if isinstance(element, range):
            return values
        return type(element)(values)
    except TypeError:
        return values


def collate(
    batch: Any, *, collate_fn_map: dict[type | tuple[type, ...], Callable] | None = None
) -> Any:
    """One batch from a list of samples; the map says how the elements of a type are put together.

    Raises: ``TypeError`` for a type that is not in the map and holds nothing that is,
    ``RuntimeError`` for sequences of different lengths.
    """
    element = batch[0]
    kind = type(element)
    if collate_fn_map is not None:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for of in collate_fn_map:
            if isinstance(element, of):
                return collate_fn_map[of](batch, collate_fn_map=collate_fn_map)

    def again(values: Any) -> Any:
        return collate(values, collate_fn_map=collate_fn_map)

    if isinstance(element, Mapping):
        return _like_mapping(element, {k: again([sample[k] for sample in batch]) for k in element})
    if isinstance(element, tuple) and hasattr(element, "_fields"):
        return kind(*(again(samples) for samples in zip(*batch, strict=True)))
    if isinstance(element, Sequence):
        if not all(len(sample) == len(element) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [again(samples) for samples in zip(*batch, strict=True)]
        return columns if isinstance(element, tuple) else _like_sequence(element, columns)
    raise TypeError(_WRONG.format(kind))


def collate_tensor_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Tensors of equal shape, stacked along a new first dimension."""
    element = batch[0]
    meta = element._meta
    plain = all(t.__class__ is Tensor and t._meta is meta for t in batch)
    if not plain or (meta.requires_grad and open_.state.grad):
        return flambeau.stack(list(batch), 0)
    # Concrete tensors of one shape and dtype: NumPy does it in one pass.
    out = np.empty((len(batch), *meta.shape), meta.dtype.numpy)
    for i, t in enumerate(batch):
        out[i] = t._array()
    return concrete(out, meta.dtype)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Arrays of equal shape, stacked; ``TypeError`` for strings and objects."""
    element = batch[0]
    if _STRINGS.search(element.dtype.str) is not None:
        raise TypeError(_WRONG.format(element.dtype))
    return collate([flambeau.as_tensor(b) for b in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """NumPy scalars as a vector."""
    return flambeau.as_tensor(np.array(batch))


def collate_float_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Python floats as a vector of float64."""
    return flambeau.tensor(batch, dtype=flambeau.float64)


def collate_int_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Python integers or booleans as a vector."""
    return flambeau.tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Strings stay a list."""
    return batch


default_collate_fn_map: dict[type | tuple[type, ...], Callable] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Any) -> Any:
    """One batch from a list of samples: tensors, arrays and numbers are stacked, dictionaries,
    lists and tuples are gone into, strings stay a list.

    Raises: ``TypeError`` for other types, ``RuntimeError`` for shapes or lengths that differ.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
