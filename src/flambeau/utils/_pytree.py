"""``torch.utils._pytree``: nested containers taken apart into leaves, and put together again."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "LeafSpec",
    "PyTree",
    "TreeSpec",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_iter",
    "tree_leaves",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_structure",
    "tree_unflatten",
]

PyTree = Any


@dataclass(frozen=True)
class TreeSpec:
    """The structure of a tree: the class of its container, what that needs besides, the parts."""

    type: Any
    context: Any
    children_specs: list[TreeSpec] = field(default_factory=list)

    @property
    def num_leaves(self) -> int:
        """The number of leaves of such a tree."""
        return sum(spec.num_leaves for spec in self.children_specs)

    @property
    def num_children(self) -> int:
        """The number of parts of the outermost container."""
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        """Whether such a tree is a single leaf."""
        return False

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        """The tree of these leaves; ``ValueError`` unless they are as many as it has."""
        return tree_unflatten(leaves, self)


@dataclass(frozen=True)
class LeafSpec(TreeSpec):
    """The structure of a leaf."""

    type: Any = None
    context: Any = None

    @property
    def num_leaves(self) -> int:
        """One."""
        return 1

    def is_leaf(self) -> bool:
        """It is."""
        return True


def _sequence(kind: type) -> tuple[Callable, Callable]:
    return lambda x: (list(x), None), lambda parts, _: kind(parts)


def _mapping(kind: type) -> tuple[Callable, Callable]:
    return (
        lambda x: (list(x.values()), list(x)),
        lambda parts, keys: kind(zip(keys, parts, strict=True)),
    )


# By class: how a container is taken apart (its parts, a context), and put together of those.
_KINDS: dict[Any, tuple[Callable, Callable]] = {
    list: _sequence(list),
    tuple: _sequence(tuple),
    dict: _mapping(dict),
    OrderedDict: _mapping(OrderedDict),
    defaultdict: (
        lambda x: (list(x.values()), [x.default_factory, list(x)]),
        lambda parts, of: defaultdict(of[0], zip(of[1], parts, strict=True)),
    ),
    deque: (lambda x: (list(x), x.maxlen), lambda parts, maxlen: deque(parts, maxlen)),
}


def register_pytree_node(
    cls: type, flatten_fn: Callable, unflatten_fn: Callable, **options: Any
) -> None:
    """Has instances of ``cls`` taken apart.

    ``flatten_fn(x)`` gives a list of parts and a context, ``unflatten_fn(parts, context)`` an
    instance. Raises ``ValueError`` for a class that is known.
    """
    if cls in _KINDS:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _KINDS[cls] = flatten_fn, unflatten_fn


def _kind_of(tree: Any) -> tuple[Callable, Callable] | None:
    kind = type(tree)
    if kind not in _KINDS and isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return lambda x: (list(x), kind), lambda parts, of: of._make(parts)
    return _KINDS.get(kind)


def tree_flatten(
    tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree in order, and its structure.

    Lists, tuples, dictionaries, deques and named tuples are containers, all else is a leaf; what
    ``is_leaf`` says yes to is one, too.

    >>> from flambeau.utils._pytree import tree_flatten
    >>> tree_flatten({"a": 1, "b": (2, None)})[0]
    [1, 2, None]
    """
    leaves: list[Any] = []

    def walk(node: Any) -> TreeSpec:
        kind = _kind_of(node)
        if kind is None or (is_leaf is not None and is_leaf(node)):
            leaves.append(node)
            return LeafSpec()
        parts, context = kind[0](node)
        return TreeSpec(type(node), context, [walk(p) for p in parts])

    return leaves, walk(tree)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree of this structure with these leaves.

    Raises ``ValueError`` unless there are as many as it has.
    """
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to "
            f"a pytree that holds {treespec.num_leaves} items ({treespec})."
        )
    rest = iter(leaves)

    def walk(spec: TreeSpec) -> Any:
        if spec.is_leaf():
            return next(rest)
        parts = [walk(s) for s in spec.children_specs]
        known = _KINDS.get(spec.type)
        return known[1](parts, spec.context) if known else spec.context._make(parts)

    return walk(treespec)


def tree_iter(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """The leaves of a tree, one by one."""
    yield from tree_flatten(tree, is_leaf)[0]


def tree_leaves(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> PyTree:
    """``func`` of each leaf, and of what the other trees have in its place.

    Raises ``ValueError`` where those have another structure.

    >>> from flambeau.utils._pytree import tree_map
    >>> tree_map(lambda x, y: x + y, [1, (2, 3)], [10, (20, 30)])
    [11, (22, 33)]
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for rest in rests:
        others, structure = tree_flatten(rest, is_leaf)
        if structure != spec:
            raise ValueError(f"Node type mismatch; expected {spec}, but got {structure}.")
        columns.append(others)
    return tree_unflatten([func(*row) for row in zip(*columns, strict=True)], spec)


def tree_map_(
    func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> PyTree:
    """``func`` of each leaf for what it does; gives the tree back."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(
    chosen: Any, func: Callable, tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> PyTree:
    """``func`` of the leaves of a class (or some, or that a function says yes to).

    >>> from flambeau.utils._pytree import tree_map_only
    >>> tree_map_only(int, lambda x: x * 2, [1, "a", 2])
    [2, 'a', 4]
    """
    kinds = isinstance(chosen, (type, tuple))

    def mapped(x: Any) -> Any:
        return func(x) if (isinstance(x, chosen) if kinds else chosen(x)) else x

    return tree_map(mapped, tree, is_leaf=is_leaf)


def tree_all(
    pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> bool:
    """Whether ``pred`` holds for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(
    pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> bool:
    """Whether ``pred`` holds for a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))
