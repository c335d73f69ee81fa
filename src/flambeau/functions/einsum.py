"""Einstein summation: labels of dimensions say which are multiplied, summed and kept."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.functions.inplace import title
from flambeau.functions.precision import lowered
from flambeau.functions.promotion import cast, promoted
from flambeau.record.macro import function, ops
from flambeau.record.storage import contiguous_strides
from flambeau.tensor import Tensor

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
# The dimensions of an ellipsis are labelled -1, -2 … from the last; letters are strings.
Label = str | int


def einsum(*args: Any) -> Tensor:
    """Products of operands' elements, summed over the labels that the output lacks.

    ``einsum("ij,jk->ik", a, b)``, or with lists of numbers for labels:
    ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. A label twice in one operand takes a diagonal; ``...``
    stands for all other dimensions, which broadcast; without ``->`` the output has the labels that
    occur once, in alphabetical order. Raises ``RuntimeError`` where labels and shapes do not fit.

    >>> einsum("i,j->ij", tensor([1, 2]), tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        equation, operands = _from_lists(args)
    else:
        equation, operands = args[0], args[1:]
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = tuple(operands[0])
    for t in operands:
        if t.dtype is not operands[0].dtype:
            raise RuntimeError(
                f"expected scalar type {title(operands[0].dtype)} but found {title(t.dtype)}"
            )
    inputs, output = _parsed(equation, operands)
    return _einsum(tuple(operands), inputs, output)


def _from_lists(args: tuple) -> tuple[str, tuple]:
    """The sublist format as an equation."""

    def text(labels: Any) -> str:
        parts = []
        for n in labels:
            if n is Ellipsis:
                parts.append("...")
            elif not 0 <= int(n) < 52:
                raise ValueError("einsum(): subscripts in list should be within range [0, 52)")
            else:
                n = int(n)
                parts.append(chr(ord("A") + n) if n < 26 else chr(ord("a") + n - 26))
        return "".join(parts)

    equation = ",".join(text(labels) for labels in args[1::2][: len(args) // 2])
    if len(args) % 2:
        equation += "->" + text(args[-1])
        return equation, args[:-1:2]
    return equation, args[::2]


def _parsed(equation: str, operands: tuple) -> tuple[tuple[tuple, ...], tuple]:
    """The labels of each operand's dimensions, and of the output's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) > len(operands):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(terms) < len(operands):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    inputs = []
    wide = 0
    for i, (term, t) in enumerate(zip(terms, operands, strict=True)):
        head, dots, tail = term.partition("...")
        for c in head + tail:
            if c == ".":
                raise RuntimeError(
                    f"einsum(): found '.' for operand {i} that is not part of any ellipsis"
                )
            if c not in _LETTERS:
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {equation.index(c)} in the "
                    "equation string, subscripts must be in [a-zA-Z]"
                )
        named = len(head) + len(tail)
        if dots:
            if named > t.dim():
                raise RuntimeError(
                    f"einsum(): the number of subscripts in the equation ({named}) is more than "
                    f"the number of dimensions ({t.dim()}) for operand {i}"
                )
            rest = t.dim() - named
            wide = max(wide, rest)
            inputs.append((*head, *range(-rest, 0), *tail))
            continue
        if named != t.dim():
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) "
                + (
                    f"does not match the number of dimensions ({t.dim()})"
                    if named < t.dim()
                    else f"is more than the number of dimensions ({t.dim()})"
                )
                + f" for operand {i}"
                + (" and no ellipsis was given" if named < t.dim() else "")
            )
        inputs.append(tuple(head))
    ellipsis = tuple(range(-wide, 0))
    seen: dict[Label, int] = {}
    for i, (labels, t) in enumerate(zip(inputs, operands, strict=True)):
        mine: dict[Label, int] = {}
        for label, n in zip(labels, t._meta.shape, strict=True):
            if label in mine and mine[label] != n:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {i} but the sizes don't "
                    f"match, {n} != {mine[label]}"
                )
            mine[label] = n
            before = seen.get(label, 1)
            if before != 1 and n not in (1, before):
                if isinstance(label, int):
                    raise RuntimeError(
                        f"einsum(): operands do not broadcast with remapped shapes "
                        f"[original->remapped]: {[list(o.shape) for o in operands]}"
                    )
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {n} for operand {i} which does not "
                    f"broadcast with previously seen size {before}"
                )
            seen[label] = max(before, n) if n else n
    if not arrow:
        count = [c for labels in inputs for c in labels]
        once = sorted(c for c in set(count) if isinstance(c, str) and count.count(c) == 1)
        return tuple(inputs), (*ellipsis, *once)
    head, dots, tail = right.partition("...")
    for c in head + tail:
        if c not in _LETTERS:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {equation.rindex(c)} in the equation "
                "string, subscripts must be in [a-zA-Z]"
            )
        if (head + tail).count(c) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {c} appears more than once in the output"
            )
        if c not in seen:
            raise RuntimeError(
                f"einsum(): output subscript {c} does not appear in the equation for any input "
                "operand"
            )
    return tuple(inputs), (*head, *(ellipsis if dots else ()), *tail)


@function
def _einsum(operands: tuple, inputs: tuple, output: tuple) -> Tensor:
    sizes: dict[Label, int] = {}
    for labels, t in zip(inputs, operands, strict=True):
        for label, n in zip(labels, t._meta.shape, strict=True):
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    if len(operands) == 1 and operands[0].dtype.category < 2 and not set(inputs[0]) <= set(output):
        # A sum, of one element perhaps.
        operands = (cast(operands[0], dtypes.int64),)
    terms = [_once(t, labels, sizes) for t, labels in zip(operands, inputs, strict=True)]
    x, have = terms[0]
    for k, (y, more) in enumerate(terms[1:], 1):
        needed = set(output).union(*(labels for _, labels in terms[k + 1 :]))
        given = (y, more, x, have) if _comes_first(more, have, output) else (x, have, y, more)
        x, have = _contracted(*given, needed, sizes)
    x, have = _summed(x, have, set(output))
    kept = [c for c in output if c in have]
    x = _permuted(x, have, kept)
    if len(kept) < len(output):
        # Labels of size 1 in every operand that had them were set aside.
        x = ops.reshape(x, shape=tuple(sizes[c] if c in kept else 1 for c in output))
    return ops.clone(x) if any(x is t for t in operands) else x


def _comes_first(more: list, have: list, output: tuple) -> bool:
    """Whether the output has what only the second operand has before what only the first has.

    As the first factor of their product it then needs no reordering afterwards.
    """
    first = [output.index(c) for c in have if c in output and c not in more]
    second = [output.index(c) for c in more if c in output and c not in have]
    return bool(first and second) and max(second) < min(first)


def _once(x: Tensor, labels: tuple, sizes: dict) -> tuple[Tensor, list]:
    """An operand with each label once; dimensions of size 1 that broadcast are dropped."""
    shape, strides = x._meta.shape, contiguous_strides(x._meta.shape)
    steps: dict[Label, int] = {}
    length: dict[Label, int] = {}
    for label, n, s in zip(labels, shape, strides, strict=True):
        steps[label] = steps.get(label, 0) + s
        length[label] = n
    have = [c for c in steps if length[c] != 1]
    new = tuple(length[c] for c in have)
    if len(steps) < len(labels):
        x = ops.as_strided(x, 0, shape=new, strides=tuple(steps[c] for c in have))
    elif new != shape:
        x = ops.reshape(x, shape=new)
    return x, have


def _permuted(x: Tensor, have: list, want: list) -> Tensor:
    if have == want:
        return x
    return ops.permute(x, dims=tuple(have.index(c) for c in want))


def _summed(x: Tensor, have: list, needed: set) -> tuple[Tensor, list]:
    """Labels that nothing needs any more summed over."""
    gone = tuple(i for i, c in enumerate(have) if c not in needed)
    if not gone:
        return x, have
    if x.dtype.category < 2:
        x = cast(x, dtypes.int64)
    return ops.sum(x, dims=gone, keepdim=False), [c for c in have if c in needed]


def _contracted(
    x: Tensor, have: list, y: Tensor, more: list, needed: set, sizes: dict
) -> tuple[Tensor, list]:
    """The product of two operands as one matrix product, summed over what nothing else needs."""
    x, have = _summed(x, have, needed.union(more))
    y, more = _summed(y, more, needed.union(have))
    # A sum of integers that only one of them had was made in int64.
    x, y = promoted(x, y)
    both = [c for c in have if c in more]
    batch = [c for c in both if c in needed]
    inner = [c for c in both if c not in needed]
    left = [c for c in have if c not in both]
    right = [c for c in more if c not in both]
    if not inner:
        wide = _permuted(x, have, [*batch, *left])
        wide = ops.reshape(wide, shape=(*wide._meta.shape, *(1,) * len(right)))
        other = _permuted(y, more, [*batch, *right])
        shape = other._meta.shape
        shape = (*shape[: len(batch)], *(1,) * len(left), *shape[len(batch) :])
        return ops.mul(wide, ops.reshape(other, shape=shape)), [*batch, *left, *right]

    def size(labels: list) -> int:
        return math.prod(sizes[c] for c in labels)

    lead = tuple(sizes[c] for c in batch)
    a = _permuted(x, have, [*batch, *left, *inner])
    b = _permuted(y, more, [*batch, *inner, *right])
    a = ops.reshape(a, shape=(*lead, size(left), size(inner)))
    b = ops.reshape(b, shape=(*lead, size(inner), size(right)))
    made = ops.matmul(*lowered(a, b))
    order = [*batch, *left, *right]
    return ops.reshape(made, shape=tuple(sizes[c] for c in order)), order


SAMPLES = {
    "einsum": "'ij,jk->ik', x, m; 'ij->ji', x; 'ij,ij->', x, y; 'ii->i', m; 'ii', m;"
    "'i,j->ij', u, v; 'bij,bjk->bik', batch, batch; '...ij,jk', batch, m; 'ij,j,i->', x, v, u;"
    "'ij,ik', x, y; 'ij->', x; 'i...->...', cube; x, [0, 1], m, [1, 2], [0, 2];"
    "'ij,jk->ik', i, j.t(); 'ij,jk', c, cm; ' i j , j -> i', x, v; 'ij,kj->ik', empty, x;"
    "!'ij,jk', x, y; !'ij', cube; !'ij->k', x; !'ij,jk', x; !'i1', x; !'ij->ii', x; !x",
}
