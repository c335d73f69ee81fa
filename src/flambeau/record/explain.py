"""``trace.explain()``: why the last call did not follow a known path."""

from __future__ import annotations

from typing import Any

from flambeau.record.meta import Meta
from flambeau.record.stats import stats
from flambeau.record.trace import trie


def _part(part: Any) -> str:
    """A part of a key in words."""
    if isinstance(part, Meta):
        grad = ", requires grad" if part.requires_grad else ""
        return f"a tensor new to the trace: {part.dtype.name}{list(part.shape)}{grad}"
    if isinstance(part, type):
        return f"a {part.__name__} given at run time"
    if isinstance(part, int) and not isinstance(part, bool):
        return f"the value in slot {part}"
    if isinstance(part, tuple) and len(part) == 1:
        return f"the integer {part[0]}"
    if part == "default":
        return "its default"
    return repr(part)


def _compare(key: Any, other: Any) -> str:
    if not isinstance(key, tuple) or not isinstance(other, tuple):
        return f"before: {other!r}"
    name = getattr(other[0], "name", other[0])
    if other[0] is not key[0]:
        return f"another call was made here before: {name}()"
    differences = [
        f"argument {i}: now {_part(a)}; before {_part(b)}"
        for i, (a, b) in enumerate(zip(key[1:], other[1:], strict=False), 1)
        if a != b
    ]
    if len(key) != len(other):
        differences.append(f"{len(key) - 1} arguments now, {len(other) - 1} before")
    return "; ".join(differences) or "the same arguments on another path"


def explain() -> None:
    """Prints why the last call did not follow a known path, and what was recorded so far.

    >>> torch.trace.explain()
    recorded so far: ...
    """
    print(text())


def text() -> str:
    """What ``explain`` prints."""
    lines = [
        f"recorded so far: {stats.misses} calls met for the first time, {stats.programs} programs, "
        f"{stats.flushes} flushes, {trie.count} nodes in the trie",
    ]
    if stats.foreign:
        lines.append(
            f"{stats.foreign} calls were flushed at once: other code (NumPy, DLPack) holds memory "
            "that they read or write"
        )
    if stats.last_miss is not None:
        name, key, at = stats.last_miss
        others = [k for k in at.edges if k is not key][-3:]
        if not others:
            lines.append(f"last new call: {name}(): nothing had followed here before")
        else:
            lines.append(f"last new call: {name}():")
            lines += [f"  {_compare(key, other)}" for other in others]
    return "\n".join(lines)
