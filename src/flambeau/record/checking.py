"""``FLAMBEAU_CHECK_MACROS=1``: bodies run again at every call, and must record what is remembered.

A call whose key is known takes the edge that its function's body made once. That is right as long
as the body is a function of what the key holds. In this mode (for tests: it is slow) each such
call runs its body all the same, and an ``AssertionError`` names the function where entries,
template or effects are not those of the edge.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ir.graph import Aval, Const, Entry
from flambeau.record.builder import Specialise, _Leaf, _outcome, construct

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.record.trace import Node, Trace

ENABLED = os.environ.get("FLAMBEAU_CHECK_MACROS", "") not in ("", "0")


def check(tr: Trace, node: Node, name: str, arguments: list[Any], body: Callable) -> None:
    """Runs the body of a known call, which is about to go from the trace's node to ``node``."""
    try:
        builder, (template, _, places, fresh, effects) = construct(
            tr, lambda builder: _outcome(tr, builder, name, arguments, body)
        )
    except Specialise:
        differs(name, "it looks at a number that it did not look at before")
    count = min(len(builder.entries), len(node.entries))
    for i, (now, then) in enumerate(zip(builder.entries, node.entries, strict=False)):
        if not same(now, then):
            differs(name, f"entry {i} of {count} is {now}, and was {then}")
    if len(builder.entries) != len(node.entries):
        differs(name, f"it has {len(builder.entries)} entries, and had {len(node.entries)}")
    for what, now, then in (
        ("new tensors", tuple((slot, m) for slot, m, _ in fresh), node.fresh),
        ("effects", effects, node.effects),
        ("result", (template, tuple(places)), node.template),
        ("slots", builder.next_slot, node.n_slots),
        ("inputs", len(tr.inputs), node.n_inputs),
        ("numbers", len(tr.numbers), node.n_numbers),
    ):
        if not same(now, then):
            differs(name, f"its {what}: {now}, and was {then}")


def differs(name: str, what: str) -> None:
    """Raises for a body that is not a function of what its call's key holds."""
    raise AssertionError(
        f"{name}: the body records something else than when this call was first made: {what}. It "
        "must depend on its arguments alone, of which tensors have shapes and dtypes only."
    )


def same(a: Any, b: Any) -> bool:
    """Whether two pieces of recordings mean the same."""
    if a is b:
        return True
    if a.__class__ is not b.__class__:
        return False
    if isinstance(a, Entry):
        return all(same(getattr(a, k), getattr(b, k)) for k in Entry.__slots__)
    if isinstance(a, Aval):
        return a.shape == b.shape and a.dtype is b.dtype
    if isinstance(a, Const):
        return same(a.value, b.value)
    if isinstance(a, _Leaf):
        return a.index == b.index
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float) and a != a:
        return b != b
    code = getattr(a, "__code__", None)
    if code is not None:
        # A function made by the body: the same text with the same values around it.
        cells = [[c.cell_contents for c in f.__closure__ or ()] for f in (a, b)]
        return code is b.__code__ and same(a.__defaults__, b.__defaults__) and same(*cells)
    return bool(a == b)
