"""The base class of optimizers: parameter groups, state, and the step."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import flambeau
from flambeau.optim import _apply
from flambeau.optim._apply import Group, Item, Number, Recipe, State
from flambeau.optim._hooks import (
    RemovableHandle,
    add_hook,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    with_hooks,
)
from flambeau.optim._state_dict import pack, restore

__all__ = [
    "Optimizer",
    "ParamsT",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]

ParamsT = (
    Iterable["flambeau.Tensor"] | Iterable[dict[str, Any]] | Iterable[tuple[str, "flambeau.Tensor"]]
)

# Devices on which PyTorch lets a step be captured in a graph.
_CAPTURABLE = ["cuda", "xpu", "hpu", "privateuseone", "xla"]

_HOOK_TABLES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()
"""The default of an option that every parameter group has to give."""


class Optimizer:
    """Updates parameters from their gradients.

    A subclass writes either a whole ``step``, as in PyTorch, or the two parts of which :meth:`step`
    is made: ``init_state(param, group)``, a parameter's state before its first update, and
    ``update(param, grad, state, n)``, the rule, whose numbers ``n`` come from ``numbers(state,
    group)``.

    Args:
        params: tensors, ``(name, tensor)`` pairs, or dictionaries with ``"params"`` and options of
            their own.
        defaults: the options of groups that do not give them.

    Raises:
        TypeError: if ``params`` is a tensor, or holds something else than tensors.
        ValueError: if it is empty, holds tensors that are not leaves, or the same tensor in two
            groups.

    >>> import flambeau as torch
    >>> weight = torch.ones(2, requires_grad=True)
    >>> optimizer = torch.optim.SGD([weight], lr=0.5)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight
    tensor([0.5000, 0.5000], requires_grad=True)
    """

    complex_as_pairs = True
    """Whether a complex parameter is updated as twice as many real ones."""

    sparse_message: str | None = "{} does not support sparse gradients"
    """What to say of a sparse gradient; None if the rule takes them."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables()
        if isinstance(params, flambeau.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {params.type()}"
            )
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.__dict__["step"])

    # --- the step ---------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        With ``closure``, calls it first, with gradients enabled, and returns the loss it returns.
        """
        loss = None
        if closure is not None:
            with flambeau.enable_grad():
                loss = closure()
        recipe = self._recipe
        if recipe is None or not recipe.take(self):
            self._apply(self._items())
        return loss

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        """A parameter's state before its first update."""
        return {}

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        """The plain numbers that the rule needs for this update; advances the step count."""
        raise NotImplementedError

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        """The rule: changes ``param`` and ``state`` in place."""
        raise NotImplementedError

    def _apply(self, items: list[Item]) -> None:
        _apply.apply(self, items)

    def _items(self) -> list[Item]:
        if type(self).update is Optimizer.update:
            raise NotImplementedError
        return [
            self._item(param, group)
            for group in self.param_groups
            for param in group["params"]
            if param.grad is not None
        ]

    def _item(self, param: flambeau.Tensor, group: Group) -> Item:
        grad = param.grad
        if self.sparse_message is not None and getattr(grad, "is_sparse", False):
            raise RuntimeError(self.sparse_message.format(type(self).__name__))
        if group.get("capturable") and param.device.type not in _CAPTURABLE:
            raise AssertionError(
                "If capturable=True, params and state_steps must be on supported devices: "
                f"{_CAPTURABLE}."
            )
        state = self.state.get(param)
        if not state:
            # States begin as fresh tensors: nothing there could record history.
            state = self.init_state(param, group)
            # A rule without state leaves none behind.
            if state:
                self.state[param] = state
        return Item(param, grad, state, group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients; with ``set_to_none=False`` fills them with zeros instead."""
        if set_to_none:
            for group in self.param_groups:
                for param in group["params"]:
                    param._grad = None
            return
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if param.grad.grad_fn is not None:
                    param.grad.detach_()
                else:
                    param.grad.requires_grad_(False)
                param.grad.zero_()

    # --- parameter groups -------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters, with options of their own where ``param_group`` gives them."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        param_group["params"] = _listed(param_group["params"])
        _split_names(param_group)
        for param in param_group["params"]:
            self._check_param(param)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    + name
                )
            param_group.setdefault(name, default)
        self._check_overlap(param_group)
        self.param_groups.append(param_group)

    def _check_param(self, param: Any) -> None:
        if not isinstance(param, flambeau.Tensor):
            raise TypeError(
                "optimizer can only optimize Tensors, "
                f"but one of the params is {flambeau.typename(param)}"
            )
        if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
            raise ValueError("can't optimize a non-leaf Tensor")

    def _check_overlap(self, param_group: Group) -> None:
        params = param_group["params"]
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=4,
            )
        if self.param_groups:
            named = "param_names" in param_group
            if named != ("param_names" in self.param_groups[0]):
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {'with' if named else 'without'} names "
                    "to the optimizer"
                )
        known = {param for group in self.param_groups for param in group["params"]}
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")

    # --- hooks ------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before a step; it may return new ``(args,
        kwargs)``.
        """
        return add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after a step."""
        return add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before :meth:`state_dict`."""
        return add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after :meth:`state_dict`; it may return another."""
        return add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before loading; it may return another."""
        return add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after loading."""
        return add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    def _make_hook_tables(self) -> None:
        for name in _HOOK_TABLES:
            self.__dict__.setdefault(name, OrderedDict())

    # --- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """``{"state": by parameter number, "param_groups": with numbers for parameters}``, as
        PyTorch's.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state_dict = pack(self)
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned, here or in PyTorch.

        Raises:
            ValueError: if groups differ in number or in size.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        self.__setstate__(restore(self, state_dict))
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hook_tables()
        # Files of earlier versions lack later options, and count steps in plain numbers.
        for group in self.param_groups:
            for name, default in self.__dict__.get("defaults", {}).items():
                group.setdefault(name, deepcopy(default))
        for entry in self.state.values():
            if isinstance(entry, dict) and self._counts_in_tensors and "step" in entry:
                if not isinstance(entry["step"], flambeau.Tensor):
                    entry["step"] = _apply.new_counter(entry["step"])

    _counts_in_tensors = True
    # What the last step found out.
    _recipe: Recipe | None = None

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {index}\n")
            lines += [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
        return f"{type(self).__name__} ({''.join(lines)})"


Optimizer.step = with_hooks(Optimizer.step)


def _listed(params: Any) -> list[Any]:
    if isinstance(params, flambeau.Tensor):
        return [params]
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering "
            "of tensors in sets will change between runs. Please use a list instead."
        )
    return list(params)


def _split_names(group: Group) -> None:
    """Turns ``(name, tensor)`` pairs into ``params`` and ``param_names``."""
    pairs = [isinstance(param, tuple) for param in group["params"]]
    if not any(pairs):
        return
    if not all(pairs):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    group["param_names"] = [name for name, _ in group["params"]]
    group["params"] = [param for _, param in group["params"]]
