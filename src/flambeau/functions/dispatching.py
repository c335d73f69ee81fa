"""``__torch_dispatch__``: library calls that a mode or the class of an argument carries out.

PyTorch asks below autograd, for each of its C++ operators. There is no dispatcher below a function
here: what is asked about is the call of a public function, as an operator of ``torch.ops.aten``
with the arguments as they were given. Functions that PyTorch composes of several operators come
as one (``aten.linear.default``), backward's own operations do not come at all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flambeau.functions import overriding
from flambeau.record.absent import absent
from flambeau.record.meta import meta
from flambeau.record.trace import defaults
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Operator", "OperatorFamily", "disabled", "operator_of", "state", "wrapper"]


class _State(threading.local):
    """What a thread asks at each call, after ``__torch_function__`` was."""

    def __init__(self) -> None:
        self.classes = True
        self.modes: list[Any] = []


state = _State()

# ---------------------------------------------------------------------------- operators


class Operator:
    """One overload of an operator, such as ``torch.ops.aten.add.Tensor``."""

    def __init__(self, family: OperatorFamily, overload: str) -> None:
        self.overloadpacket = family
        self.namespace = "aten"
        self._overloadname = overload
        self.__name__ = f"{family.__name__}.{overload}"
        self.__qualname__ = self.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the call; classes and modes of ``__torch_dispatch__`` may still take it over."""
        with overriding.DisableTorchFunction():
            return self.overloadpacket.target(*args, **kwargs)

    def name(self) -> str:
        """The name as C++ has it: ``aten::add.Tensor``."""
        end = "" if self._overloadname == "default" else f".{self._overloadname}"
        return f"aten::{self.overloadpacket.__name__}{end}"

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        op = f"aten.{self.overloadpacket.__name__}"
        return f"<OpOverload(op='{op}', overload='{self._overloadname}')>"


class OperatorFamily:
    """All overloads of an operator, such as ``torch.ops.aten.add``."""

    def __init__(self, name: str, target: Callable) -> None:
        self.__name__ = name
        self.target = target
        self._known: dict[str, Operator] = {}

    def __getattr__(self, overload: str) -> Operator:
        if overload.startswith("_"):
            raise AttributeError(overload)
        return self._known.setdefault(overload, Operator(self, overload))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the call."""
        return self.default(*args, **kwargs)

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self.__name__}')>"


_families: dict[str, OperatorFamily] = {}
_OPERATORS = {
    "__getitem__": "index", "__setitem__": "index_put_", "__and__": "bitwise_and",
    "__or__": "bitwise_or", "__xor__": "bitwise_xor", "__invert__": "bitwise_not",
    "__floordiv__": "floor_divide", "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
}  # fmt: skip


# Operators of what is on the right, as functions of both.
_REFLECTED = {
    "rpow": "pow", "__rpow__": "pow", "__rmod__": "remainder", "__rfloordiv__": "floor_divide",
}  # fmt: skip


def family(name: str, target: Callable) -> OperatorFamily:
    """The operators of a function of this name; made when first asked for."""
    found = _families.get(name)
    if found is None:
        found = _families[name] = OperatorFamily(name, target)
    return found


def operator_of(f: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> Operator:
    """The operator that stands for a call of a public function."""
    name = f.__name__
    name = _OPERATORS.get(name, name.strip("_") if name.startswith("__") else name)
    chosen = _OVERLOADS.get(name.rstrip("_"), "default")
    if isinstance(kwargs.get("out"), Tensor):
        chosen = "out"
    overload = chosen if isinstance(chosen, str) else chosen(args, kwargs)
    return getattr(family(name, f), overload)


def _by_second(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    if args and not isinstance(args[0], Tensor):
        return "Scalar_Tensor"
    given = [*args[1:], *kwargs.values()]
    return "Tensor" if given and isinstance(given[-1], Tensor) else "Scalar"


def _power(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    given = dict(zip(("input", "exponent"), args, strict=False)) | kwargs
    if isinstance(given.get("input"), Tensor):
        return "Tensor_Tensor" if isinstance(given.get("exponent"), Tensor) else "Tensor_Scalar"
    return "Scalar"


def _along(without: str, with_dim: str, other: str = "") -> Callable[..., str]:
    """The overload of a reduction: of all, along dimensions, or with another tensor."""

    def choose(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        first = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("other"))
        if other and isinstance(first, Tensor):
            return other
        return without if first is None else with_dim

    return choose


_OVERLOADS: dict[str, Any] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "slice", "index", "split"), "Tensor"),
    **dict.fromkeys(("select", "transpose", "unbind", "softmax", "log_softmax"), "int"),
    **dict.fromkeys(
        ("eq", "ne", "lt", "le", "gt", "ge", "remainder", "fmod", "bitwise_and", "bitwise_or",
         "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "rsub", "fill", "masked_fill",
         "lerp"),
        _by_second,
    ),
    "pow": _power,
    "sum": _along("default", "dim_IntList"),
    "mean": _along("default", "dim"),
    "prod": _along("default", "dim_int"),
    "max": _along("default", "dim", "other"),
    "min": _along("default", "dim", "other"),
    "any": _along("default", "dim"),
    "all": _along("default", "dim"),
    "squeeze": _along("default", "dim"),
    "where": "self",
}  # fmt: skip

_SIZED = {"view", "reshape", "expand", "repeat", "permute", "flip"}
_MAKING = {"ones", "zeros", "empty", "rand", "randn"}


def _with_sizes(name: str, args: tuple) -> tuple:
    """The arguments with sizes that were given one by one as a list, as operators have them."""
    first = 1 if name in _SIZED else 0 if name in _MAKING else len(args)
    sizes = args[first:]
    if sizes and all(isinstance(n, int) for n in sizes):
        return *args[:first], list(sizes)
    return args


# -------------------------------------------------------------------------- who takes over

_kinds: dict[type, bool] = {}


def disabled(func: Callable, types: Iterable[type], args: tuple = (), kwargs: Any = None) -> Any:
    """The ``__torch_dispatch__`` of classes that carry no call out: the call as it is."""
    before, state.classes = state.classes, False
    try:
        return func(*args, **(kwargs or {}))
    finally:
        state.classes = before


def carries_out(kind: type) -> bool:
    """Whether arguments of a class carry calls out."""
    found = _kinds.get(kind)
    if found is None:
        f = getattr(kind, "__torch_dispatch__", None)
        found = f is not None and getattr(f, "__func__", f) is not disabled
        _kinds[kind] = found
    return found


def _found_in(args: Iterable[Any]) -> list[Any]:
    """The arguments whose classes carry calls out, subclasses before their bases."""
    found: list[Any] = []
    for a in args:
        for b in a if isinstance(a, (tuple, list)) else (a,):
            if isinstance(b, Tensor) and b.__class__ is not Tensor and carries_out(type(b)):
                overriding._add(found, b)
    return found


def carried_out(f: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[bool, Any]:
    """Whether a mode or a class carried a call out, and what it gave.

    Raises ``TypeError`` if those asked all give ``NotImplemented``.
    """
    found = _found_in((*args, *kwargs.values())) if state.classes else []
    if not (found or state.modes) or f.__module__.startswith("flambeau.tensor"):
        # What tensors tell of themselves is no operator.
        return False, None
    if f.__name__ == "__rdiv__":
        # Two operators, which are asked about as they are called.
        return False, None
    if f.__name__ in _REFLECTED:
        f, args = vars(overriding.namespaces()[0])[_REFLECTED[f.__name__]], (args[1], args[0])
    op, types = operator_of(f, args, kwargs), tuple(map(type, found))
    args = _with_sizes(op.overloadpacket.__name__, args)
    asked: list[Any] = []
    if state.modes:
        mode = state.modes.pop()
        asked.append(mode)
        try:
            result = mode.__torch_dispatch__(op, types, args, kwargs)
        finally:
            state.modes.append(mode)
        if result is not NotImplemented:
            return True, result
    for a in found:
        asked.append(type(a))
        result = type(a).__torch_dispatch__(op, types, args, kwargs)
        if result is not NotImplemented:
            return True, result
    refusal = TypeError(
        f"Multiple dispatch failed for '{op}'; all __torch_dispatch__ handlers returned "
        f"NotImplemented: {', '.join(map(str, asked))}"
    )
    refusal.unanswered = True  # type: ignore[attr-defined]
    raise refusal


# ------------------------------------------------------------------------------- wrappers


def wrapper(
    cls: type,
    size: Sequence[int],
    strides: Sequence[int] | None = None,
    storage_offset: int | None = None,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    **options: Any,
) -> Any:
    """A tensor of a subclass that has a shape and a dtype, and no values of its own.

    Its class carries out what is done with it. Raises ``NotImplementedError`` with
    ``requires_grad``: gradients of what a class carries out are not there.
    """
    if not carries_out(cls):
        raise RuntimeError(
            f"{cls.__name__} must define __torch_dispatch__: a wrapper has no values of its own"
        )
    if requires_grad:
        raise NotImplementedError(
            f"a wrapper of class {cls.__name__} cannot require grad: Flambeau has no autograd "
            "above __torch_dispatch__; use the wrapped tensors, or __torch_function__"
        )
    from flambeau.device import device as Device

    made = absent(meta(tuple(size), dtype or defaults.dtype))
    made.__class__ = cls
    made._place = Device("cpu" if device is None else device)
    return made


overriding.below.append(carried_out)
Tensor.__torch_dispatch__ = staticmethod(disabled)  # type: ignore[attr-defined]
Tensor._make_wrapper_subclass = staticmethod(wrapper)  # type: ignore[attr-defined]
