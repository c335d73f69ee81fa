"""What a primitive is, and the table of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.ir.graph import Aval, Var, recorders

if TYPE_CHECKING:
    from collections.abc import Callable

PRIMITIVES: dict[str, Primitive] = {}


class Primitive:
    """One operation: meaning, shape and dtype rule, NumPy reference, gradients.

    ``rule(*avals, **attrs)`` gives an ``Aval`` or a tuple of them.
    ``reference(*arrays, **attrs)`` computes it; it never writes to its arguments.
    ``gradients`` has a function for each operand, ``None`` where there is no gradient: called as
    ``f(g, *operands, out=..., **attrs)`` with ``Var``s (``g`` and ``out`` are tuples for a
    primitive of several outputs, absent gradients ``None``), it returns the operand's gradient,
    written in primitives.
    A ``host`` primitive is opaque to fusion; ``raises`` marks one that fails on some values, so
    that it runs at its call.
    """

    __slots__ = ("name", "meaning", "rule", "reference", "gradients", "host", "raises", "variadic")

    def __init__(
        self,
        name: str,
        meaning: str,
        rule: Callable[..., Any],
        reference: Callable[..., Any],
        gradients: tuple[Callable | None, ...],
        host: bool,
        raises: bool,
        variadic: Callable | None,
    ) -> None:
        self.name = name
        self.meaning = meaning
        self.rule = rule
        self.reference = reference
        self.gradients = gradients
        self.host = host
        self.raises = raises
        self.variadic = variadic

    def __repr__(self) -> str:
        return self.name

    @property
    def differentiable(self) -> bool:
        return self.variadic is not None or any(self.gradients)

    def gradient_of(self, position: int) -> Callable | None:
        """The gradient function of the operand at ``position``."""
        if self.variadic is not None:
            rule = self.variadic
            return lambda g, *xs, out, **attrs: rule(position, g, *xs, out=out, **attrs)
        return self.gradients[position] if position < len(self.gradients) else None

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        """Applies it to ``Var``s inside a gradient rule."""
        outs = recorders.current.emit(self, args, attrs)
        return outs[0] if len(outs) == 1 else outs


def primitive(
    name: str,
    meaning: str,
    *,
    rule: Callable[..., Any],
    reference: Callable[..., Any],
    gradient: Callable | tuple[Callable | None, ...] | None = None,
    variadic: Callable | None = None,
    host: bool = False,
    raises: bool = False,
) -> Primitive:
    """Declares a primitive and adds it to the table; see ``Primitive`` for the parts."""
    if name in PRIMITIVES:
        raise ValueError(f"primitive {name!r} is declared twice")
    if gradient is None:
        gradient = ()
    gradients = gradient if isinstance(gradient, tuple) else (gradient,)
    made = Primitive(name, meaning, rule, reference, gradients, host, raises, variadic)
    PRIMITIVES[name] = made
    return made


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all broadcast to; ``RuntimeError`` in PyTorch's words if there is none."""
    result: list[int] = []
    for shape in shapes:
        result[:0] = [1] * (len(shape) - len(result))
        extra = len(result) - len(shape)
        # From the last: that is the dimension which a refusal names.
        for i in range(len(result) - 1, extra - 1, -1):
            n = shape[i - extra]
            if n == 1 or n == result[i]:
                continue
            if result[i] != 1:
                raise RuntimeError(
                    f"The size of tensor a ({result[i]}) must match the size of tensor b ({n}) "
                    f"at non-singleton dimension {i}"
                )
            result[i] = n
    return tuple(result)


def unbroadcast(g: Var, like: Var | Aval) -> Var:
    """``g`` summed back to the shape of ``like``, an operand that was broadcast."""
    shape = like.shape
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    dims = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1
    )
    total = PRIMITIVES["sum"](g, dims=dims, keepdim=False) if dims else g
    return PRIMITIVES["reshape"](total, shape=shape) if total.shape != shape else total


def conj(x: Var) -> Var:
    """The complex conjugate; ``x`` itself where it is real."""
    return PRIMITIVES["conj"](x) if x.dtype is not None and x.dtype.is_complex else x


def like_operand(g: Var, x: Var) -> Var:
    """``g`` as a gradient of ``x``: its shape and, for a real operand of a complex op, real."""
    if g.dtype is not None and g.dtype.is_complex and not x.dtype.is_complex:
        g = PRIMITIVES["real"](g)
    return unbroadcast(g, x)
