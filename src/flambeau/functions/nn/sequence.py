"""The loss of unaligned label sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.nn._common import check_reduction, made, mean, reshape, total, value_of
from flambeau.functions.precision import raised
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _step(given: dict[str, Any]) -> str:
    last = {"mean": "MeanBackward0", "sum": "SumBackward0"}
    return last.get(given["reduction"], "CtcLossBackward0")


@function(grad=_step)
def _ctc(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Tensor:
    (log_probs,) = raised(log_probs)
    single = log_probs.dim() == 2
    x = log_probs
    if single:
        x = reshape(x, (x._meta.shape[0], 1, x._meta.shape[1]))
    loss = ops.ctc(
        x, targets, input_lengths, target_lengths, blank=blank, zero_infinity=zero_infinity
    )
    if reduction == "mean":
        lengths = ops.cast(ops.maximum(target_lengths, 1), dtype=loss.dtype)
        return mean(ops.div(loss, lengths))
    if reduction == "sum":
        return total(loss)
    return reshape(loss, ()) if single else loss


def _lengths(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        if value.dtype.category != 1:
            raise RuntimeError(f"lengths must be integral, not {value.dtype}")
        value = value_of(value)
    elif not all(hasattr(n, "__index__") for n in value):
        raise TypeError("ctc_loss(): lengths must be a tensor or a tuple of ints")
    return np.array(value, np.int64).reshape(-1)


@_tensors
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification [Graves 2006].

    Shapes: ``log_probs`` is ``(T, N, C)`` or ``(T, C)``, logarithms of probabilities;
    ``targets`` is ``(N, S)`` or all of them one after the other. The mean divides each loss by its
    target's length. ``zero_infinity`` makes impossible alignments cost nothing.
    Raises ``RuntimeError`` for lengths that do not fit.
    """
    check_reduction(reduction)
    _need_floats("ctc_loss_cpu", log_probs)
    steps, classes = log_probs._meta.shape[0], log_probs._meta.shape[-1]
    batch = log_probs._meta.shape[1] if log_probs.dim() == 3 else 1
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    if targets.dim() == 2 and targets.size(0) != batch:
        raise RuntimeError(
            f"Expected tensor to have size {batch} at dimension 0, but got size "
            f"{targets.size(0)} for argument #2 'targets' (while checking arguments for "
            "ctc_loss_cpu)"
        )
    given, wanted = _lengths(input_lengths), _lengths(target_lengths)
    for name, lengths in (("input_lengths", given), ("target_lengths", wanted)):
        if len(lengths) != batch:
            raise RuntimeError(f"{name} must be of size batch_size")
        if (lengths < 0).any():
            at = int(np.argmax(lengths < 0))
            raise RuntimeError(
                f"Expected {name} to have value at least 0, but got value {lengths[at]} (while "
                "checking arguments for ctc_loss_cpu)"
            )
    if (given > steps).any():
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {given.max()} "
            "(while checking arguments for ctc_loss_cpu)"
        )
    if targets.dim() == 2 and (wanted > targets.size(1)).any():
        raise RuntimeError(
            f"Expected tensor to have size at least {wanted.max()} at dimension 1, but got size "
            f"{targets.size(1)} for argument #2 'targets' (while checking arguments for "
            "ctc_loss_cpu)"
        )
    if targets.dim() == 1 and log_probs.dim() == 3 and targets.numel() != int(wanted.sum()):
        raise RuntimeError(
            f"Expected tensor to have size {int(wanted.sum())} at dimension 0, but got size "
            f"{targets.numel()} for argument #2 'targets' (while checking arguments for "
            "ctc_loss_cpu)"
        )
    return _ctc(
        log_probs,
        targets,
        made(given, dtypes.int64),
        made(wanted, dtypes.int64),
        blank,
        reduction,
        zero_infinity,
    )


SAMPLES = {
    "nn.functional.ctc_loss": "sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (5, 4), (2,"
    " 1); sequence.log_softmax(2), torch.tensor([1, 2, 3]), torch.tensor([5, 4]), torch.tensor([2,"
    " 1]), reduction='sum';"
    " sequence.log_softmax(2), torch.tensor([[0, 2], [1, 1]]), [5, 5], [2, 2], 3, 'none';"
    " sequence.log_softmax(2), torch.tensor([[1, 1, 1, 1], [1, 2, 3, 1]]), (5, 5), (4, 4),"
    " zero_infinity=True;"
    " sequence[:, 0].log_softmax(1), torch.tensor([1, 2]), torch.tensor(5), torch.tensor(2);"
    " !sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (6, 4), (2, 1);"
    " !sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 1), 4;"
    " !sequence.log_softmax(2), torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 3);"
    " !sequence, torch.tensor([[1, 2], [3, 3]]), (5, 4), (2, 1), reduction='nothing'",
}
