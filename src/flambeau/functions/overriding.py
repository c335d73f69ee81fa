"""``__torch_function__``: library calls that the class of an argument, or a mode, takes over.

Ordinary programs pay nothing for it. When the first class that could take calls over is defined
(or a mode is entered), every public function gets code that asks first; the function objects
stay the same, so that whoever holds one (``from torch import add``) has its calls asked about, too.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import dtype
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.record.builder import shared
from flambeau.record.trace import open_
from flambeau.tensor import Size, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "disabled",
    "handled",
    "install",
    "overloaded",
    "overrides",
    "state",
]


class _State(threading.local):
    """What a thread asks at each call."""

    def __init__(self) -> None:
        self.classes = True
        self.modes: list[Any] = []


state = _State()
# Whether public functions ask; the functions as they were, by the function that asks.
installed: dict[str, bool] = {"done": False}
_plain: dict[Any, Callable] = {}
# What is asked about calls that nobody here takes over (``dispatching.carried_out``, once there).
below: list[Callable[..., tuple[bool, Any]]] = []
# Results that keep their own class: they are no results of the tensor's.
unconverted: set[Any] = set()


def disabled(func: Callable, types: Iterable[type], args: tuple = (), kwargs: Any = None) -> Any:
    """The ``__torch_function__`` of classes that take no call over: the call as it is."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


class DisableTorchFunctionSubclass:
    """A block in which classes take no calls over; modes still do."""

    def __enter__(self) -> None:
        self._before = state.classes
        state.classes = False

    def __exit__(self, *exc: object) -> None:
        state.classes = self._before


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """A block in which neither classes nor modes take calls over."""

    def __enter__(self) -> None:
        super().__enter__()
        self._modes, state.modes = state.modes, []

    def __exit__(self, *exc: object) -> None:
        state.modes = self._modes
        super().__exit__(*exc)


# ------------------------------------------------------------------------ who takes over

_kinds: dict[type, bool] = {}
_NEVER = frozenset({Tensor, int, float, bool, complex, str, type(None), dtype, Size, slice})


def overrides(kind: type) -> bool:
    """Whether arguments of a class take calls over."""
    found = _kinds.get(kind)
    if found is None:
        f = getattr(kind, "__torch_function__", None)
        found = f is not None and kind is not Tensor and getattr(f, "__func__", f) is not disabled
        _kinds[kind] = found
    return found


def overloaded(args: Iterable[Any]) -> list[Any]:
    """The arguments whose classes may take a call over, subclasses before their bases."""
    found: list[Any] = []
    for a in args:
        kind = a.__class__
        if kind in _NEVER:
            continue
        if kind is tuple or kind is list:
            for b in a:
                if b.__class__ not in _NEVER and overrides(b.__class__):
                    _add(found, b)
        elif overrides(kind):
            _add(found, a)
    return found


def _add(found: list[Any], a: Any) -> None:
    kind = type(a)
    if any(type(b) is kind for b in found):
        return
    at = next((i for i, b in enumerate(found) if issubclass(kind, type(b))), len(found))
    found.insert(at, a)


def handled(func: Callable, found: list[Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """The call by the modes, and then by the classes of arguments, until one has an answer.

    Raises ``TypeError`` if none has.
    """
    types = tuple(map(type, found))
    if state.modes:
        mode = state.modes.pop()
        try:
            result = mode.__torch_function__(func, types, args, kwargs)
        finally:
            state.modes.append(mode)
        if result is not NotImplemented:
            return result
    elif state.classes:
        for a in found:
            result = type(a).__torch_function__(func, types, args, kwargs)
            if result is not NotImplemented:
                return result
    refusal = TypeError(_refusal(func, types))
    refusal.unanswered = True  # type: ignore[attr-defined]
    raise refusal


def _refusal(func: Callable, types: tuple[type, ...]) -> str:
    name = name_of(func) or getattr(func, "__name__", str(func))
    if name.startswith("torch.nn.functional."):
        text = f"no implementation found for '{name}' on types that implement __torch_function__: "
        text += str(list(types))
        if state.modes:
            text += f" nor was it found on the currently active mode {state.modes[-1]}"
        return text
    asked = [f"mode object {state.modes[-1]}"] if state.modes else []
    asked += [f"tensor subclass {kind}" for kind in types]
    lines = "".join(f"  - {x}\n" for x in asked)
    return (
        f"Multiple dispatch failed for '{name}'; all __torch_function__ handlers returned "
        f"NotImplemented:\n\n{lines}\nFor more information, try re-running with "
        "TORCH_LOGS=not_implemented"
    )


class _Asking:
    """What a public function does once classes or modes may take its calls over."""

    __slots__ = ("public", "inner")

    def __init__(self, public: Callable, inner: Callable) -> None:
        self.public = public
        self.inner = inner

    def __call__(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        # What a body calls is part of a call that was asked about.
        if open_.trace.builder is None:
            if state.modes:
                return handled(self.public, _all(args, kwargs), args, kwargs)
            if state.classes:
                found = _all(args, kwargs)
                if found:
                    return handled(self.public, found, args, kwargs)
            for carry_out in below:
                done, result = carry_out(self.public, args, kwargs)
                if done:
                    return result
        return self.inner(*args, **kwargs)


def _all(args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    return overloaded((*args, *kwargs.values()) if kwargs else args)


@functools.cache
def _code(free: int) -> CodeType:
    """The code of a function that asks, with as many free variables as the one it replaces."""
    names = "".join(f"v{i}, " for i in range(free))
    source = f"""
def make():
    {names}end = (None,) * {free + 1}
    def call(*args, _asking, **kwargs):
        return _asking(args, kwargs)
        {names or "None"}
    return call
"""
    scope: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), scope)
    return scope["make"]().__code__


def _ask(f: Any) -> None:
    """Has a function ask before it does what it did."""
    if f in _plain:
        return
    inner = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    for part in ("__kwdefaults__", "__annotations__", "__qualname__", "__module__", "__doc__"):
        setattr(inner, part, getattr(f, part))
    inner.__dict__.update(f.__dict__)
    _plain[f] = inner
    fn = f.__globals__.get("_fn")
    if shared["wrappers"].get(fn) is f:
        # A recorded function writes its code when it has been called a few times.
        shared["wrappers"][fn] = inner
        if "_self" in f.__globals__:
            f.__globals__["_self"] = inner
    if not hasattr(f, "__wrapped__"):
        f.__wrapped__ = inner
    f.__defaults__ = None
    f.__kwdefaults__ = {"_asking": _Asking(f, inner)}
    code = _code(len(f.__code__.co_freevars))
    f.__code__ = code.replace(co_name=f.__name__, co_qualname=f.__qualname__)


class _AskingProperty(property):
    """A property of tensors that asks first."""

    def __get__(self, t: Any, kind: type | None = None) -> Any:
        if t is None:
            return self
        if (t.__class__ is not Tensor or state.modes) and open_.trace.builder is None:
            found = [t] if state.classes and overrides(t.__class__) else []
            if found or state.modes:
                return handled(self.__get__, found, (t,), {})
        return property.__get__(self, t, kind)

    def __set__(self, t: Any, value: Any) -> None:
        if (t.__class__ is not Tensor or state.modes) and open_.trace.builder is None:
            found = overloaded((t, value)) if state.classes else []
            if found or state.modes:
                handled(self.__set__, found, (t, value), {})
                return
        property.__set__(self, t, value)

    @property
    def __name__(self) -> str:
        return self.fget.__name__


# ---------------------------------------------------------------------------- installation

# Methods that make, name or take tensors apart; all others with underscores are our own.
_OPERATORS = frozenset(
    f"__{name}__"
    for name in (
        "bool", "float", "int", "complex", "index", "len", "contains", "getitem", "setitem",
        "repr", "format", "array", "deepcopy", "neg", "pos", "abs", "invert", "reduce_ex",
        "rdiv", "rsub", "rpow", "floordiv", "rfloordiv", "rmod", "eq", "and", "or",
        "xor", "lshift", "rshift",
    )
)  # fmt: skip
# What operators are called inside the library.
_UNNAMED = frozenset({"method", "product", "getitem", "setitem", "_invert"})
# Names that are not about tensors.
IGNORED = frozenset({
    "are_deterministic_algorithms_enabled", "as_subclass", "broadcast_shapes", "can_cast",
    "compile", "from_dlpack", "from_numpy", "get_default_dtype", "get_float32_matmul_precision",
    "get_num_interop_threads", "get_num_threads", "get_rng_state", "initial_seed", "install",
    "is_anomaly_enabled", "is_grad_enabled", "is_inference_mode_enabled", "is_storage",
    "is_tensor", "is_deterministic_algorithms_warn_only_enabled", "load", "manual_seed",
    "promote_types", "result_type", "save", "seed", "set_default_dtype",
    "set_default_tensor_type", "set_float32_matmul_precision", "set_flush_denormal",
    "set_num_interop_threads", "set_num_threads", "set_printoptions", "set_rng_state",
    "to_dlpack", "typename", "uninstall", "use_deterministic_algorithms", "handle_torch_function",
    "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
})  # fmt: skip


def functions_of(namespace: Any) -> Iterator[tuple[str, Any]]:
    """The library's functions among the public names of a module."""
    for name, f in vars(namespace).items():
        if name.startswith("_") or name in IGNORED or not isinstance(f, FunctionType):
            continue
        if (f.__module__ or "").startswith("flambeau"):
            yield name, f


def methods_of(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and operators of tensors."""
    for base in reversed(kind.__mro__[:-1]):
        for name, f in vars(base).items():
            public = name in _OPERATORS or not name.startswith("_")
            if public and name not in IGNORED and isinstance(f, FunctionType):
                yield name, f


def properties_of(kind: type) -> Iterator[tuple[str, property]]:
    """The public properties of tensors."""
    for base in reversed(kind.__mro__[:-1]):
        for name, p in vars(base).items():
            if isinstance(p, property) and not name.startswith("_"):
                yield name, p


def namespaces() -> list[Any]:
    """The modules whose functions may be taken over."""
    import flambeau  # upward: the package that this is part of
    from flambeau import fft, linalg, special  # upward: namespaces over these functions
    from flambeau.nn import functional  # upward: a namespace over these functions

    return [flambeau, functional, linalg, fft, special]


def install() -> None:
    """Has every public function ask from now on."""
    if installed["done"]:
        return
    installed["done"] = True
    renewed()
    for name, f in list(methods_of(Tensor)):
        if f.__name__ in _UNNAMED:
            f.__name__, f.__qualname__ = name, f"Tensor.{name}"
        _ask(f)
    for name, p in dict(properties_of(Tensor)).items():
        setattr(Tensor, name, _AskingProperty(p.fget, p.fset, p.fdel, p.__doc__))
    for name in ("grad", "_base"):
        if isinstance(vars(Tensor).get(name), property):
            unconverted.add(vars(Tensor)[name].__get__)


def renewed() -> None:
    """Has functions that took the place of others ask, if those did."""
    if installed["done"]:
        for module in namespaces():
            for _, f in list(functions_of(module)):
                _ask(f)


def _taken_over(f: Callable, args: Iterable[Any]) -> bool:
    """Whether a call failed as an argument that is no tensor wants it: ``f`` asks from now on.

    Such classes are only met when a function of tensors fails on them.
    """
    if open_.trace.builder is not None or not state.classes or f in _plain:
        return False
    if all(isinstance(a, Tensor) for a in overloaded(args)) or _inner():
        return False
    install()
    return f in _plain


def _inner() -> bool:
    """Whether the call that failed was made by a function of the library."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<recorder") and not name.endswith(_ENTRANCES):
            return name.startswith(_HOME)
        frame = frame.f_back
    return False


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Where calls of recorded functions, and those that name the argument that is no tensor, begin.
_ENTRANCES = tuple(
    os.path.join(*parts)
    for parts in (("record", "macro.py"), ("record", "calls.py"), ("functions", "checks.py"))
)
shared["taken_over"] = _taken_over


def name_of(f: Callable) -> str | None:
    """The public name of something that can be taken over; None if it cannot."""
    package, *inner = namespaces()
    for namespace in (*inner, package):
        for name, known in functions_of(namespace):
            if known is f:
                return f"{namespace.__name__.replace('flambeau', 'torch', 1)}.{name}"
    for name, known in methods_of(Tensor):
        if known is f:
            return f"torch.Tensor.{name}"
    for name, p in properties_of(Tensor):
        if p.__get__ == f:
            return f"torch.Tensor.{name}.__get__"
    return None


# --------------------------------------------------------------------------- as a subclass


def converted(result: Any, kind: type, given: Iterable[Any]) -> Any:
    """The tensors of a result as instances of ``kind``; ``given`` stay what they are."""
    if isinstance(result, Tensor):
        if isinstance(result, kind):
            return result
        if result.__class__ is Tensor and not any(result is a for a in given):
            # Nobody else has it.
            result.__class__ = kind
            return result
        return as_subclass(result, kind)
    if isinstance(result, (tuple, list)):
        parts = [converted(r, kind, given) for r in result]
        return type(result)._make(parts) if hasattr(result, "_make") else type(result)(parts)
    return result


def _flat(args: Iterable[Any]) -> Iterator[Any]:
    for a in args:
        if isinstance(a, (tuple, list)):
            yield from a
        else:
            yield a


def _torch_function(
    cls: type, func: Callable, types: Iterable[type], args: tuple = (), kwargs: Any = None
) -> Any:
    """Makes the call without asking again; tensors in its result are instances of ``cls``.

    What a subclass inherits, and calls by ``super()``. ``NotImplemented`` if another class among
    ``types`` knows better.
    """
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    kwargs = kwargs or {}
    with DisableTorchFunctionSubclass():
        result = func(*args, **kwargs)
    if func in unconverted or result is None:
        return result
    return converted(result, cls, [*_flat(args), *_flat(kwargs.values())])


def as_subclass(input: Tensor, cls: type) -> Any:
    """The same value, memory and history as an instance of a subclass of ``Tensor``.

    Raises ``TypeError`` for other classes.

    >>> class Named(torch.Tensor):
    ...     pass
    >>> type(tensor([1.0]).as_subclass(Named) * 2).__name__
    'Named'
    """
    if not isinstance(cls, type) or not issubclass(cls, Tensor):
        raise TypeError(
            "Creating a Tensor subclass from a class that does not inherit from Tensor is not "
            "possible. Make sure your class inherits from Tensor."
        )
    shape = input._meta.shape
    made = alias.view(
        input, alias.spec_of(input), PRIMITIVES["reshape"], shape=shape, grad="AliasBackward0"
    )
    made.__class__ = cls
    return made


def _make_subclass(cls: type, data: Tensor, require_grad: bool = False, **options: Any) -> Any:
    """A leaf of a subclass on the memory of ``data``."""
    made = alias.detached(data)
    made.__class__ = cls
    return made.requires_grad_(require_grad)


def _init_subclass(cls: type, **options: Any) -> None:
    """Subclasses made outside of the package may take calls over."""
    super(Tensor, cls).__init_subclass__(**options)
    if "__torch_dispatch__" in vars(cls):
        import flambeau.functions.dispatching  # noqa: F401
    if overrides(cls) or "__torch_dispatch__" in vars(cls):
        install()


for _name, _value in {
    "__torch_function__": classmethod(_torch_function),
    "__init_subclass__": classmethod(_init_subclass),
    "as_subclass": as_subclass,
    "_make_subclass": staticmethod(_make_subclass),
}.items():
    setattr(Tensor, _name, _value)

SAMPLES = {
    "Tensor.as_subclass": "x, torch.Tensor; i.t(), torch.Tensor; !x, int; !x",
}
