"""Derivatives of functions: Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd import engine
from flambeau.autograd.api import grad
from flambeau.autograd.function import forwarding
from flambeau.autograd.library import functions
from flambeau.autograd.modes import enable_grad
from flambeau.record.storage import Handle as Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Any  # a tensor or a tuple of them


# ------------------------------------------------------------------------- what goes in and out


def _tuple_of(value: Any, kind: str, name: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether ``value`` was a tuple, and its tensors."""
    is_tuple = isinstance(value, tuple)
    values = value if is_tuple else (value,)
    for i, x in enumerate(values):
        if not isinstance(x, Tensor):
            one = f" at index {i}" if is_tuple else ""
            whose = (
                f"The inputs given to {name}"
                if kind == "inputs"
                else f"The outputs of the user-provided function given to {name}"
            )
            raise TypeError(
                f"{whose} must be either a Tensor or a tuple of Tensors but the value{one} has "
                f"type {type(x)}."
            )
    return is_tuple, values


def _prepare(inputs: Sequence[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    """The inputs as a function is called with: a history of their own, or a step after theirs."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in inputs
    )


def _finish(values: Sequence[Tensor], create_graph: bool, is_tuple: bool) -> Tensors:
    kept = tuple(values) if create_graph else tuple(v.detach() for v in values)
    return kept if is_tuple else kept[0]


def _zeros(x: Tensor) -> Tensor:
    return engine.concrete(np.zeros(x._meta.shape, x._meta.dtype.numpy), x._meta.dtype)


def _require_history(values: Sequence[Tensor | None], what: str, strict: bool) -> None:
    """In strict mode refuses values that do not depend on the input."""
    if not strict:
        return
    for i, v in enumerate(values):
        if v is None or not v.requires_grad:
            raise RuntimeError(
                f"{what.format(i)} The outputs must be computed in a differentiable manner from "
                "the input when running in strict mode."
            )


_NO_HISTORY = "Output {} of the user-provided function does not require gradients."
_NO_JACOBIAN = "The jacobian of the user-provided function with respect to input {} is constant."


def _grads(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    create_graph: bool,
) -> tuple[Tensor | None, ...]:
    """``grad`` which leaves out outputs that depend on nothing; the graph stays."""
    pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outs, given = zip(*pairs, strict=True)
    return grad(outs, inputs, given, True, create_graph, True, True)


def _filled(
    found: Sequence[Tensor | None],
    like: Sequence[Tensor],
    strict: bool,
    create_graph: bool,
    what: str,
) -> tuple[Tensor, ...]:
    """Gradients with zeros for those absent, which strict mode refuses."""
    result = []
    for i, (g, x) in enumerate(zip(found, like, strict=True)):
        if g is None:
            if strict:
                raise RuntimeError(
                    f"{what} of the user-provided function is independent of input {i}. This is "
                    "not allowed in strict mode."
                )
            g = _zeros(x)
        elif strict and create_graph and not g.requires_grad:
            raise RuntimeError(
                f"{what} of the user-provided function is independent of input {i}. This is not "
                "allowed in strict mode when create_graph=True."
            )
        result.append(g)
    return tuple(result)


def _vectors(
    v: Any, like: Sequence[Tensor], like_is_tuple: bool, name: str, missing: str
) -> tuple[Tensor, ...]:
    """The given vectors, or one for a single element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(missing)
        _need_real(like[0])
        return (engine.ones_like(like[0]),)
    _, vectors = _tuple_of(v, "inputs", name)
    if len(vectors) != len(like):
        if like_is_tuple:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, x) in enumerate(zip(vectors, like, strict=True)):
        if a.shape != x.shape:
            entry = f"Entry {i} in " if like_is_tuple else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {x.shape} but got {a.shape}.")
    return vectors


def _need_real(out: Tensor) -> None:
    """A complex number has no gradient of its own: it is asked for along some direction."""
    if out._meta.dtype.is_complex:
        raise RuntimeError(
            f"grad can be implicitly created only for real scalar outputs but got {out._meta.dtype}"
        )


_V_FOR_OUTPUT = (
    "The vector v can only be None if the user-provided function returns a single Tensor with a "
    "single element."
)
_V_FOR_INPUT = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor "
    "with a single element."
)


# ------------------------------------------------------------------------------------ products


def vjp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    r"""The outputs of ``func`` at ``inputs`` and the vector-Jacobian product :math:`v^\top J`.

    ``v`` has the shapes of the outputs; one scalar output needs none. ``strict`` raises
    ``RuntimeError`` where an output does not depend on an input, else zeros stand there.

    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.autograd.functional.vjp(lambda x: x * x, x, torch.tensor([1.0, 1.0]))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        in_tuple, ins = _tuple_of(inputs, "inputs", "vjp")
        ins = _prepare(ins, create_graph)
        out_tuple, outs = _tuple_of(func(*ins), "outputs", "vjp")
        _require_history(outs, _NO_HISTORY, strict)
        weights = _vectors(v, outs, out_tuple, "vjp", _V_FOR_OUTPUT)
        found = _grads(outs, ins, weights, create_graph)
        result = _filled(found, ins, strict, create_graph, "The output")
    return _finish(outs, create_graph, out_tuple), _finish(result, create_graph, in_tuple)


def jvp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    r"""The outputs of ``func`` at ``inputs`` and the Jacobian-vector product :math:`J v`.

    By two backward passes: :math:`u^\top J` is linear in :math:`u`, and its derivative along
    :math:`v` is :math:`J v`. ``v`` has the shapes of the inputs.

    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.autograd.functional.jvp(lambda x: x * x, x, torch.tensor([1.0, 1.0]))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        in_tuple, ins = _tuple_of(inputs, "inputs", "jvp")
        vectors = _vectors(v, ins, in_tuple, "jvp", _V_FOR_INPUT)
        ins = _prepare(ins, create_graph)
        out_tuple, outs = _tuple_of(func(*ins), "outputs", "jvp")
        _require_history(outs, _NO_HISTORY, strict)
        result = pushed(outs, ins, vectors, create_graph)
        result = _filled(result, outs, strict, create_graph, "The output")
    return _finish(outs, create_graph, out_tuple), _finish(result, create_graph, out_tuple)


def pushed(
    outs: Sequence[Tensor],
    ins: Sequence[Tensor],
    vectors: Sequence[Tensor],
    create_graph: bool,
) -> tuple[Tensor | None, ...]:
    """The derivatives of computed ``outs`` along ``vectors`` (as ``ins``); None for constants."""
    weights = [_zeros(o).requires_grad_() if o.requires_grad else None for o in outs]
    with forwarding:
        pulled = _grads(outs, ins, weights, True)
    pairs = [(g, t) for g, t in zip(pulled, vectors, strict=True) if g is not None]
    wanted = [w for w in weights if w is not None]
    if not pairs or not wanted:
        return (None,) * len(outs)
    gs, ts = zip(*pairs, strict=True)
    found = iter(_grads(gs, wanted, ts, create_graph))
    return tuple(None if w is None else next(found) for w in weights)


def _single(func: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """``func``, whose output must be one tensor of one element."""

    def checked(*args: Any) -> Tensor:
        out = func(*args)
        is_tuple, outs = _tuple_of(out, "outputs", name)
        if is_tuple:
            raise RuntimeError(f"The function given to {name} should return a single Tensor")
        if outs[0].numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {name} should contain a single "
                "element"
            )
        return out.squeeze()

    return checked


def vhp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, Tensors]:
    r"""A scalar function's value and the product :math:`v^\top H` with its Hessian.

    >>> torch.autograd.functional.vhp(lambda x: x**3, torch.tensor(2.0), torch.tensor(1.0))[1]
    tensor(12.)
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "vhp")


def hvp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, Tensors]:
    r"""A scalar function's value and the product :math:`H v` with its Hessian.

    The Hessian is symmetric, so it is ``vhp``: one backward pass over a backward pass.

    >>> torch.autograd.functional.hvp(lambda x: x**3, torch.tensor(2.0), torch.tensor(1.0))[1]
    tensor(12.)
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp")


def _hessian_product(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Any,
    create_graph: bool,
    strict: bool,
    name: str,
) -> tuple[Tensor, Tensors]:
    with enable_grad():
        in_tuple, ins = _tuple_of(inputs, "inputs", name)
        vectors = _vectors(v, ins, in_tuple, name, _V_FOR_INPUT)
        ins = _prepare(ins, create_graph)
        _, outs = _tuple_of(_single(func, name)(*ins), "outputs", name)
        _need_real(outs[0])
        _require_history(outs, _NO_HISTORY, strict)
        first = _grads(outs, ins, (None,), True)
        first = _filled(first, ins, strict, False, "The output")
        _require_history(first, _NO_JACOBIAN, strict)
        second = _grads(first, ins, vectors, create_graph)
        result = _filled(second, ins, strict, create_graph, "The jacobian")
    return _finish(outs, create_graph, False), _finish(result, create_graph, in_tuple)


# ------------------------------------------------------------------------------------ matrices


def _check_strategy(strategy: str, vectorize: bool, create_graph: bool, strict: bool) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError(
                "torch.autograd.functional.jacobian: `create_graph=True` and "
                '`strategy="forward-mode"` are not supported together (yet). Please either set '
                '`create_graph=False` or `strategy="reverse-mode"`.'
            )
        if strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and "
                '`strategy="forward-mode"` are not supported together (yet). Please either set '
                '`strict=False` or `strategy="reverse-mode"`.'
            )
        if not vectorize:
            raise NotImplementedError(
                "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only "
                "implemented for `vectorize=True`."
            )
    elif vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    r"""The Jacobian of ``func``: :math:`J_{ij} = \partial f_i / \partial x_j`.

    Shape: that of the output followed by that of the input; a tuple (of tuples) for a tuple of
    inputs (of outputs). One backward pass a row; ``vectorize`` is accepted and changes no number,
    as is ``strategy="forward-mode"`` with it. ``strict`` raises ``RuntimeError`` where an output
    does not depend on an input.

    >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_strategy(strategy, vectorize, create_graph, strict)
    with enable_grad():
        in_tuple, given = _tuple_of(inputs, "inputs", "jacobian")
        forward = strategy == "forward-mode"
        # PyTorch's forward mode gives results that have a history.
        create_graph = create_graph or forward
        for x in given:
            if forward and not (x.is_floating_point() or x.is_complex()):
                raise ValueError(
                    f"Expected primal to be floating point or complex, but got: {x.dtype}"
                )
        ins = _prepare(given, create_graph)
        out_tuple, outs = _tuple_of(func(*ins), "outputs", "jacobian")
        _require_history(outs, _NO_HISTORY, strict)
        if forward:
            blocks = _forward_blocks(outs, ins)
        else:
            if not vectorize:
                for out in outs:
                    if out.requires_grad:
                        _need_real(out)
            blocks = [_jacobian_of(out, i, ins, create_graph, strict) for i, out in enumerate(outs)]
    if not create_graph:
        blocks = [tuple(b.detach() for b in row) for row in blocks]
    rows: list[Any] = [row if in_tuple else row[0] for row in blocks]
    return tuple(rows) if out_tuple else rows[0]


def _jacobian_of(
    out: Tensor, number: int, ins: Sequence[Tensor], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """The Jacobian of one output with respect to each input."""
    columns: list[list[Tensor]] = [[] for _ in ins]
    for one in unit_vectors(out):
        found = _grads((out,), ins, (one,), create_graph)
        for i, (g, x, column) in enumerate(zip(found, ins, columns, strict=True)):
            if g is None:
                if strict:
                    raise RuntimeError(
                        f"Output {number} of the user-provided function is independent of input "
                        f"{i}. This is not allowed in strict mode."
                    )
                g = _zeros(x)
            elif strict and create_graph and not g.requires_grad:
                raise RuntimeError(
                    "The jacobian of the user-provided function is independent of input "
                    f"{i}. This is not allowed in strict mode when create_graph=True."
                )
            column.append(g)
    return tuple(
        stacked(column, x).reshape(tuple(out.shape) + tuple(x.shape))
        for column, x in zip(columns, ins, strict=True)
    )


def _forward_blocks(outs: Sequence[Tensor], ins: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """The Jacobians of all outputs, column by column."""
    blocks: list[list[Tensor]] = [[] for _ in outs]
    for i, x in enumerate(ins):
        along = [
            pushed(outs, ins, [one if j == i else _zeros(z) for j, z in enumerate(ins)], True)
            for one in unit_vectors(x)
        ]
        for out, row, columns in zip(outs, blocks, zip(*along, strict=True), strict=True):
            kept = [_zeros(out) if c is None else c for c in columns]
            joined = functions().stack(kept, -1)
            row.append(joined.reshape(tuple(out.shape) + tuple(x.shape)))
    return [tuple(row) for row in blocks]


def unit_vectors(t: Tensor) -> list[Tensor]:
    """Tensors like ``t`` with a one at one place each, in order."""
    dtype = t._meta.dtype
    found = []
    for i in range(t.numel()):
        one = np.zeros(t.numel(), dtype.numpy)
        one[i] = 1
        found.append(engine.concrete(one.reshape(t._meta.shape), dtype))
    return found


def stacked(rows: list[Tensor], like: Tensor) -> Tensor:
    """``rows`` on top of each other; of none, an empty tensor."""
    if not rows:
        shape = (0, *like._meta.shape)
        return engine.concrete(np.zeros(shape, like._meta.dtype.numpy), like._meta.dtype)
    return functions().stack(rows)


def hessian(
    func: Callable[..., Tensor],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    r"""The Hessian of a scalar function: :math:`H_{ij} = \partial^2 f/\partial x_i \partial x_j`.

    Shape: that of one input followed by that of another; a tuple of tuples for tuples.

    >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    in_tuple, ins = _tuple_of(inputs, "inputs", "hessian")
    _check_strategy(outer_jacobian_strategy, vectorize, create_graph, strict)
    single = _single(func, "hessian")

    def first(*args: Tensor) -> tuple[Tensor, ...]:
        found = jacobian(single, args, create_graph=True, strict=False)
        if strict:
            _require_history(found, _NO_JACOBIAN, True)
        return tuple(found)

    if strict:
        # The first derivative's own strictness, asked where the inputs carry no other history.
        jacobian(single, ins, strict=True)
    found = jacobian(
        first, ins, create_graph=create_graph, strict=strict, vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )  # fmt: skip
    return found if in_tuple else found[0][0]


# Calls that the tests make in PyTorch too: `tests/generated/`.
SAMPLES = {
    "autograd.functional.vjp": (
        "lambda a: a.sin() * 2, x, y; lambda a: (a * a).sum(), x; "
        "lambda a, b: (a * b, a + b), (x, y), (z, z); lambda a: a.exp(), x, y, create_graph=True; "
        "lambda a: y, x, z; !lambda a: y, x, z, strict=True; !lambda a: a * 2, x; "
        "!lambda a: a * 2, x, v"
    ),
    "autograd.functional.jvp": (
        "lambda a: a.sin() * 2, x, y; lambda a: a.exp().sum(), s; "
        "lambda a, b: (a * b, a + b), (x, y), (z, z); lambda a: a.exp(), x, y, create_graph=True; "
        "lambda a: y, x, z; !lambda a: y, x, z, strict=True; !lambda a: a * 2, x; "
        "!lambda a: a * 2, x, v"
    ),
    "autograd.functional.jacobian": (
        "lambda a: a.sin(), v; lambda a, b: a * b.sum(), (v, x); lambda a: (a * 2, a.sum()), v; "
        "lambda a: a.exp(), v, create_graph=True; lambda a: a.exp(), v, vectorize=True; "
        "lambda a: a ** 2, v, strategy='forward-mode', vectorize=True; lambda a: w, v; "
        "!lambda a: w, v, strict=True; !lambda a: a, v, strategy='sideways'; !lambda a: 1, v"
    ),
    "autograd.functional.hessian": (
        "lambda a: (a ** 3).sum(), v; lambda a, b: (a * b.sin()).sum(), (v, w); "
        "lambda a: a.exp().sum(), x; lambda a: (a ** 3).sum(), v, create_graph=True; "
        "lambda a: a.exp().sum(), v, vectorize=True; lambda a: (a * w).sum(), v; !lambda a: a, v; "
        "!lambda a: (a * w).sum(), v, strict=True"
    ),
    "autograd.functional.hvp": (
        "lambda a: (a ** 3).sum(), v, w; lambda a, b: (a * b.sin()).sum(), (v, w), (w, v); "
        "lambda a: a.exp().sum(), x, y, create_graph=True; lambda a: (a * w).sum(), v, w; "
        "!lambda a: a, v, w; !lambda a: a.sum(), v, u"
    ),
    "autograd.functional.vhp": (
        "lambda a: (a ** 3).sum(), v, w; lambda a, b: (a * b.sin()).sum(), (v, w), (w, v); "
        "lambda a: a.exp().sum(), x, y, create_graph=True; lambda a: (a * w).sum(), v, w; "
        "!lambda a: a, v, w; !lambda a: a.sum(), v, u"
    ),
}
