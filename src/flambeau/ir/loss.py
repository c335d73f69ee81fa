"""Losses that are one primitive: binary cross-entropy, connectionist temporal classification."""

from __future__ import annotations

import numpy as np

from flambeau.ir.graph import Aval, Var
from flambeau.ir.pointwise import same
from flambeau.ir.primitive import PRIMITIVES, primitive, unbroadcast

P = PRIMITIVES


def _binary_cross_entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    dtype = x.dtype
    x = np.asarray(x)
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    if dtype.itemsize == 2:
        x, y = x.astype(np.float32), y.astype(np.float32)
    low = x.dtype.type(-100)
    loss = (y - 1) * np.maximum(np.log1p(-x), low) - y * np.maximum(np.log(x), low)
    return loss.astype(dtype, copy=False)


def _clamped_log(x: Var) -> Var:
    return P["maximum"](P["log"](x), -100.0)


primitive(
    "binary_cross_entropy",
    "-(y log x + (1 - y) log(1 - x)), the logarithms no less than -100",
    rule=same,
    reference=_binary_cross_entropy,
    gradient=(
        lambda g, x, y, *, out: unbroadcast(g * (x - y) / P["maximum"]((1.0 - x) * x, 1e-12), x),
        lambda g, x, y, *, out: unbroadcast(g * (_clamped_log(1.0 - x) - _clamped_log(x)), y),
    ),
)

# ------------------------------------------------- connectionist temporal classification


class _Alignments:
    """A batch of label sequences with blanks around and between them, padded to the longest.

    ``labels``, and ``skips``, whether a state may be reached from the one before last, are
    (batch, states); ``scores``, of each state's label at each step, is (steps, batch, states), and
    -inf at states and steps that a sequence does not have.
    """

    def __init__(
        self,
        log_probs: np.ndarray,
        targets: np.ndarray,
        input_lengths: np.ndarray,
        target_lengths: np.ndarray,
        blank: int,
    ) -> None:
        lengths = np.asarray(target_lengths, np.int64)
        self.steps = np.asarray(input_lengths, np.int64)
        self.states = 2 * lengths + 1
        longest = int(lengths.max(initial=0))
        if targets.ndim == 1:
            starts = np.cumsum(lengths) - lengths
            place = starts[:, None] + np.arange(longest)
            found = targets[np.minimum(place, max(len(targets) - 1, 0))] if longest else place
        else:
            found = targets[:, :longest]
        real = np.arange(longest) < lengths[:, None]
        labels = np.full((len(lengths), 2 * longest + 1), blank, np.int64)
        labels[:, 1::2] = np.where(real, found, blank)
        self.labels = labels
        self.skips = np.zeros(labels.shape, bool)
        self.skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
        self.exists = np.arange(labels.shape[1]) < self.states[:, None]
        self.going = np.arange(int(self.steps.max(initial=0)))[:, None] < self.steps
        scores = np.take_along_axis(log_probs[: len(self.going)], labels[None], 2)
        self.scores = np.where(self.going[..., None] & self.exists, scores, -np.inf).astype(
            log_probs.dtype
        )
        # Where a state, and a step, is found when a sequence is read from its end.
        self.back = np.maximum(self.states[:, None] - 1 - np.arange(labels.shape[1]), 0)
        self.back_steps = np.maximum(self.steps - 1 - np.arange(len(self.going))[:, None], 0)

    def reversed(self, x: np.ndarray) -> np.ndarray:
        """(steps, batch, states) from the end of each sequence; -inf where it has none."""
        x = np.take_along_axis(x, self.back_steps[..., None], 0)
        x = np.take_along_axis(x, self.back[None], 2)
        return np.where(self.going[..., None] & self.exists, x, -np.inf).astype(x.dtype)

    def forward(self) -> np.ndarray:
        """Log-probabilities of prefixes: ``alpha[t, b, s]`` of the first s labels after t steps."""
        return _forward(self.scores, self.skips)

    def backward(self) -> np.ndarray:
        """The same from the end."""
        into = np.minimum(self.back + 2, self.skips.shape[1] - 1)
        skips = np.take_along_axis(self.skips, into, 1)
        skips[:, :2] = False
        return self.reversed(_forward(self.reversed(self.scores), skips))

    def likelihoods(self, alpha: np.ndarray) -> np.ndarray:
        """The logarithm of each sequence's probability."""
        if not len(alpha):
            found = np.full(len(self.states), -np.inf, alpha.dtype)
        else:
            each = np.arange(len(self.states))
            last = alpha[np.maximum(self.steps - 1, 0), each]
            ends = np.full((2, len(each)), -np.inf, alpha.dtype)
            ends[0] = last[each, self.states - 1]
            ends[1] = np.where(self.states > 1, last[each, self.states - 2], -np.inf)
            found = _log_of_sum(ends)
        return np.where(self.steps > 0, found, np.where(self.states == 1, 0, -np.inf)).astype(
            alpha.dtype
        )


def _log_of_sum(terms: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of exponentials along the first axis.

    Each step is rounded as the C library rounds it: the results are large, and gradients are
    exponentials of their differences.
    """
    best = terms.max(0)
    best = np.where(np.isneginf(best), 0, best).astype(terms.dtype)
    parts = np.exp(terms - best, dtype=np.float64).astype(terms.dtype)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return np.log(total, dtype=np.float64).astype(terms.dtype) + best


def _forward(scores: np.ndarray, skips: np.ndarray) -> np.ndarray:
    alpha = np.full(scores.shape, -np.inf, scores.dtype)
    alpha[:1, :, :2] = scores[:1, :, :2]
    # Staying, moving on by one label, skipping a blank.
    ways = np.full((3, *scores.shape[1:]), -np.inf, scores.dtype)
    for t in range(1, len(scores)):
        before = alpha[t - 1]
        ways[0] = before
        ways[1, :, 1:] = before[:, :-1]
        ways[2, :, 2:] = np.where(skips[:, 2:], before[:, :-2], -np.inf)
        alpha[t] = _log_of_sum(ways) + scores[t]
    return alpha


def _ctc(
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    blank: int,
    zero_infinity: bool,
) -> np.ndarray:
    batch = _Alignments(log_probs, targets, input_lengths, target_lengths, blank)
    out = -batch.likelihoods(batch.forward())
    if zero_infinity:
        out[np.isinf(out)] = 0
    return out


def _ctc_gradient(
    g: np.ndarray,
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    blank: int,
    zero_infinity: bool,
) -> np.ndarray:
    """Of normalised log-probabilities: ``exp(x) - posterior``, as PyTorch defines it."""
    batch = _Alignments(log_probs, targets, input_lengths, target_lengths, blank)
    alpha = batch.forward()
    total = batch.likelihoods(alpha)
    both = alpha + batch.backward()
    own = log_probs[: len(both)]
    # Added up by label in logarithms, in PyTorch's order: they are large, and round alike.
    joint = np.full(own.shape, -np.inf, own.dtype)
    each = np.arange(own.shape[1])
    for s, label in enumerate(batch.labels.T):
        joint[:, each, label] = _log_of_sum(np.stack([joint[:, each, label], both[..., s]]))
    exact = (np.exp(own) - np.exp(joint - total[:, None] - own)) * g[:, None]
    kept = batch.going
    if zero_infinity:
        kept = kept & ~np.isinf(total)
    out = np.zeros_like(log_probs)
    out[: len(both)] = np.where(kept[..., None], exact, 0)
    return out


primitive(
    "ctc",
    "minus the log-probability of label sequences over all their alignments",
    rule=lambda x, *others, blank, zero_infinity: Aval((x.shape[1],), x.dtype),
    reference=_ctc,
    gradient=(
        lambda g, x, *others, out, blank, zero_infinity: P["ctc_gradient"](
            g, x, *others, blank=blank, zero_infinity=zero_infinity
        ),
        None,
        None,
        None,
    ),
    host=True,
)
primitive(
    "ctc_gradient",
    "the gradient of ctc",
    rule=lambda g, x, *others, blank, zero_infinity: x,
    reference=_ctc_gradient,
    host=True,
)
