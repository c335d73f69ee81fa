"""Recurrent layers over whole sequences in NumPy: forward, and the gradients through time."""

from __future__ import annotations

import numpy as np

from flambeau.ir.primitive import PRIMITIVES

__all__ = ["recurrence", "recurrence_gradient"]

Arrays = tuple[np.ndarray, ...]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return PRIMITIVES["sigmoid"].reference(x)


def _order(steps: int, reverse: bool) -> list[int]:
    return list(range(steps))[:: -1 if reverse else 1]


def recurrence(*arrays: np.ndarray, kind: str, reverse: bool) -> np.ndarray | Arrays:
    """See ``ir.recurrent``: states of all steps, and what their gradients need."""
    gates, weight, bias, h, *rest = arrays
    steps, batch, _ = gates.shape
    size = h.shape[-1]
    turned = np.ascontiguousarray(weight.T)
    states = np.empty((steps, batch, size), gates.dtype)
    if kind not in ("LSTM", "GRU"):
        for t in _order(steps, reverse):
            a = gates[t] + (h @ turned + bias)
            # As the primitive relu does it: NaN stays.
            states[t] = h = np.tanh(a) if kind == "RNN_TANH" else np.where(a < 0, 0, a)
        return states
    saved = np.empty((steps, batch, 4 * size), gates.dtype)
    if kind == "GRU":
        for t in _order(steps, reverse):
            a, b = gates[t], h @ turned + bias
            r, z = np.split(sigmoid(a[:, : 2 * size] + b[:, : 2 * size]), 2, axis=1)
            inner = b[:, 2 * size :]
            n = np.tanh(a[:, 2 * size :] + r * inner)
            states[t] = h = (h - n) * z + n
            np.concatenate((r, z, n, inner), axis=1, out=saved[t])
        return states, saved
    (c,) = rest
    cells = np.empty_like(states)
    for t in _order(steps, reverse):
        a = gates[t] + (h @ turned + bias)
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        cells[t] = c = f * c + i * g
        states[t] = h = o * np.tanh(c)
        np.concatenate((i, f, g, o), axis=1, out=saved[t])
    return states, cells, saved


def recurrence_gradient(
    *arrays: np.ndarray, kind: str, reverse: bool, given: tuple[bool, ...]
) -> Arrays:
    """Gradients of the gates (input's side; for GRU also the state's side) and first states."""
    _, weight, _, h0, *rest = arrays
    rest = list(rest)
    c0 = rest.pop(0) if kind == "LSTM" else None
    states = rest.pop(0)
    cells = rest.pop(0) if kind == "LSTM" else None
    saved = rest.pop(0) if kind in ("LSTM", "GRU") else None
    of_states = rest.pop(0) if given[0] else None
    of_cells = rest.pop(0) if kind == "LSTM" and given[1] else None
    steps = len(states)
    out = np.empty((steps, *h0.shape[:-1], weight.shape[0]), states.dtype)
    inner = np.empty_like(out) if kind == "GRU" else out
    dh = np.zeros_like(h0)
    dc = np.zeros_like(h0)
    order = _order(steps, reverse)
    for k in range(steps - 1, -1, -1):
        t = order[k]
        if of_states is not None:
            dh = dh + of_states[t]
        h = states[order[k - 1]] if k else h0
        if kind == "LSTM":
            i, f, g, o = np.split(saved[t], 4, axis=1)
            if of_cells is not None:
                dc = dc + of_cells[t]
            tanh = np.tanh(cells[t])
            dc = dc + dh * o * (1 - tanh * tanh)
            c = cells[order[k - 1]] if k else c0
            parts = (
                dc * g * (i * (1 - i)),
                dc * c * (f * (1 - f)),
                dc * i * (1 - g * g),
                dh * tanh * (o * (1 - o)),
            )
            dc = dc * f
            np.concatenate(parts, axis=1, out=out[t])
            dh = out[t] @ weight
        elif kind == "GRU":
            r, z, n, part = np.split(saved[t], 4, axis=1)
            dn = dh * (1 - z) * (1 - n * n)
            dz = dh * (h - n) * (z * (1 - z))
            dr = dn * part * (r * (1 - r))
            np.concatenate((dr, dz, dn), axis=1, out=out[t])
            np.concatenate((dr, dz, dn * r), axis=1, out=inner[t])
            dh = dh * z + inner[t] @ weight
        else:
            s = states[t]
            out[t] = dh * (1 - s * s) if kind == "RNN_TANH" else np.where(s > 0, dh, 0)
            dh = out[t] @ weight
    if kind == "LSTM":
        return out, dh, dc
    return (out, inner, dh) if kind == "GRU" else (out, dh)
