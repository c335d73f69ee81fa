"""Hooks of modules: how they are registered, and the call that runs them."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.autograd.function import Function
from flambeau.tensor import Tensor
from flambeau.utils.hooks import RemovableHandle

__all__ = [
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

everywhere_forward: dict = OrderedDict()
everywhere_forward_always: dict = OrderedDict()
everywhere_forward_with_kwargs: dict = OrderedDict()
everywhere_forward_pre: dict = OrderedDict()
everywhere_backward: dict = OrderedDict()
everywhere_backward_pre: dict = OrderedDict()
buffer_registration: dict = OrderedDict()
module_registration: dict = OrderedDict()
parameter_registration: dict = OrderedDict()


# Holds something while a hook for all modules may be there: a call asks this, and its module's
# own `_hooked`, instead of eight dictionaries.
everywhere: list[bool] = []


def _hang(hooks: dict, hook: Callable, *extras: dict, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks, extra_dict=list(extras))
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _hang_everywhere(hooks: dict, hook: Callable, *extras: dict) -> RemovableHandle:
    everywhere[:] = [True]
    return _hang(hooks, hook, *extras)


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the forward of every module; it may give new ones."""
    return _hang_everywhere(everywhere_forward_pre, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the forward of every module."""
    handle = _hang_everywhere(
        everywhere_forward, hook, everywhere_forward_with_kwargs, everywhere_forward_always
    )
    if with_kwargs:
        everywhere_forward_with_kwargs[handle.id] = True
    if always_call:
        everywhere_forward_always[handle.id] = True
    return handle


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` before the backward of every module."""
    return _hang_everywhere(everywhere_backward_pre, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` after the backward of every module."""
    return _hang_everywhere(everywhere_backward, hook)


register_module_backward_hook = register_module_full_backward_hook


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` whenever a buffer is registered."""
    return _hang(buffer_registration, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` whenever a submodule is registered."""
    return _hang(module_registration, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, param)`` whenever a parameter is registered."""
    return _hang(parameter_registration, hook)


# ------------------------------------------------------------------------- backward hooks


class BackwardHookFunction(Function):
    """Hands tensors on unchanged, and the gradients that come back to ``arrived``."""

    @staticmethod
    def forward(ctx: Any, arrived: Callable, *tensors: Tensor) -> Any:
        ctx.arrived = arrived
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, *ctx.arrived(grads)


class _Backward:
    """One call of a module with backward hooks: where its gradients enter and leave."""

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs: tuple | None = None
        self.n_inputs = 0
        self.watched = False

    def inputs(self, args: tuple) -> tuple:
        """The arguments of the call, watched."""
        self.n_inputs = len(args)
        return self._pass(args, self._input_grads, track=True) if self.hooks else args

    def outputs(self, result: Any) -> Any:
        """The result of the call, watched."""
        if isinstance(result, Tensor):
            return self._pass((result,), self._output_grads)[0]
        if isinstance(result, (tuple, list)):
            passed = self._pass(tuple(result), self._output_grads)
            if hasattr(result, "_make"):
                return type(result)._make(passed)
            return type(result)(passed)
        return result

    def _pass(self, values: tuple, arrived: Callable, track: bool = False) -> tuple:
        places = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
        if not any(values[i].requires_grad for i in places):
            return values
        size = len(values)

        def spread(grads: tuple) -> tuple:
            full: list[Any] = [None] * size
            for i, g in zip(places, grads, strict=True):
                full[i] = g
            full = arrived(tuple(full))
            return tuple(full[i] for i in places)

        passed = BackwardHookFunction.apply(spread, *[values[i] for i in places])
        if track:
            self.watched = True
        new = list(values)
        for i, t in zip(places, passed, strict=True):
            # What needs no gradient stays the caller's own tensor.
            if values[i].requires_grad:
                new[i] = t
        return tuple(new)

    def _output_grads(self, grads: tuple) -> tuple:
        for hook in self.pre_hooks:
            changed = hook(self.module, grads)
            if changed is not None:
                grads = _same_length(changed, grads, "Backward pre hook", "grad_output")
        self.grad_outputs = grads
        if self.hooks and not self.watched:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients. See "
                "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
                "#torch.nn.Module.register_full_backward_hook for more details.",
                stacklevel=5,
            )
            for hook in self.hooks:
                if hook(self.module, (None,) * self.n_inputs, grads) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
            self.grad_outputs = None
        return grads

    def _input_grads(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            # The output gradients never came: the inputs were used outside the outputs.
            return grads
        for hook in self.hooks:
            changed = hook(self.module, grads, self.grad_outputs)
            if changed is not None:
                grads = _same_length(changed, grads, "Backward hook", "grad_input")
        self.grad_outputs = None
        return grads


def _same_length(changed: Any, grads: tuple, who: str, what: str) -> tuple:
    changed = changed if isinstance(changed, tuple) else (changed,)
    if len(changed) != len(grads):
        raise RuntimeError(
            f"{who} returned an invalid number of {what}, got {len(changed)}, but expected "
            f"{len(grads)}"
        )
    return changed


# ----------------------------------------------------------------------------- the mix-in


class Hooked:
    """The part of :class:`Module` that keeps hooks and calls ``forward`` among them."""

    def _hang(
        self, hooks: dict, hook: Callable, *extras: dict, prepend: bool = False
    ) -> RemovableHandle:
        return _hang(hooks, hook, *extras, prepend=prepend)

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before ``forward``; what it gives replaces the arguments.

        Args:
            prepend: puts the hook before those already there.
            with_kwargs: calls ``hook(module, args, kwargs)``, which gives ``(args, kwargs)``.

        >>> layer = nn.ReLU()
        >>> handle = layer.register_forward_pre_hook(lambda module, args: (-args[0],))
        >>> layer(torch.tensor([-1.0, 2.0]))
        tensor([1., 0.])
        """
        handle = self._hang(
            self._forward_pre_hooks, hook, self._forward_pre_hooks_with_kwargs, prepend=prepend
        )
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        return handle

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after ``forward``; what it gives is the output.

        Args:
            prepend: puts the hook before those already there.
            with_kwargs: calls ``hook(module, args, kwargs, output)``.
            always_call: calls the hook also when ``forward`` raised.
        """
        handle = self._hang(
            self._forward_hooks,
            hook,
            self._forward_hooks_with_kwargs,
            self._forward_hooks_always_called,
            prepend=prepend,
        )
        if with_kwargs:
            self._forward_hooks_with_kwargs[handle.id] = True
        if always_call:
            self._forward_hooks_always_called[handle.id] = True
        return handle

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` with the gradients of the outputs; it may replace
        them."""
        return self._hang(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are
        known; it may replace those of the inputs."""
        if self._is_full_backward_hook is False:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = True
        return self._hang(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The old form of :meth:`register_full_backward_hook`; here the gradients it sees are
        those of the full one."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = False
        return self._hang(self._backward_hooks, hook)

    def _call_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        if not (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            self._hooked.clear()
            if not (
                everywhere_forward
                or everywhere_forward_pre
                or everywhere_backward
                or everywhere_backward_pre
            ):
                everywhere.clear()
                return self.forward(*args, **kwargs)
        called: set[int] = set()
        try:
            return self._call_among(args, kwargs, called)
        except Exception:
            # Hooks that are always called get no result; their own errors are only warned of.
            for hooks, always, with_kwargs in (
                (everywhere_forward, everywhere_forward_always, everywhere_forward_with_kwargs),
                (
                    self._forward_hooks,
                    self._forward_hooks_always_called,
                    self._forward_hooks_with_kwargs,
                ),
            ):
                for key, hook in list(hooks.items()):
                    if key not in always or key in called:
                        continue
                    try:
                        if key in with_kwargs:
                            hook(self, args, kwargs, None)
                        else:
                            hook(self, args, None)
                    except Exception as e:
                        warnings.warn(
                            "forward hook with ``always_call=True`` raised an exception that was "
                            f"silenced as another error was raised in forward: {e!s}",
                            stacklevel=2,
                        )
            raise

    def _call_among(self, args: tuple, kwargs: dict, called: set[int]) -> Any:
        hooks = [*everywhere_backward.values(), *self._backward_hooks.values()]
        pre_hooks = [*everywhere_backward_pre.values(), *self._backward_pre_hooks.values()]
        for hook in list(everywhere_forward_pre.values()):
            args = _as_args(hook(self, args), args)
        for key, hook in list(self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            f"new_kwargs), but got {changed}."
                        )
                    args, kwargs = changed
            else:
                args = _as_args(hook(self, args), args)
        backward = _Backward(self, hooks, pre_hooks) if hooks or pre_hooks else None
        if backward is not None:
            args = backward.inputs(args)
        result = self.forward(*args, **kwargs)
        for table, with_kwargs in (
            (everywhere_forward, everywhere_forward_with_kwargs),
            (self._forward_hooks, self._forward_hooks_with_kwargs),
        ):
            for key, hook in list(table.items()):
                called.add(key)
                if key in with_kwargs:
                    changed = hook(self, args, kwargs, result)
                else:
                    changed = hook(self, args, result)
                if changed is not None:
                    result = changed
        return result if backward is None else backward.outputs(result)


def _as_args(changed: Any, args: tuple) -> tuple:
    if changed is None:
        return args
    return changed if isinstance(changed, tuple) else (changed,)
