"""Look-up of rows: embedding, bags of them, one-hot."""

from __future__ import annotations

import numpy as np

from flambeau import dtypes
from flambeau.functions.checks import _tensors
from flambeau.functions.nn._common import known, made, reshape, value_of
from flambeau.record.absent import is_absent
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _check_index(index: Tensor, rows: int, name: str = "embedding") -> None:
    """A concrete index is checked at the call; a pending one when it is computed."""
    m = index._meta
    if m.dtype is not dtypes.int64 and m.dtype is not dtypes.int32:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got torch.{title(m.dtype)}Tensor instead (while checking arguments "
            f"for {name})"
        )
    if name != "embedding":
        return
    array = known(index)
    if array is not None and array.size:
        # As unsigned numbers, negative ones are the greatest: one pass for both ends.
        unsigned = np.uint64 if m.dtype is dtypes.int64 else np.uint32
        if array.view(unsigned).max() >= rows:
            raise IndexError("index out of range in self")


def _wide(index: Tensor) -> Tensor:
    return index if index.dtype is dtypes.int64 else ops.cast(index, dtype=dtypes.int64)


def _lookup(weight: Tensor, index: Tensor, padding: int | None, by_frequency: bool) -> Tensor:
    index = _wide(index)
    found = ops.embedding(weight, index, padding=padding)
    if by_frequency:
        count = ops.frequency(index, rows=weight._meta.shape[0], dtype=weight.dtype)
        found = ops.shared_gradient(found, reshape(count, (*index._meta.shape, 1)))
    return found


@function(grad="EmbeddingBackward0")
def _embedding(
    weight: Tensor, index: Tensor, padding: int | None = None, by_frequency: bool = False
) -> Tensor:
    return _lookup(weight, index, padding, by_frequency)


@_tensors
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` at the integers ``input``: shape ``(*input.shape, width)``.

    Row ``padding_idx`` gets no gradient; ``max_norm`` shrinks, in place, rows that are longer;
    ``scale_grad_by_freq`` divides gradients by how often a row occurs. With ``sparse`` the gradient
    of ``weight`` is a sparse tensor of the rows that were looked up. Raises ``IndexError`` for a
    row that is none.

    >>> embedding(tensor([1, 0]), tensor([[1.0], [2.0]]))
    tensor([[2.],
            [1.]])
    """
    shape = weight._meta.shape
    if len(shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    if padding_idx is not None:
        if not -shape[0] <= padding_idx < shape[0]:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= shape[0]
    _check_index(input, shape[0])
    if max_norm is not None:
        _renormalize(weight, input, float(max_norm), float(norm_type))
    if sparse and weight.requires_grad:
        return _sparsely(weight, input, padding_idx, scale_grad_by_freq)
    return _embedding(weight, input, padding_idx, scale_grad_by_freq)


def _sparsely(weight: Tensor, input: Tensor, padding_idx: int | None, by_frequency: bool) -> Tensor:
    """The look-up whose gradient is a sparse tensor."""
    from flambeau.sparse import gradients  # upward: the gradient is a sparse tensor

    refusal = "embedding_backward: scale_grad_by_freq not supported with sparse gradients"
    return gradients.of_rows(
        weight,
        value_of(input).astype(np.int64),
        padding_idx,
        lambda table: _embedding(table, input, padding_idx),
        refusal if by_frequency else None,
    )


def _renormalize(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Shrinks the rows that are looked up to ``max_norm``, in place and without history."""
    from flambeau.functions.arithmetic import copy_
    from flambeau.functions.inplace import title

    if weight.dtype.category < 2:
        raise RuntimeError(
            "norm(): input dtype should be either floating point or complex. Got "
            f"{title(weight.dtype)} instead."
        )
    table = np.array(value_of(weight))
    rows = np.unique(value_of(index))
    size = np.linalg.norm(np.abs(table[rows]).astype(np.float64), norm_type, axis=1)
    long = size > max_norm
    scale = (max_norm / (size[long] + 1e-7)).astype(table.dtype)
    if long.any():
        table[rows[long]] *= scale[:, None]
        copy_(weight.detach(), made(table, weight._meta.dtype))


def _check_floats(weight: Tensor) -> None:
    if weight.dtype.category != 2:
        from flambeau.functions.inplace import title

        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: "
            f"Half, BFloat16, Float, Double; but got torch.{title(weight.dtype)}Tensor instead "
            "(while checking arguments for embedding_bag)"
        )


_MODES = ("sum", "mean", "max")


@function(grad="EmbeddingBagBackward0")
def _embedding_bag(
    weight: Tensor,
    index: Tensor,
    bag: Tensor,
    kept: Tensor,
    per_sample: Tensor | None,
    bags: int,
    mode: str,
    by_frequency: bool,
    spare: bool,
) -> Tensor:
    """``bag`` is the bag of each index, ``kept`` 1 for each that counts, else 0.

    With ``spare`` one bag more than ``bags`` takes what is there to fill the arrays.
    """
    rows = _lookup(weight, index, None, by_frequency)
    found = _bagged(rows, bag, kept, per_sample, bags + spare, mode)
    if not spare:
        return found
    return ops.slice(found, 0, dims=(0,), sizes=(bags,), steps=(1,))


def _bagged(
    rows: Tensor, bag: Tensor, kept: Tensor, per_sample: Tensor | None, bags: int, mode: str
) -> Tensor:
    n, width = rows._meta.shape
    zeros = ops.full(0.0, shape=(bags, width), dtype=rows.dtype)
    if mode == "max":
        # The greatest of each bag by element: the first of equals gets the gradient.
        place = ops.bag_argmax(rows, bag, kept, bags=bags)
        empty = ops.lt(place, 0)
        column = ops.iota(shape=(bags, width), dim=1, dtype=dtypes.int64)
        if n == 0:
            return zeros
        found = ops.index(rows, ops.where(empty, 0, place), column, where=(0, 1))
        return ops.where(empty, 0.0, found)
    column = reshape(kept, (n, 1))
    rows = ops.mul(rows, column)
    if per_sample is not None:
        rows = ops.mul(rows, reshape(per_sample, (n, 1)))
    total = ops.index_put(zeros, rows, bag, where=(0,), accumulate=True)
    if mode == "sum":
        return total
    none = ops.full(0.0, shape=(bags,), dtype=rows.dtype)
    count = ops.index_put(none, kept, bag, where=(0,), accumulate=True)
    return ops.div(total, reshape(ops.maximum(count, 1.0), (bags, 1)))


_rows_in_bags = function(grad="EmbeddingBagBackward0")(_bagged)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of ``embedding`` over bags of indices.

    Shapes: ``input`` is ``(B, N)``, a bag a row, or ``(N,)`` with the bags beginning at
    ``offsets``. Empty bags give zeros; indices ``padding_idx`` do not count. With ``sparse`` the
    gradient of ``weight`` is a sparse tensor of the rows that were looked up.

    >>> embedding_bag(tensor([[0, 1]]), tensor([[1.0], [2.0]]), mode="sum")
    tensor([[3.]])
    """
    if weight._meta.dtype is dtypes.int64 and input._meta.dtype.is_floating_point:
        input, weight = weight, input
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then "
            f"it must have the same shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    if mode not in _MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    rows = weight._meta.shape[0]
    _check_index(input, rows, "embedding_bag")
    _check_floats(weight)
    index = value_of(input).astype(np.int64)
    wrong = np.flatnonzero((index < 0) | (index >= rows))
    if wrong.size:
        raise RuntimeError(
            f"Index {wrong[0]} of input takes value {index.flat[wrong[0]]} which is not in the "
            f"valid range [0, {rows})"
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated as a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        bags = index.shape[0]
        bag = np.repeat(np.arange(bags), index.shape[1])
        index = index.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = value_of(offsets).astype(np.int64)
        if len(starts) and starts[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {starts[0]}"
            )
        if len(starts) and starts[-1] > len(index):
            raise RuntimeError(
                "offsets[-1] can not be greater than input's length "
                f"{len(index)} but got offsets[-1] of {starts[-1]}"
            )
        if include_last_offset:
            starts = starts[:-1]
        bags = len(starts)
        lengths = np.diff(starts, append=len(index))
        if len(starts) and lengths.min() >= 0:
            bag = np.repeat(np.arange(bags), lengths)
        else:
            bag = np.searchsorted(starts, np.arange(len(index)), side="right") - 1
    else:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    kept = np.ones(len(index), weight._meta.dtype.numpy)
    pad = None
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise RuntimeError("padding_idx must be within the number of embeddings")
        pad = padding_idx % rows
        kept[index == pad] = 0
    if max_norm is not None:
        _renormalize(weight, input, float(max_norm), float(norm_type))
    if per_sample_weights is not None:
        per_sample_weights = per_sample_weights.reshape(-1)
    if sparse and weight.requires_grad:
        rows = _sparsely(weight, made(index, dtypes.int64), pad, scale_grad_by_freq)
        return _rows_in_bags(
            rows,
            made(bag.astype(np.int64), dtypes.int64),
            made(kept, weight._meta.dtype),
            per_sample_weights,
            bags,
            mode,
        )
    spare = offsets is not None and len(index) > 0 and bags > 0
    spare = spare and per_sample_weights is None and not scale_grad_by_freq
    if spare:
        more = _room(len(index)) - len(index)
        index = np.append(index, np.repeat(index[:1], more))
        bag = np.append(bag, np.repeat(bags, more))
        kept = np.append(kept, np.zeros(more, kept.dtype))
    return _embedding_bag(
        weight,
        made(index, dtypes.int64),
        made(bag.astype(np.int64), dtypes.int64),
        made(kept, weight._meta.dtype),
        per_sample_weights,
        bags,
        mode,
        scale_grad_by_freq,
        spare,
    )


def _room(n: int) -> int:
    """At most an eighth more than ``n``: bags that differ in all their lengths share programs."""
    step = max(8, 1 << max(n.bit_length() - 4, 0))
    return -(-n // step) * step


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A row of ``num_classes`` (by default as many as needed) zeros with a 1 at each number.

    Raises ``RuntimeError`` for negative numbers or ones that are too large.

    >>> one_hot(tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor._meta.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if is_absent(tensor) and num_classes != -1:
        if num_classes < 0:
            raise RuntimeError("num_classes should be positive")
        return _one_hot(tensor, num_classes)
    index = value_of(tensor)
    if not index.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return made(np.zeros((*index.shape, num_classes), np.int64), dtypes.int64)
    if index.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(index.max()) + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif index.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return _one_hot(tensor, num_classes)


@function
def _one_hot(tensor: Tensor, num_classes: int) -> Tensor:
    shape = tensor._meta.shape
    classes = ops.iota(shape=(*(1,) * len(shape), num_classes), dim=len(shape), dtype=dtypes.int64)
    return ops.cast(ops.eq(reshape(tensor, (*shape, 1)), classes), dtype=dtypes.int64)


SAMPLES = {
    "nn.functional.embedding": "labels, m; tokens, line.flatten(0, 1)[:, :5].repeat(2, 1);"
    " k, m, padding_idx=0; k, m, padding_idx=-1; k, m, scale_grad_by_freq=True; labels[0], m;"
    " labels, m.detach(), max_norm=1.0; k, m.detach(), None, 0.7, 1.0;"
    " labels, m, sparse=True # no-second; labels.int(), m; labels[:0], m; !labels + 9, m; !x, m;"
    " !labels, m, padding_idx=7",
    "nn.functional.embedding_bag": "k, m; k, m, mode='sum'; k, m, mode='max';"
    " k.flatten(), m, torch.tensor([0, 3, 3, 7]);"
    " k.flatten(), m, torch.tensor([0, 5, 12]), include_last_offset=True;"
    " k, m, mode='sum', per_sample_weights=unit; k, m, padding_idx=1;"
    " k, m, padding_idx=1, mode='max';"
    " torch.tensor([[0, 1, 3], [3, 0, 1]]), m, scale_grad_by_freq=True, mode='sum';"
    " labels, m, torch.tensor([0]), sparse=True # no-second; !k, m, mode='min'; !x, m;"
    " !k, m, torch.tensor([0]); !k.flatten(), m, torch.tensor([1, 3]);"
    " !k, m, per_sample_weights=unit; !k + 9, m; !k.flatten(), m",
    "nn.functional.one_hot": "labels; labels, 6; k; labels[0], 4; place, num_classes=3;"
    " labels[:0], 2; !labels, 1; !i; !x; !labels[:0]",
}
