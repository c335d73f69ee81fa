"""``rearrange``: dimensions permuted, joined and split as a pattern says."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import flambeau
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["rearrange"]

_DOTS = "..."


class Side(NamedTuple):
    """One side of a pattern: for each dimension the names of the axes it is made of; and which of
    them is an ellipsis outside of brackets, so that it is several dimensions.
    """

    groups: list[list[str]]
    dots: int | None

    def names(self) -> list[str]:
        """All axes, in order."""
        return [name for group in self.groups for name in group]


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """Permutes, joins and splits dimensions, in the notation of einops [Rogozhnikov 2022].

    Each side of ``"left -> right"`` names the axes of the tensor's dimensions. Axes in brackets
    are one dimension together; ``...`` stands for any number of dimensions, ``1`` (or ``()``) for
    one of size 1. Lengths of axes that follow from no dimension are given by name. Tensors in a
    list are stacked first.

    Raises: ``ValueError`` for a pattern that is wrong, or does not fit the tensor's number of
    dimensions; ``RuntimeError`` for lengths that do not fit its sizes.

    >>> images = torch.zeros(32, 30, 40, 3)
    >>> torch.func.rearrange(images, "b h w c -> b c h w").shape
    torch.Size([32, 3, 30, 40])
    >>> torch.func.rearrange(images, "b (h1 h) w c -> (b h1) h w c", h1=2).shape
    torch.Size([64, 15, 40, 3])
    """
    if not isinstance(tensor, Tensor):
        tensor = flambeau.stack(list(tensor))
    left, right = _parsed(pattern, axes_lengths)
    named = {_DOTS: [f"{_DOTS}{i}" for i in range(_hidden(left, tensor.dim()))]}

    def groups(side: Side) -> list[list[str]]:
        spread: list[list[str]] = []
        for i, group in enumerate(side.groups):
            if i == side.dots:
                spread += [[name] for name in named[_DOTS]]
            else:
                spread.append([n for name in group for n in named.get(name, [name])])
        return spread

    before, after = groups(left), groups(right)
    sizes = _sizes(before, tensor.shape, axes_lengths)
    order = [name for group in before for name in group]
    split = tensor.reshape([sizes[name] for name in order])
    moved = split.permute([order.index(name) for group in after for name in group])
    return moved.reshape([math.prod(sizes[name] for name in group) for group in after])


def _parsed(pattern: str, axes_lengths: dict[str, int]) -> tuple[Side, Side]:
    if pattern.count("->") != 1:
        raise ValueError("Pattern must contain a single '->' separator")
    left, right = (_side(text) for text in pattern.split("->"))
    ours, theirs = set(left.names()), set(right.names())
    if _DOTS in theirs - ours:
        raise ValueError(f"Ellipsis found in right side, but not left side of a pattern {pattern}")
    if ours != theirs:
        raise ValueError(
            "Identifiers only on one side of rearrange expression (should be on both): "
            f"{ours ^ theirs}"
        )
    unknown = axes_lengths.keys() - ours
    if unknown:
        raise ValueError(f"Identifiers not found in rearrange expression: {unknown}")
    return left, right


def _side(text: str) -> Side:
    groups: list[list[str]] = []
    seen: set[str] = set()
    dots = None
    inside = False
    for token in re.findall(r"\.\.\.|[()]|[^\s()]+", text):
        if token == "(":
            if inside:
                raise ValueError(
                    "Axis composition is one-level (brackets inside brackets not allowed)"
                )
            inside = True
            groups.append([])
            continue
        if token == ")":
            if not inside:
                raise ValueError(f"Brackets are not balanced in {text!r}")
            inside = False
            continue
        if not inside:
            groups.append([])
        if token == "1":
            continue
        _check_name(token)
        if token in seen:
            raise ValueError(f"Indexing expression contains duplicate dimension {token!r}")
        seen.add(token)
        if token == _DOTS and not inside:
            dots = len(groups) - 1
        groups[-1].append(token)
    if inside:
        raise ValueError(f"Brackets are not balanced in {text!r}")
    return Side(groups, dots)


def _check_name(token: str) -> None:
    if token == _DOTS:
        return
    if not token.isidentifier():
        raise ValueError(f"Invalid axis identifier: {token}\nnot a valid python identifier")
    if token.startswith("_") or token.endswith("_"):
        raise ValueError(
            f"Invalid axis identifier: {token}\n"
            "axis name should should not start or end with underscore"
        )


def _hidden(left: Side, dims: int) -> int:
    """How many dimensions the dots stand for."""
    if left.dots is None and _DOTS in left.names():
        raise ValueError("An ellipsis in brackets on the left says of no dimension what it is")
    shown = len(left.groups) - (left.dots is not None)
    if (left.dots is None and shown != dims) or shown > dims:
        raise ValueError(
            f"Number of dimensions in pattern ({shown}) must be equal to the number of dimensions "
            f"in the tensor ({dims})"
        )
    return dims - shown


def _sizes(groups: list[list[str]], shape: Any, given: dict[str, int]) -> dict[str, int]:
    """The length of each axis."""
    sizes = dict(given)
    for group, size in zip(groups, shape, strict=True):
        open_names = [name for name in group if name not in sizes]
        known = math.prod(sizes[name] for name in group if name in sizes)
        if len(open_names) > 1:
            raise RuntimeError(
                f"cannot infer the size of two dimensions at once: {open_names} of size {size}"
            )
        if open_names and known and size % known == 0:
            sizes[open_names[0]] = size // known
        elif open_names or known != size:
            raise RuntimeError(
                f"axes {' '.join(group) or '1'} of length {known} do not fit a dimension of size "
                f"{size}"
            )
    return sizes


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "func.rearrange": (
        "cube, 'a b c -> c a b'; cube, 'a b c -> (a b) c'; cube, 'a b (c d) -> a d b c', c=2; "
        "image, 'n ... -> ... n'; cube, 'a b c -> a b 1 c'; x, 'a b -> a b'; !x, 'a b c -> a b c'; "
        "!x, 'a b -> a c'; x, 'a (b c) -> a b c', b=2"
    ),
}
