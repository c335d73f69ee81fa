"""The package's own forms of functions of ``nn.functional``: PyTorch gives them other arguments.

Reductions are numbers there (0 is "none", which is the default, 1 "mean", 2 "sum"), and tables and
statistics stand where ``nn.functional`` has other things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.dtypes import float64, int64
from flambeau.functions.nn import _common
from flambeau.functions.nn import dropout as _dropout
from flambeau.functions.nn import embedding as _embedding
from flambeau.functions.nn import loss as _loss
from flambeau.functions.nn import margins as _margins
from flambeau.functions.nn import max_pooling as _pooling
from flambeau.functions.nn import normalization as _norm
from flambeau.functions.nn import sequence as _sequence

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

__all__ = [
    "adaptive_max_pool1d",
    "alpha_dropout",
    "alpha_dropout_",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "ctc_loss",
    "dropout",
    "dropout_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "feature_alpha_dropout_",
    "feature_dropout",
    "feature_dropout_",
    "group_norm",
    "hinge_embedding_loss",
    "instance_norm",
    "kl_div",
    "layer_norm",
    "margin_ranking_loss",
    "poisson_nll_loss",
    "triplet_margin_loss",
]

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(name: str, number: Any) -> str:
    """The word for a reduction's number."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name}(): argument 'reduction' must be int, not {type(number).__name__}")
    return _REDUCTIONS[number] if 0 <= number < 3 else "none"


# ---------------------------------------------------------------------------- normalisation


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """``nn.functional.batch_norm``, with the parameters before the statistics.

    >>> x = tensor([[1.0], [3.0]])
    >>> torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False).flatten()
    tensor([-1.0000,  1.0000])
    """
    return _norm.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """``nn.functional.instance_norm``, with the parameters before the statistics.

    >>> x = tensor([[[1.0, 3.0]]])
    >>> torch.instance_norm(x, None, None, None, None, True, 0.1, 0.0, False)
    tensor([[[-1.,  1.]]])
    """
    return _norm.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``nn.functional.layer_norm``; ``cudnn_enable`` changes no number.

    >>> torch.layer_norm(tensor([1.0, 3.0]), (2,), eps=0.0)
    tensor([-1.,  1.])
    """
    return _norm.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """``nn.functional.group_norm``; ``cudnn_enabled`` changes no number.

    >>> torch.group_norm(tensor([[[1.0, 3.0]]]), 1, eps=0.0)
    tensor([[[-1.,  1.]]])
    """
    return _norm.group_norm(input, num_groups, weight, bias, eps)


# ---------------------------------------------------------------------------------- losses


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """``nn.functional.poisson_nll_loss``, with nothing left out.

    >>> torch.poisson_nll_loss(tensor([0.0]), tensor([2.0]), True, False, 1e-8, 1)
    tensor(1.)
    """
    how = _reduction("poisson_nll_loss", reduction)
    return _loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=how)


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False
) -> Tensor:
    """``nn.functional.kl_div``, without its warning.

    >>> torch.kl_div(tensor([0.0]), tensor([1.0]))
    tensor([0.])
    """
    # Its mean warns in nn.functional alone.
    found = _loss.kl_div(input, target, reduction="none", log_target=log_target)
    how = _reduction("kl_div", reduction)
    return found if how == "none" else found.mean() if how == "mean" else found.sum()


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """``nn.functional.ctc_loss``.

    >>> torch.ctc_loss(torch.ones(1, 1, 2), tensor([[1]]), [1], [1])
    tensor([-1.])
    """
    how = _reduction("ctc_loss", reduction)
    return _sequence.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """``nn.functional.cosine_embedding_loss``.

    >>> torch.cosine_embedding_loss(tensor([[1.0]]), tensor([[1.0]]), tensor([1]))
    tensor([0.])
    """
    how = _reduction("cosine_embedding_loss", reduction)
    return _margins.cosine_embedding_loss(input1, input2, target, margin, reduction=how)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0
) -> Tensor:
    """``nn.functional.hinge_embedding_loss``.

    >>> torch.hinge_embedding_loss(tensor([0.5]), tensor([-1]), 1.0, 2)
    tensor(0.5000)
    """
    how = _reduction("hinge_embedding_loss", reduction)
    return _margins.hinge_embedding_loss(input, target, margin, reduction=how)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """``nn.functional.margin_ranking_loss``.

    >>> torch.margin_ranking_loss(tensor([0.0]), tensor([2.0]), tensor([1.0]))
    tensor([2.])
    """
    how = _reduction("margin_ranking_loss", reduction)
    return _margins.margin_ranking_loss(input1, input2, target, margin, reduction=how)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """``nn.functional.triplet_margin_loss``.

    >>> one = tensor([[1.0]])
    >>> torch.triplet_margin_loss(one, one, one)
    tensor([1.0000])
    """
    how = _reduction("triplet_margin_loss", reduction)
    return _margins.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=how
    )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """``nn.functional.binary_cross_entropy_with_logits``.

    >>> torch.binary_cross_entropy_with_logits(tensor([0.0]), tensor([1.0]))
    tensor([0.6931])
    """
    how = _reduction("binary_cross_entropy_with_logits", reduction)
    return _loss.binary_cross_entropy_with_logits(
        input, target, weight, reduction=how, pos_weight=pos_weight
    )


# ----------------------------------------------------------------------------------- others


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """``nn.functional.embedding``, with the table first; without padding where that is -1.

    >>> torch.embedding(tensor([[1.0], [2.0]]), tensor([1, 0]))
    tensor([[2.],
            [1.]])
    """
    padding = None if padding_idx < 0 else padding_idx
    return _embedding.embedding(
        indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse
    )


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``nn.functional.embedding_bag``, with the table first.

    ``mode`` is 0 for "sum", 1 for "mean", 2 for "max". Three tensors of PyTorch's work space follow
    the result: the bag of each index, how many count in each bag (with ``mode=0`` zeros), and that
    again or, for "max", the rows that the maxima come from.

    >>> torch.embedding_bag(tensor([[1.0], [2.0]]), tensor([0, 1]), tensor([0]), mode=1)
    (tensor([[1.5000]]), tensor([0, 0]), tensor([2]), tensor([2]))
    """
    if weight.dim() != 2:
        raise RuntimeError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    found = _embedding.embedding_bag(
        indices, weight, offsets, None, 2, scale_grad_by_freq, ("sum", "mean", "max")[mode],
        sparse, per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    index, starts = (_common.value_of(t).astype(np.int64) for t in (indices, offsets))
    bags = len(found)
    bag = np.repeat(np.arange(bags), np.diff(starts[:bags], append=len(index)))
    counted = np.ones(len(index), np.bool_)
    if padding_idx is not None:
        counted = index != padding_idx % len(weight)
    sizes = np.bincount(bag[counted], minlength=bags) * (mode > 0)
    most = sizes
    if mode == 2:
        most = np.zeros(found.shape, np.int64)
        table = _common.value_of(weight)
        for at in range(bags):
            rows = index[(bag == at) & counted]
            if len(rows):
                most[at] = rows[table[rows].argmax(0)]
    if mode == 0 and padding_idx is None and weight.dtype is not float64 and weight.stride(1) == 1:
        # PyTorch's quick way needs no places.
        bag = bag[:0]
    return found, *[_common.made(a.astype(np.int64), int64) for a in (bag, sizes, most)]


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.dropout``, with nothing left out.

    >>> torch.dropout(tensor([1.0, 2.0]), 0.5, False)
    tensor([1., 2.])
    """
    return _dropout.dropout(input, _probability(p), train)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.alpha_dropout``, with nothing left out.

    >>> torch.alpha_dropout(tensor([1.0, 2.0]), 0.5, False)
    tensor([1., 2.])
    """
    return _dropout.alpha_dropout(input, _probability(p), train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.feature_alpha_dropout``, with nothing left out.

    >>> torch.feature_alpha_dropout(tensor([[1.0, 2.0]]), 0.5, False)
    tensor([[1., 2.]])
    """
    return _dropout.feature_alpha_dropout(input, _probability(p), train)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels set to zero at random.

    >>> torch.feature_dropout(tensor([[1.0, 2.0]]), 0.5, False)
    tensor([[1., 2.]])
    """
    return _dropout.feature_dropout(input, _probability(p), train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``dropout`` in place."""
    return _dropout.dropout(input, _probability(p), train, True)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``alpha_dropout`` in place."""
    return _dropout.alpha_dropout(input, _probability(p), train, True)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``feature_alpha_dropout`` in place."""
    return _dropout.feature_alpha_dropout(input, _probability(p), train, True)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``feature_dropout`` in place."""
    return input.copy_(feature_dropout(input, p, train))


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """``nn.functional.adaptive_max_pool1d`` with ``return_indices=True``.

    >>> torch.adaptive_max_pool1d(tensor([[1.0, 3.0, 2.0]]), 1)
    (tensor([[3.]]), tensor([[1]]))
    """
    return _pooling.adaptive_max_pool1d_with_indices(input, output_size)


def _probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


SAMPLES = {
    "batch_norm": "x, v, w, None, None, True, 0.1, 1e-5, False;"
    " image, None, None, v.detach() * 1, w.detach().abs(), False, 0.1, 1e-5, False;"
    " line, v, w, v.detach() * 1, w.detach().abs(), True, 0.5, 0.1, True; !x, None, None;"
    " !x, u, None, None, None, True, 0.1, 1e-5, False",
    "instance_norm": "line, v, w, None, None, True, 0.1, 1e-5, False;"
    " image, None, None, v.detach() * 1, w.detach().abs(), False, 0.1, 1e-5, True; !line",
    "layer_norm": "x, (4,); cube, (3, 4), None, None, 0.1, False; x, [4], v, w; !x, (5,)",
    "group_norm": "line, 2; image, 4, v, w, 0.1, False; !line, 3",
    "poisson_nll_loss": "x, k.float(), True, False, 1e-8, 1;"
    " positive, k * 1.0, False, True, 0.1, 0; x, k * 1.0, True, True, 1e-8, 2; !x, k * 1.0;"
    " !x, k * 1.0, True, False, 1e-8, 'mean'",
    "kl_div": "x, unit; x, unit, 1; x, y, 2, log_target=True; !x, unit, 'mean'; !x, i",
    "ctc_loss": "sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 1);"
    " sequence.log_softmax(2), torch.tensor([[0, 2], [1, 1]]), (5, 5), (2, 2), 3, 2;"
    " !sequence, torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 1), 0, 'sum'",
    "cosine_embedding_loss": "x, y, signs; x, y, signs, 0.5, 1; x, y, signs, reduction=2;"
    " !x, y, signs, 0.5, 'none'",
    "hinge_embedding_loss": "x, i.sign(); x, i.sign(), 0.3, 1; x, i.sign(), reduction=2;"
    " !x, i, 0.3, 'none'",
    "margin_ranking_loss": "x, y, i.sign(); x, y, i.sign(), 0.3, 1; x, y, i.sign(), reduction=2;"
    " !x, y, i.sign(), 0.3, 'none'",
    "triplet_margin_loss": "x, y, z; x, y, z, 0.3, 1.0, 0.1, True, 1; x, y, z, reduction=2;"
    " !x, y, z, reduction='sum'",
    "binary_cross_entropy_with_logits": "x, unit; x, unit, mask * 2.0, mask + 0.5, 1;"
    " x, unit, reduction=2; !x, unit, reduction='sum'",
    "embedding": "m, k; m, labels, 1; m, k, -1, True; m, k, sparse=True # no-second; !k, m; !m, x",
    "embedding_bag": "m, k.flatten(), torch.tensor([0, 3, 3, 7]);"
    " m, labels, torch.tensor([0, 2]), mode=1;"
    " m, k.flatten(), torch.tensor([0, 5, 12]), False, 2, include_last_offset=True;"
    " m, k.flatten(), torch.tensor([0, 4]), False, 1, False, None, False, 1; !m, k;"
    " !k.flatten(), m, labels",
    "dropout": "x, 0.5, True; x, p=0.3, train=False; x, 0.25, True; !x; !x, 1.5, True",
    "alpha_dropout": "x, 0.3, True; x, 0.3, train=False; !x, 1.5, True; !x, 0.5",
    "adaptive_max_pool1d": "line, 4; line[0], (3,); !line, (2, 2)",
    "feature_dropout": "image, 0.3, True; image, 0.3, False; line, 0.5, True; !image, 1.5, True",
    "feature_alpha_dropout": "image, 0.3, True; image, 0.3, False; !image, -0.1, True; !image",
}
