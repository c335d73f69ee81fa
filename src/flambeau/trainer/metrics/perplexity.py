"""Perplexity: how many words a language model is undecided between."""

from __future__ import annotations

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.trainer.metrics.metric import Metric

__all__ = ["Perplexity"]


class Perplexity(Metric):
    r"""The exponential of the mean cross-entropy.

    .. math:: \exp\Bigl(-\frac1N \sum_i \log p(y_i)\Bigr)

    ``ignore_index`` is a target that does not count, such as padding.

    Shapes: logits (N, T, V) and targets (N, T), or (N, V) and (N,).

    Raises: ``ValueError`` for other shapes.

    >>> from flambeau.trainer.metrics import Perplexity
    >>> round(Perplexity()(torch.zeros(2, 3, 7), torch.randint(7, (2, 3))).item(), 4)
    7.0
    """

    is_differentiable = True
    higher_is_better = False

    def __init__(self, ignore_index: int | None = None) -> None:
        super().__init__()
        if ignore_index is not None and not isinstance(ignore_index, int):
            raise ValueError(
                f"Argument `ignore_index` expected to either be `None` or an `int` but got "
                f"{ignore_index}"
            )
        self.ignore_index = ignore_index
        self.add_state("total_log_probs", flambeau.tensor(0.0, dtype=flambeau.float64), "sum")
        self.add_state("count", flambeau.tensor(0), "sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes in logits and the words that came."""
        if preds.shape[:-1] != target.shape:
            raise ValueError(
                "Input tensors `preds` and `target` are expected to have equaling first two "
                f"dimensions, [batch_size, seq_len], but got {list(preds.shape)} and "
                f"{list(target.shape)}."
            )
        logits, words = preds.reshape(-1, preds.shape[-1]), target.reshape(-1)
        ignored = -100 if self.ignore_index is None else self.ignore_index
        total = F.cross_entropy(logits, words, ignore_index=ignored, reduction="sum")
        self.total_log_probs = self.total_log_probs + total.double()
        if self.ignore_index is None:
            self.count = self.count + words.numel()
        else:
            self.count = self.count + (words != self.ignore_index).sum()

    def compute(self) -> Tensor:
        """The perplexity."""
        mean = self.total_log_probs / self.count
        return mean.exp().to(flambeau.get_default_dtype())
