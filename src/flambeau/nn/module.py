"""Module: a function with parameters, and the modules it is made of."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.dtypes import of_type
from flambeau.nn import _module_hooks as hooking
from flambeau.nn._module_hooks import (
    Hooked,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn._module_state import State
from flambeau.nn._module_walk import Walk
from flambeau.nn._names import typename
from flambeau.nn.parameter import Buffer, Parameter, is_lazy
from flambeau.nn.registry import Hooks, Registry
from flambeau.tensor import Tensor

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

_REGISTRIES = ("_parameters", "_buffers", "_modules")
_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_CALL_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ANYWHERE = hooking.everywhere
_NOTHING: Any = object()


def _forward_unimplemented(self: Any, *input: Any) -> None:
    """Computes the module; every subclass defines it.

    Raises: ``NotImplementedError``.
    """
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


def _addindent(text: str, by: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * by + line for line in rest)])


def _moved(t: Tensor, device: Any) -> Tensor:
    try:
        return t.to(device)
    except NotImplementedError as error:
        raise NotImplementedError(
            f"{error} Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when "
            "moving module from meta to a different device."
        ) from None


class Module(Walk, State, Hooked):
    """Base of all neural networks: what is assigned to it and is a parameter, a buffer or another
    module gets registered under that name.

    >>> class Shift(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.by = nn.Parameter(torch.ones(2))
    ...
    ...     def forward(self, x):
    ...         return x + self.by
    >>> Shift()(torch.zeros(2))
    tensor([1., 1.], grad_fn=<AddBackward0>)
    """

    dump_patches: bool = False
    _version: int = 1
    training: bool
    call_super_init: bool = False
    _compiled_call_impl: Callable | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.call_super_init is False and bool(kwargs):
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                f"'{next(iter(kwargs))}'"
            )
        if self.call_super_init is False and bool(args):
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but "
                f"{len(args) + 1} were given"
            )
        state = self.__dict__
        state["training"] = True
        for name in _REGISTRIES:
            registry = Registry()
            registry.own(self)
            state[name] = registry
        state["_non_persistent_buffers_set"] = set()
        state["_is_full_backward_hook"] = None
        live = state["_hooked"] = []
        for name in _HOOKS:
            state[name] = Hooks(live) if name in _CALL_HOOKS else OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _forward_unimplemented

    # ------------------------------------------------------------------------------ calling

    def __call__(self, input: Any = _NOTHING, /, *args: Any, **kwargs: Any) -> Any:
        # One argument is passed on as it is: gathering and spreading it costs as much as the call.
        if input is _NOTHING:
            if self._hooked or _ANYWHERE:
                return self._call_with_hooks(**kwargs)
            return self.forward(**kwargs)
        if self._hooked or _ANYWHERE:
            return self._call_with_hooks(input, *args, **kwargs)
        if args or kwargs:
            return self.forward(input, *args, **kwargs)
        return self.forward(input)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return Module.__call__(self, *args, **kwargs)

    _wrapped_call_impl = _call_impl

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: calls are compiled as they repeat. Takes what ``torch.compile`` takes."""

    # ------------------------------------------------------------------------- registration

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is part of the module but no parameter.

        Args:
            persistent: whether it belongs to the :meth:`state_dict`.
        Raises: ``TypeError`` if the name is no string or ``tensor`` no tensor, ``KeyError`` for a
        name with a dot, an empty one, or one that is taken.

        >>> module = nn.Module()
        >>> module.register_buffer("mean", torch.zeros(2))
        >>> module.mean
        tensor([0., 0.])
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        for hook in hooking.buffer_registration.values():
            changed = hook(self, name, tensor)
            tensor = tensor if changed is None else changed
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or ``None`` for one that is not used.

        Raises: ``TypeError`` if it is no parameter, ``ValueError`` if it is not a leaf,
        ``KeyError`` for a name with a dot, an empty one, or one that is taken.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            for hook in hooking.parameter_registration.values():
                changed = hook(self, name, param)
                param = param if changed is None else changed
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child; ``module.name`` is how it is found.

        Raises: ``TypeError`` if it is no module, ``KeyError`` for a name with a dot, an empty one,
        or one that is taken.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        for hook in hooking.module_registration.values():
            changed = hook(self, name, module)
            module = module if changed is None else changed
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, what: str, name: Any, registry: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"attribute '{name}' already exists")

    # --------------------------------------------------------------------------- attributes

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        for kind in _REGISTRIES:
            registry = state.get(kind)
            if registry is not None and name in registry:
                return registry[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if name in _REGISTRIES:
            self._set_registry(name, value)
            return
        if name in _CALL_HOOKS:
            state[name] = Hooks(state["_hooked"], value)
            return
        params = state.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
            return
        if params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
            return
        modules = state.get("_modules")
        if isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_modules")
            for hook in hooking.module_registration.values():
                changed = hook(self, name, value)
                value = value if changed is None else changed
            modules[name] = value
            return
        if modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            modules[name] = value
            return
        buffers = state.get("_buffers")
        if isinstance(value, Tensor) and isinstance(value, Buffer):
            if buffers is None:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            if name not in buffers:
                self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
            return
        if buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            for hook in hooking.buffer_registration.values():
                changed = hook(self, name, value)
                value = value if changed is None else changed
            buffers[name] = value
            return
        object.__setattr__(self, name, value)

    def _forget(self, name: str, but: str) -> None:
        """Frees a name for another kind of thing."""
        state = self.__dict__
        for kind in _REGISTRIES:
            if kind != but:
                registry = state.get(kind)
                if registry is not None:
                    registry.pop(name, None)
        if but not in state or name not in state[but]:
            state.pop(name, None)
        state["_non_persistent_buffers_set"].discard(name)

    def _set_registry(self, kind: str, entries: Any) -> None:
        old = self.__dict__.get(kind)
        if isinstance(old, Registry):
            old.disown(self)
        registry = entries if isinstance(entries, Registry) else Registry(entries)
        registry.own(self)
        self.__dict__[kind] = registry

    def __delattr__(self, name: str) -> None:
        for kind in _REGISTRIES:
            registry = self.__dict__.get(kind)
            if registry is not None and name in registry:
                del registry[name]
                if kind == "_buffers":
                    self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(name for name in names if not name[0].isdigit())

    def __getstate__(self) -> dict:
        # Registered values are found through the registries: the mirrored entries stay here.
        state = self.__dict__.copy()
        for kind in _REGISTRIES:
            for name, value in state.get(kind, {}).items():
                if state.get(name, state) is value:
                    del state[name]
        return state

    def __setstate__(self, state: dict) -> None:
        entries = dict(state)
        registries = {kind: entries.pop(kind, {}) for kind in _REGISTRIES}
        self.__dict__.update(entries)
        for kind, registry in registries.items():
            self._set_registry(kind, registry)
        live = self.__dict__["_hooked"] = []
        for name in _HOOKS:
            found = self.__dict__.get(name, {})
            self.__dict__[name] = Hooks(live, found) if name in _CALL_HOOKS else OrderedDict(found)
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    # --------------------------------------------------------------------------- conversion

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with flambeau.no_grad():
                changed = fn(param)
            if changed is not param:
                param.data = changed
            grad = param._grad
            if grad is not None:
                with flambeau.no_grad():
                    changed = fn(grad)
                if changed is not grad:
                    grad.data = changed
        for name, buffer in self._buffers.items():
            if buffer is not None:
                changed = fn(buffer)
                if is_lazy(buffer) and changed is not buffer:
                    buffer.data, changed = changed, buffer
                self._buffers[name] = changed
        return self

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Calls ``fn`` with every module below, children first, and with this one.

        >>> net = nn.Sequential(nn.ReLU()).apply(lambda module: print(type(module).__name__))
        ReLU
        Sequential
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Converts parameters and buffers in place: ``to(dtype)``, ``to(device)``, ``to(tensor)``.

        Only floating and complex ones change dtype. Raises: ``TypeError`` for a dtype that is
        neither.

        >>> nn.Linear(2, 1).to(torch.float64).weight.dtype
        torch.float64
        """
        dtype = of_type(kwargs.get("dtype"))
        device = kwargs.get("device")
        for value in map(of_type, args):
            if isinstance(value, flambeau.dtype):
                dtype = value
            elif isinstance(value, Tensor):
                dtype, device = value.dtype, value.device
            elif isinstance(value, (str, int, flambeau.device)) and not isinstance(value, bool):
                device = value
        if device is not None:
            # Says so where the device does not exist.
            meta = flambeau.empty(0, device=device).is_meta
            self._apply(lambda t: t if t.is_meta is meta else _moved(t, device))
        memory_format = kwargs.get("memory_format")
        if memory_format is not None:
            # Only what has channels to be last.
            self._apply(lambda t: t.to(memory_format=memory_format) if t.dim() in (4, 5) else t)
        if dtype is None:
            return self
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        if dtype.is_complex:
            warnings.warn(
                "Complex modules are a new feature under active development whose design may "
                "change, and some modules might not work as expected when using complex tensors "
                "as parameters or buffers. Please file an issue at "
                "https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml if a "
                "complex module does not work as expected.",
                stacklevel=2,
            )
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() or t.is_complex() else t)

    def type(self, dst_type: Any) -> Module:
        """Converts all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def _floating(self, dtype: Any) -> Module:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Module:
        """Converts the floating parameters and buffers to float32."""
        return self._floating(flambeau.float32)

    def double(self) -> Module:
        """Converts the floating parameters and buffers to float64."""
        return self._floating(flambeau.float64)

    def half(self) -> Module:
        """Converts the floating parameters and buffers to float16."""
        return self._floating(flambeau.float16)

    def bfloat16(self) -> Module:
        """Converts the floating parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self) -> Module:
        """The module: it is on the CPU. ``NotImplementedError`` for one on the meta device."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Module:
        """Raises as :func:`flambeau.empty` does for a device that does not exist."""
        return self.to("cuda" if device is None else device)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Gives parameters and buffers memory of their own that holds no values yet."""
        return self._apply(lambda t: flambeau.empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Module:
        """Moves parameters and buffers to shared memory, as :meth:`Tensor.share_memory_` does."""
        return self._apply(lambda t: t.share_memory_())

    # --------------------------------------------------------------------------------- modes

    def train(self, mode: bool = True) -> Module:
        """Sets training mode here and below (dropout and batch norm look at it)."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Sets evaluation mode here and below."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Sets whether the parameters record gradients."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of the parameters, or sets them to zero."""
        for param in self.parameters():
            grad = param._grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    # ------------------------------------------------------------------------------ printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's ``repr``; for subclasses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()
        ]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        if not lines and not children:
            return f"{self._get_name()}()"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)"

    def _replicate_for_data_parallel(self) -> Module:
        replica = self.__new__(type(self))
        replica.__setstate__(
            {**self.__getstate__(), **{k: dict(self.__dict__[k]) for k in _REGISTRIES}}
        )
        return replica
