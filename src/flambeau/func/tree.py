"""Nested tuples, lists and dictionaries of tensors, taken apart and put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Leaf:
    """The place of one value in a structure."""


LEAF = Leaf()


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The values of ``tree`` in order, and its structure with ``LEAF`` in their places.

    >>> flatten({"a": 1, "b": (2, 3)})[0]
    [1, 2, 3]
    """
    values: list[Any] = []

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return type(node)((k, walk(v)) for k, v in node.items())
        if isinstance(node, tuple) and hasattr(node, "_make"):
            return type(node)._make([walk(v) for v in node])
        if type(node) in (tuple, list):
            return type(node)(walk(v) for v in node)
        values.append(node)
        return LEAF

    return values, walk(tree)


def unflatten(values: Sequence[Any], structure: Any) -> Any:
    """The structure with its values in place.

    >>> values, structure = flatten([1, {"a": 2}])
    >>> unflatten([v * 10 for v in values], structure)
    [10, {'a': 20}]
    """
    rest: Iterator[Any] = iter(values)

    def walk(node: Any) -> Any:
        if node is LEAF:
            return next(rest)
        if isinstance(node, dict):
            return type(node)((k, walk(v)) for k, v in node.items())
        if hasattr(node, "_make"):
            return type(node)._make([walk(v) for v in node])
        return type(node)(walk(v) for v in node)

    return walk(structure)


def tree_map(f: Callable[[Any], Any], tree: Any) -> Any:
    """``f`` of every value."""
    values, structure = flatten(tree)
    return unflatten([f(v) for v in values], structure)


def broadcast(prefix: Any, tree: Any) -> list[Any]:
    """A value for every value of ``tree``, from a structure that may end earlier.

    Raises ``ValueError`` where the structures do not fit.
    """
    if isinstance(tree, dict) and isinstance(prefix, dict) and prefix.keys() == tree.keys():
        return [b for k in tree for b in broadcast(prefix[k], tree[k])]
    if isinstance(tree, (tuple, list)) and isinstance(prefix, (tuple, list)):
        if len(prefix) != len(tree):
            raise ValueError("structures do not fit")
        return [b for p, t in zip(prefix, tree, strict=True) for b in broadcast(p, t)]
    if isinstance(prefix, (tuple, list, dict)):
        raise ValueError("structures do not fit")
    return [prefix] * len(flatten(tree)[0])
