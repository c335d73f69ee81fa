"""Losses that are one primitive: binary cross-entropy, connectionist temporal classification."""

from __future__ import annotations

from typing import Any

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


def _extended(target: np.ndarray, blank: int) -> np.ndarray:
    """Labels with blanks around and between them."""
    out = np.full(2 * len(target) + 1, blank, np.int64)
    out[1::2] = target
    return out


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
    """Log-probabilities of prefixes: ``alpha[t, s]`` of the first s labels after t steps."""
    steps, states = scores.shape
    alpha = np.full((steps, states), -np.inf, scores.dtype)
    alpha[0, :2] = scores[0, :2]
    # Staying, moving on by one label, skipping a blank.
    ways = np.full((3, states), -np.inf, scores.dtype)
    for t in range(1, steps):
        ways[0] = alpha[t - 1]
        ways[1, 1:] = alpha[t - 1, :-1]
        ways[2, 2:] = np.where(skips, alpha[t - 1, :-2], -np.inf)
        alpha[t] = _log_of_sum(ways) + scores[t]
    return alpha


def _rows(
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    blank: int,
) -> Any:
    """For each sequence: its number, extended labels, scores, which states a skip may reach."""
    offset = 0
    for b in range(log_probs.shape[1]):
        steps, length = int(input_lengths[b]), int(target_lengths[b])
        if targets.ndim == 1:
            target = targets[offset : offset + length]
            offset += length
        else:
            target = targets[b, :length]
        labels = _extended(target, blank)
        scores = log_probs[:steps, b][:, labels]
        skips = (labels[2:] != blank) & (labels[2:] != labels[:-2])
        yield b, labels, scores, skips


def _likelihood(alpha: np.ndarray) -> float:
    if not len(alpha):
        return 0.0 if alpha.shape[1] == 1 else -np.inf
    last = alpha[-1]
    return last[-1] if len(last) == 1 else _log_of_sum(last[-2:][::-1])


def _ctc(
    log_probs: np.ndarray,
    targets: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    blank: int,
    zero_infinity: bool,
) -> np.ndarray:
    out = np.zeros(log_probs.shape[1], log_probs.dtype)
    rows = _rows(log_probs, targets, input_lengths, target_lengths, blank)
    for b, labels, scores, skips in rows:
        alpha = _forward(scores, skips) if len(scores) else np.empty((0, len(labels)))
        out[b] = -_likelihood(alpha)
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
    out = np.zeros_like(log_probs)
    rows = _rows(log_probs, targets, input_lengths, target_lengths, blank)
    for b, labels, scores, skips in rows:
        if not len(scores):
            continue
        alpha = _forward(scores, skips)
        beta = _forward(scores[::-1, ::-1], skips[::-1])[::-1, ::-1]
        total = _likelihood(alpha)
        if np.isinf(total) and zero_infinity:
            continue
        # Added up by label in logarithms, in PyTorch's order: they are large, and round alike.
        joint = np.full((len(scores), log_probs.shape[2]), -np.inf, scores.dtype)
        for s, label in enumerate(labels):
            joint[:, label] = _log_of_sum(np.stack([joint[:, label], alpha[:, s] + beta[:, s]]))
        own = log_probs[: len(scores), b]
        exact = np.exp(own) - np.exp(joint - total - own)
        out[: len(scores), b] = exact * g[b]
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
