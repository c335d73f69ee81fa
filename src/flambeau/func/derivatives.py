"""Derivatives as functions of functions: ``grad``, ``vjp``, ``jvp``, Jacobians."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau import autograd
from flambeau.autograd import engine
from flambeau.autograd.functional import pushed, stacked, unit_vectors
from flambeau.func.tree import flatten, tree_map, unflatten
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]

Argnums = int | tuple[int, ...]


class _Level:
    """One transform: its inputs' stand-ins, and what leaves it."""

    def __init__(self) -> None:
        self.own: list[Tensor] = []

    def __enter__(self) -> _Level:
        self._mode = autograd.enable_grad()
        self._mode.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._mode.__exit__(*exc)

    def enter(self, value: Any, forward: bool = False) -> Any:
        """A tensor that this level differentiates by, in place of one given."""
        if not isinstance(value, Tensor):
            raise ValueError(
                f"grad/vjp/jvp: Expected all inputs to be Tensors, but got {type(value).__name__}"
            )
        if forward and not (value.is_floating_point() or value.is_complex()):
            raise ValueError(
                f"Expected primal to be floating point or complex, but got: {value.dtype}"
            )
        t = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
        if t.is_leaf:
            self.own.append(t)
        return t

    def leave(self, value: Any) -> Any:
        """A result without the history that only this level gave it."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        mine = {id(t) for t in self.own}
        if any(id(leaf) not in mine for leaf in engine.leaves_below(value)):
            return value
        return value.detach()


def _select(args: tuple, argnums: Argnums) -> tuple[tuple[int, ...], Any]:
    """Positions of the arguments to differentiate by, and those arguments as one tree."""
    several = isinstance(argnums, tuple)
    if several and not argnums:
        raise RuntimeError("argnums must be non-empty")
    positions = []
    for n in argnums if several else (argnums,):
        if not isinstance(n, int):
            raise RuntimeError(f"argnum must be int, got: {type(n)}")
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
        positions.append(n % len(args))
    if len(set(positions)) != len(positions):
        raise RuntimeError(f"argnums elements must be unique, got argnums={argnums}")
    chosen = tuple(args[p] for p in positions)
    return tuple(positions), chosen if several else chosen[0]


def _replace(args: tuple, positions: Sequence[int], chosen: Any, argnums: Argnums) -> tuple:
    given = list(args)
    for p, value in zip(
        positions, chosen if isinstance(argnums, tuple) else (chosen,), strict=True
    ):
        given[p] = value
    return tuple(given)


def _need_real(values: Sequence[Any], name: str) -> None:
    """Jacobians are those of real functions."""
    for i, value in enumerate(values):
        if isinstance(value, Tensor) and value.is_complex():
            raise RuntimeError(
                f"{name}: Expected all inputs to be real but received complex tensor at flattened "
                f"input idx: {i}"
            )


def _pull(
    outs: Sequence[Tensor], ins: Sequence[Tensor], weights: Sequence[Tensor | None]
) -> list[Tensor]:
    """Gradients that keep their history; zeros where nothing depends."""
    pairs = [
        (o, w)
        for o, w in zip(outs, weights, strict=True)
        if isinstance(o, Tensor) and o.requires_grad
    ]
    if not pairs:
        return [x.detach() * 0 for x in ins]
    found = autograd.grad(
        [o for o, _ in pairs], ins, [w for _, w in pairs], create_graph=True,
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    return list(found)


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of ``func`` and its value.

    ``func`` gives a scalar tensor, or with ``has_aux`` a pair of it and anything else: the result
    is then ``(gradient, (value, aux))``. ``argnums`` says which arguments (or trees of tensors).

    Raises: ``RuntimeError`` if the value is no scalar.

    >>> torch.func.grad_and_value(lambda x: x**2)(torch.tensor(3.0))
    (tensor(6.), tensor(9.))
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _Level() as level:
            positions, chosen = _select(args, argnums)
            values, structure = flatten(chosen)
            ins = [level.enter(v) for v in values]
            given = _replace(args, positions, unflatten(ins, structure), argnums)
            out = func(*given, **kwargs)
            aux = None
            if has_aux:
                if not (isinstance(out, tuple) and len(out) == 2):
                    raise RuntimeError(
                        "grad_and_value(f)(*args): output of function f should be a tuple: "
                        "(output, aux) if has_aux is True"
                    )
                out, aux = out
            if not isinstance(out, Tensor):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got "
                    f"{type(out)}"
                )
            if out.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got "
                    f"tensor with {out.dim()} dims. Maybe you wanted to use the vjp or jacrev "
                    "APIs instead?"
                )
            found = _pull([out], ins, [None])
            result = unflatten([level.leave(g) for g in found], structure)
            value = level.leave(out)
            if has_aux:
                return result, (value, tree_map(level.leave, aux))
            return result, value

    return wrapped


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of ``func``, a function with a scalar value.

    It nests: ``grad(grad(f))`` is the second derivative. ``has_aux``: ``func`` gives a pair, and
    the result is ``(gradient, aux)``.

    >>> torch.func.grad(torch.func.grad(lambda x: x**3))(torch.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``func`` at ``primals``, and a function from its gradients to theirs.

    That function takes a tree like the value and gives a tuple like ``primals``; it may be called
    again. With ``has_aux`` the result is ``(value, function, aux)``.

    >>> value, pull = torch.func.vjp(lambda x: x * x, torch.tensor([1.0, 2.0]))
    >>> pull(torch.tensor([1.0, 1.0]))
    (tensor([2., 4.]),)
    """
    with _Level() as level:
        values, structure = flatten(primals)
        ins = [level.enter(v) for v in values]
        out = func(*unflatten(ins, structure))
        aux = None
        if has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise RuntimeError(
                    "vjp(f, *primals): output of function f should be a tuple: (output, aux) if "
                    "has_aux is True"
                )
            out, aux = out
            aux = tree_map(level.leave, aux)
        outs, out_structure = flatten(out)
        for o in outs:
            if not isinstance(o, Tensor):
                raise RuntimeError(
                    f"vjp(f, *primals): Expected f(*primals) to return only tensors, got {type(o)}"
                )
        value = unflatten([level.leave(o) for o in outs], out_structure)

    def pull(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        weights, _ = flatten(given)
        if len(weights) != len(outs):
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                "outputs to the function."
            )
        with autograd.enable_grad():
            found = _pull(outs, ins, weights)
        return unflatten([level.leave(g) for g in found], structure)

    return (value, pull, aux) if has_aux else (value, pull)


def jvp(
    func: Callable[..., Any],
    primals: tuple,
    tangents: tuple,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    r"""The value of ``func`` at ``primals`` and its derivative along ``tangents``, :math:`J v`.

    By two backward passes. With ``has_aux`` the result is ``(value, derivative, aux)``.

    >>> torch.func.jvp(lambda x: x * x, (torch.tensor(3.0),), (torch.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples.")
    with _Level() as level:
        ins, outs, structure, value, aux = _evaluated(level, func, primals, has_aux)
        derivative = _along(level, outs, ins, flatten(tangents)[0], structure, strict)
    return (value, derivative, aux) if has_aux else (value, derivative)


def _evaluated(
    level: _Level, func: Callable[..., Any], primals: tuple, has_aux: bool
) -> tuple[list[Tensor], list[Tensor], Any, Any, Any]:
    """Inputs and outputs with history, the outputs' structure, the value and aux without."""
    values, structure = flatten(primals)
    ins = [level.enter(v, forward=True) for v in values]
    out, aux = func(*unflatten(ins, structure)), None
    if has_aux:
        if not (isinstance(out, tuple) and len(out) == 2):
            raise RuntimeError(
                "jvp(f, primals, tangents): output of function f should be a tuple: (output, aux) "
                "if has_aux is True"
            )
        out, aux = out
        aux = tree_map(level.leave, aux)
    outs, out_structure = flatten(out)
    for o in outs:
        if not isinstance(o, Tensor):
            raise RuntimeError(
                "jvp(f, primals, tangents): expected f(*primals) to return only tensors, got "
                f"unsupported type {type(o)}"
            )
    value = unflatten([level.leave(o) for o in outs], out_structure)
    return ins, outs, out_structure, value, aux


def _along(
    level: _Level,
    outs: list[Tensor],
    ins: list[Tensor],
    tangents: list[Tensor],
    structure: Any,
    strict: bool = False,
) -> Any:
    if len(tangents) != len(ins):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python "
            f"structure, but got {len(ins)} and {len(tangents)} tensors"
        )
    found = []
    for o, d in zip(outs, pushed(outs, ins, tangents, True), strict=True):
        if d is None and strict:
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the "
                "inputs. This is not allowed with strict=True."
            )
        found.append(o.detach() * 0 if d is None else level.leave(d))
    return unflatten(found, structure)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``func`` at ``primals`` and a function of tangents: its derivative there.

    >>> value, push = torch.func.linearize(lambda x: x * x, torch.tensor(3.0))
    >>> push(torch.tensor(2.0))
    tensor(12.)
    """
    with _Level() as level:
        ins, outs, structure, value, _ = _evaluated(level, func, primals, False)

    def push(*tangents: Any) -> Any:
        with autograd.enable_grad():
            return _along(level, outs, ins, flatten(tangents)[0], structure)

    return value, push


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    r"""A function that gives the Jacobian of ``func``, row by row (reverse mode).

    Shape: that of an output followed by that of an input; in the structure of the outputs, then of
    the arguments. ``chunk_size`` is accepted and changes no number.

    >>> torch.func.jacrev(torch.sin)(torch.tensor([0.0]))
    tensor([[1.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions, chosen = _select(args, argnums)

        def of_chosen(value: Any) -> Any:
            return func(*_replace(args, positions, value, argnums), **kwargs)

        _need_real(flatten(chosen)[0], "jacrev")
        found = vjp(of_chosen, chosen, has_aux=has_aux)
        value, pull = found[0], found[1]
        outs, structure = flatten(value)
        values, in_structure = flatten(chosen)
        blocks = []
        for k, out in enumerate(outs):
            zeros = [o.detach() * 0 for o in outs]
            rows = []
            for one in unit_vectors(out):
                weights = unflatten([*zeros[:k], one, *zeros[k + 1 :]], structure)
                rows.append(flatten(pull(weights))[0])
            columns = zip(*rows, strict=True) if rows else [[] for _ in values]
            block = [
                stacked(list(c), x).reshape(tuple(out.shape) + tuple(x.shape))
                for c, x in zip(columns, values, strict=True)
            ]
            blocks.append(unflatten(block, in_structure))
        result = unflatten(blocks, structure)
        return (result, found[2]) if has_aux else result

    return wrapped


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    r"""A function that gives the Jacobian of ``func``, column by column (forward mode).

    As ``jacrev``, whose numbers it gives; fewer passes where there are fewer inputs than outputs.

    >>> torch.func.jacfwd(torch.sin)(torch.tensor([0.0]))
    tensor([[1.]])
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions, chosen = _select(args, argnums)

        def of_chosen(*leaves: Any) -> Any:
            value = unflatten(leaves, in_structure)
            return func(*_replace(args, positions, value, argnums), **kwargs)

        values, in_structure = flatten(chosen)
        _need_real(values, "jacfwd")
        with _Level() as level:
            ins, outs, structure, _, aux = _evaluated(level, of_chosen, tuple(values), has_aux)
            columns: list[list[Tensor]] = [[] for _ in outs]
            for k, x in enumerate(values):
                zeros = [v.detach() * 0 for v in values]
                found: list[list[Tensor]] = [[] for _ in outs]
                for one in unit_vectors(x):
                    tangents = [*zeros[:k], one, *zeros[k + 1 :]]
                    along = flatten(_along(level, outs, ins, tangents, structure))[0]
                    for j, d in enumerate(along):
                        found[j].append(d)
                for j, o in enumerate(outs):
                    block = _last(stacked(found[j], o), o, x)
                    columns[j].append(block)
        blocks = [unflatten(c, in_structure) for c in columns]
        result = unflatten(blocks, structure)
        return (result, aux) if has_aux else result

    return wrapped


def _last(rows: Tensor, out: Tensor, x: Tensor) -> Tensor:
    """Derivatives stacked by input element, as output by input."""
    n = x.numel()
    flat = rows.reshape(n, out.numel()).transpose(0, 1)
    return flat.reshape(tuple(out.shape) + tuple(x.shape))


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the Hessian of ``func``: ``jacfwd(jacrev(func))``.

    >>> torch.func.hessian(lambda x: x**3)(torch.tensor(2.0))
    tensor(12.)
    """
    return jacfwd(jacrev(func, argnums), argnums)


# Calls that the tests make in PyTorch too: `tests/generated/`. What follows `|` is what the result
# is called with.
SAMPLES = {
    "func.grad": (
        "lambda a: (a.sin() * a).sum() | x; lambda a, b: (a * b.exp()).sum(), argnums=1 | x, y; "
        "lambda a, b: (a * b).sum(), argnums=(0, 1) | x, y; "
        "lambda a: (a.sum(), a * 2), has_aux=True | x; torch.func.grad(lambda a: a ** 3) | s; "
        "lambda a: (a['p'] * x).sum() | {'p': y}; !lambda a: a * 2 | x; "
        "!lambda a: (a.sum(), a) | x; !lambda a: a.sum(), argnums=1 | x"
    ),
    "func.grad_and_value": (
        "lambda a: (a.sin() * a).sum() | x; lambda a, b: (a * b).sum(), argnums=(0, 1) | x, y; "
        "lambda a: (a.sum(), a * 2), has_aux=True | x; !lambda a: a * 2 | x"
    ),
    "func.jacrev": (
        "lambda a: a.sin() | v; lambda a, b: a * b.sum(), argnums=(0, 1) | v, u; "
        "lambda a: (a * 2, a.sum()) | v; lambda a: (a.exp(), a), has_aux=True | v; "
        "lambda a: a ** 3, chunk_size=2 | v; !lambda a: 1.0 | v"
    ),
    "func.jacfwd": (
        "lambda a: a.sin() | v; lambda a, b: a * b.sum(), argnums=(0, 1) | v, u; "
        "lambda a: (a * 2, a.sum()) | v.detach(); lambda a: (a.exp(), a), has_aux=True | v; "
        "lambda a: a.exp(), randomness='same' | s; !lambda a: 1.0 | v"
    ),
    "func.hessian": (
        "lambda a: (a ** 3).sum() | v; lambda a, b: (a * b.sin()).sum(), argnums=(0, 1) | v, w; "
        "lambda a: a.exp() | s"
    ),
    "func.vjp": "lambda a: a.sin(), x; lambda a, b: (a * b, a + b), x, y",
    "func.jvp": (
        "lambda a: a.sin(), (x,), (y,); lambda a, b: (a * b, a + b), (x, y), (z, z); "
        "lambda a: (a.exp(), a), (x,), (y,), has_aux=True; lambda a: y, (x,), (z,); "
        "!lambda a: a, x, y; !lambda a: a, (x,), (v,)"
    ),
    "func.linearize": "lambda a: a.sin(), x; lambda a, b: a * b, x, y",
}
