"""Custom differentiable functions: forward and backward written by the user."""

from __future__ import annotations

import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd import engine, saved
from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.record import alias
from flambeau.record.meta import meta
from flambeau.record.segment import INPLACE, TWICE
from flambeau.record.storage import Handle as Tensor
from flambeau.record.trace import open_

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class _Forwarding(threading.local):
    """Whether the pass that runs is half of a forward-mode derivative."""

    active = False

    def __enter__(self) -> None:
        self.active = True

    def __exit__(self, *exc: object) -> None:
        self.active = False


forwarding = _Forwarding()


class FunctionCtx:
    """What forward leaves for backward."""

    def __init__(self) -> None:
        # Functions that give the saved tensors.
        self._saved: list[Callable[[], Tensor | None]] = []
        self._freed = False
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for ``ctx.saved_tensors`` in backward."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables, but argument "
                    f"{tensors.index(t)} is of type {type(t).__name__}"
                )
        self._saved = [_kept(t) for t in tensors]

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._freed:
            raise RuntimeError(TWICE)
        return tuple(give() for give in self._saved)

    saved_variables = saved_tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Names the inputs that forward changed in place."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Names the outputs that have no gradient."""
        self._constant = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether absent gradients reach backward as zeros (the default) or as None."""
        self._materialize = value


def _kept(t: Tensor | None) -> Callable[[], Tensor | None]:
    """Keeps a tensor, packed if hooks say so; what is given back must not have been written."""
    if t is None:
        return lambda: None
    packed, unpack = saved.pack(t)
    if unpack is not None:
        return lambda: unpack(packed)
    version = alias.version_of(t)

    def give() -> Tensor:
        if alias.version_of(t) != version:
            raise RuntimeError(INPLACE)
        return t

    return give


class _FunctionMeta(type):
    """Keeps ``Function`` from being used without its static methods."""


class Function(FunctionCtx, metaclass=_FunctionMeta):
    """A function whose backward the user writes: subclass with static ``forward``, ``backward``.

    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = torch.tensor(1.0, requires_grad=True)
    >>> Double.apply(x).backward()
    >>> x.grad
    tensor(2.)
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself. Instantiating an autograd "
            "function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: the function is called by ``apply``."""
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the outputs; with ``setup_context`` it takes no ``ctx``."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Fills ``ctx`` from inputs and outputs, where forward takes no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient (or None) for each input of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The outputs' tangents from those of the inputs, for forward-mode derivatives."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward; the outputs' history is this function's backward."""
        # Later attributes are the user's: any name may be set on the context.
        own = {"_forward_cls": cls, "__module__": "torch.autograd.function"}
        ctx = type(cls.__name__ + "Backward", (FunctionCtx,), own)()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        history = open_.state.grad and any(ctx.needs_input_grad)
        inputs = [a for a in args if isinstance(a, Tensor)]
        if history:
            # Histories of the inputs are settled before forward may write to them.
            node = engine.PyNode(cls.__name__ + "Backward", inputs, lambda grads: ())
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        if not history:
            return result
        single = not isinstance(result, (tuple, list))
        outs = [_output(o, ctx, inputs) for o in ((result,) if single else result)]
        node.ctx = ctx  # type: ignore[attr-defined]
        node.outputs = len(outs)
        node.call = functools.partial(_call_backward, cls, ctx, args, outs_like(outs))
        for i, o in enumerate(outs):
            if (
                isinstance(o, Tensor)
                and not any(o is c for c in ctx._constant)
                and (o.dtype.is_floating_point or o.dtype.is_complex)
            ):
                o._value()
                o._trace = o._btrace = None
                o._seen = -1
                o._meta = meta(o._meta.shape, o._meta.dtype, True, False)
                o._hist = (node, i)
        return outs[0] if single else type(result)(outs)


def _output(o: Any, ctx: FunctionCtx, inputs: list[Tensor]) -> Any:
    """An output as the caller gets it: an input given back unchanged becomes an alias of it."""
    if not isinstance(o, Tensor):
        return o
    if any(o is d for d in ctx._dirty):
        if o._meta.leaf and o._meta.requires_grad:
            raise RuntimeError(
                "a leaf Variable that requires grad has been used in an in-place operation."
            )
        return o
    if any(o is t for t in inputs) or o._meta.requires_grad:
        twin = alias.detached(o)
        ctx._constant = tuple(twin if c is o else c for c in ctx._constant)
        return twin
    return o


def outs_like(outs: Sequence[Any]) -> list[Any]:
    """Shapes and dtypes of outputs, to make absent gradients of."""
    return [o._meta if isinstance(o, Tensor) else None for o in outs]


def _call_backward(
    cls: type, ctx: FunctionCtx, args: tuple, metas: list[Any], grads: list[Any]
) -> list[Any]:
    """Runs a user's backward; a gradient for each tensor among ``args``."""
    if ctx._materialize:
        grads = [
            engine.concrete(np.zeros(m.shape, m.dtype.numpy), m.dtype)
            if g is None and m is not None
            else g
            for g, m in zip(grads, metas, strict=True)
        ]
    backward = cls.vjp if cls.vjp is not Function.vjp else cls.backward  # type: ignore[attr-defined]
    if forwarding.active and cls.jvp is not Function.jvp:  # type: ignore[attr-defined]
        backward = functools.partial(_transposed, cls, args)
    results = backward(ctx, *grads)
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    while len(results) > len(args) and results[-1] is None:
        results.pop()
    if len(results) != len(args):
        raise RuntimeError(
            f"function {cls.__name__}Backward returned an incorrect number of gradients "
            f"(expected {len(args)}, got {len(results)})"
        )
    for r in results:
        if r is not None and not isinstance(r, Tensor):
            raise TypeError(
                f"function {cls.__name__}Backward returned a {type(r).__name__} where a Tensor "
                "or None was expected"
            )
    return [r for a, r in zip(args, results, strict=True) if isinstance(a, Tensor)]


def _transposed(cls: Any, args: tuple, ctx: FunctionCtx, *grads: Any) -> tuple:
    """The gradients of a function's inputs by its ``jvp``, which is linear in the tangents."""
    from flambeau.autograd.api import grad  # late: it imports this module

    with enable_grad():
        tangents = [
            engine.concrete(np.zeros(m.shape, m.dtype.numpy), m.dtype).requires_grad_()
            if m is not None
            else None
            for m in (a._meta if need else None for a, need in zip(args, ctx.needs_input_grad))
        ]
        found = cls.jvp(ctx, *tangents)
        outs = found if isinstance(found, (tuple, list)) else (found,)
        pairs = [
            (o, g)
            for o, g in zip(outs, grads, strict=True)
            if g is not None and o is not None and o.requires_grad
        ]
        wanted = [t for t in tangents if t is not None]
        given: tuple = (None,) * len(wanted)
        if pairs:
            through, weights = zip(*pairs, strict=True)
            given = grad(through, wanted, weights, create_graph=True, allow_unused=True)
    rest = iter(given)
    return tuple(None if t is None else next(rest) for t in tangents)


def once_differentiable(f: Callable) -> Callable:
    """A decorator for ``backward``: its results have no history."""

    @functools.wraps(f)
    def wrapped(ctx: Any, *args: Any) -> Any:
        with no_grad():
            return f(ctx, *args)

    return wrapped
