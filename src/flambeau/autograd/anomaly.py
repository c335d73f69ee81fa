"""Anomaly detection: names the function, with its line, whose backward first gives NaN."""

from __future__ import annotations

import traceback
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.derive import depending, pull_back
from flambeau.ir.graph import NUMBERS, Const, Graph, Var, recorders
from flambeau.record.trace import open_, watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flambeau.ir.graph import Entry

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled",
           "set_detect_anomaly"]  # fmt: skip

# Whether anomaly mode is on, and whether it looks for NaN.
_on = [False, True]
# Where in the user's code the steps of paths were called, while the mode is on.
_sites: dict[Any, str] = {}


def is_anomaly_enabled() -> bool:
    """Whether anomalies are looked for."""
    return _on[0]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return _on[1]


def _note(node: Any) -> None:
    frames = [f for f in traceback.extract_stack() if "/flambeau/" not in f.filename]
    _sites[node] = "".join(traceback.format_list([f for f in frames if f.filename[0] != "<"]))


def _switch(on: bool, check: bool) -> None:
    _on[:] = on, check
    if on and _note not in watch:
        watch.append(_note)
        open_.trace.special = True
    elif not on and _note in watch:
        watch.remove(_note)
        _sites.clear()


class set_detect_anomaly:
    """Has backward look for NaN and raise ``RuntimeError``; as a block, until its end.

    The error names the function; a warning before it shows where the function was called, if it
    was called in this mode. Every backward is computed twice, the first time step by step.

    >>> with torch.autograd.set_detect_anomaly(True):
    ...     torch.is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = tuple(_on)
        _switch(bool(mode), check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _switch(*self._before)


class detect_anomaly(set_detect_anomaly):
    """``set_detect_anomaly(True)`` for a block."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        set_detect_anomaly.__init__(self, True, self._check)


def check_segment(unit: Any, grads: dict[int, Any]) -> None:
    """Goes back through a segment step by step on arrays; raises at the first NaN."""
    env: dict[int, Any] = {-1 - i: a for i, a in enumerate(unit.arrays)}
    env.update({NUMBERS - i: n for i, n in enumerate(unit.numbers)})
    entries = unit.spec.entries
    with np.errstate(all="ignore"):
        _run(entries, env)
        _back(unit, entries, env, {s: g._array() for s, g in grads.items()})


def _run(entries: Iterable[Entry], env: dict[int, Any]) -> None:
    for e in entries:
        args = [i.value if type(i) is Const else env[i] for i in e.inputs]
        made = e.prim.reference(*args, **e.attrs)
        env.update(zip(e.outputs, made if len(e.outputs) > 1 else (made,), strict=True))


def _back(unit: Any, entries: list[Entry], env: dict[int, Any], grads: dict[int, Any]) -> None:
    through, depends = depending(entries, unit.spec.wanted)
    free = unit.spec.n_slots
    outer = recorders.current
    try:
        for entry in reversed(through):
            found = [grads.get(s) for s in entry.outputs]
            if all(g is None for g in found):
                continue
            recorders.current = graph = Graph(next_slot=free + len(found))
            seeds = [
                None if g is None else Var(free + k, a)
                for k, (g, a) in enumerate(zip(found, entry.out_avals, strict=True))
            ]
            local = dict(env)
            local.update({free + k: g for k, g in enumerate(found) if g is not None})
            pulled: dict[int, Var] = {}
            pull_back(entry, seeds, depends, pulled)
            _run(graph.entries, local)
            for position, slot in enumerate(pulled):
                value = np.asarray(local[pulled[slot].slot])
                if value.dtype.kind in "fc" and np.isnan(value).any():
                    _report(unit, entry, position)
                grads[slot] = value if slot not in grads else grads[slot] + value
    finally:
        recorders.current = outer


def _report(unit: Any, entry: Entry, position: int) -> None:
    step = next(n for n in unit.node.path() if entry in n.entries)
    site = _sites.get(step)
    where = (
        f"Traceback of forward call that caused the error:\n{site}"
        if site
        else "No forward pass information available. Enable detect anomaly during forward pass "
        "for more information."
    )
    warnings.warn(f"Error detected in {step.name}. {where}", stacklevel=2)
    raise RuntimeError(f"Function '{step.name}' returned nan values in its {position}th output.")


SAMPLES = {
    "is_anomaly_check_nan_enabled": "",
    "is_anomaly_enabled": "",
}
