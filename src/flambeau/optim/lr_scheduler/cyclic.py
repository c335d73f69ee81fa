"""Schedules that also cycle the momentum: back and forth, or one cycle."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any, Literal

from flambeau.optim.lr_scheduler.base import LRScheduler, per_group, set_value
from flambeau.optim.optimizer import Optimizer


def check_momentum(optimizer: Optimizer) -> bool:
    """Whether the optimizer's momentum is the first of its betas.

    Raises:
        ValueError: if it has neither.
    """
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )
    return "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], value: float, use_beta1: bool) -> None:
    """Sets a group's momentum, or the first of its betas."""
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    r"""Up from ``base_lr`` to ``max_lr`` and down again, over and over, a step at each batch [Smith
    2017].

    The height of a cycle is scaled by ``mode``: ``"triangular"`` keeps it, ``"triangular2"`` halves
    it at every cycle, ``"exp_range"`` multiplies it by ``gamma`` at every step; ``scale_fn`` gives
    another, of the cycle's number or (``scale_mode="iterations"``) of the step's. The momentum goes
    the other way.

    Raises:
        ValueError: for an unknown mode, lists of another length than the groups, or an optimizer
            without momentum.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        base_lrs = per_group(optimizer, "base_lr", base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                set_value(group, "lr", lr)
        self.max_lrs = per_group(optimizer, "max_lr", max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = check_momentum(optimizer)
            self.base_momentums = per_group(optimizer, "base_momentum", base_momentum)
            self.max_momentums = per_group(optimizer, "max_momentum", max_momentum)
            if last_epoch == -1:
                self._start_momentum()
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _start_momentum(self) -> None:
        for group, largest, smallest in zip(
            self.optimizer.param_groups, self.max_momentums, self.base_momentums, strict=True
        ):
            set_momentum(group, largest, self.use_beta1)
            group["max_momentum"] = largest
            group["base_momentum"] = smallest

    def scale_fn(self, x: float) -> float:
        """The scale of a cycle, from its number or the step's."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        return self.gamma**x

    def get_lr(self) -> list[Any]:
        """The rates of this step; sets the momentum too."""
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, smallest, largest in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                set_momentum(group, largest - (largest - smallest) * height * scale, self.use_beta1)
        return [
            base + (largest - base) * height * scale
            for base, largest in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of a custom scale, what an object holds."""
        state = super().state_dict()
        custom = state.pop("_scale_fn_custom")
        if custom is not None:
            custom = None if isinstance(custom, types.FunctionType) else custom.__dict__.copy()
        state["_scale_fn_custom"] = custom
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned; a plain function stays as it is."""
        saved = dict(state_dict)
        custom = saved.pop("_scale_fn_custom", None)
        super().load_state_dict(saved)
        if custom is not None:
            self._scale_fn_custom.__dict__.update(custom)


class OneCycleLR(LRScheduler):
    r"""One cycle over the whole training: up to ``max_lr``, then far down, a step at each batch
    [Smith and Topin 2019].

    Starts from ``max_lr / div_factor``, is highest after the fraction ``pct_start`` of
    ``total_steps`` (or ``epochs * steps_per_epoch``), ends at the start divided by
    ``final_div_factor``; ``three_phase`` comes back to the start before that. The momentum goes the
    other way.

    Raises:
        ValueError: for options out of range, and when stepped more than ``total_steps`` times.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not (isinstance(pct_start, float) and 0 <= pct_start <= 1):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        highest = per_group(optimizer, "max_lr", max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, highest, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = check_momentum(optimizer)
            largest = per_group(optimizer, "max_momentum", max_momentum)
            smallest = per_group(optimizer, "base_momentum", base_momentum)
            if last_epoch == -1:
                for group, high, low in zip(optimizer.param_groups, largest, smallest, strict=True):
                    set_momentum(group, high, self.use_beta1)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, done: float) -> float:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (1 + math.cos(math.pi * done))
        return (end - start) * done + start

    def get_lr(self) -> list[Any]:
        """The rates of this step; sets the momentum too."""
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. "
                f"The specified number of total steps is {self.total_steps}"
            )
        start = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            start = end
        done = (step - start) / (end - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], done))
            if self.cycle_momentum:
                momentum = self._between(
                    group[phase["start_momentum"]], group[phase["end_momentum"]], done
                )
                set_momentum(group, momentum, self.use_beta1)
        return rates


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        _check_positive("total_steps", total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    _check_positive("epochs", epochs)
    _check_positive("steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch


def _check_positive(name: str, value: int) -> None:
    if value <= 0 or not isinstance(value, int):
        raise ValueError(f"Expected positive integer {name}, but got {value}")


def _phases(total_steps: int, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
    def phase(end_step: float, lrs: tuple[str, str], momentums: tuple[str, str]) -> dict[str, Any]:
        return {
            "end_step": end_step,
            "start_lr": lrs[0],
            "end_lr": lrs[1],
            "start_momentum": momentums[0],
            "end_momentum": momentums[1],
        }

    first = float(pct_start * total_steps) - 1
    up = phase(first, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
    if not three_phase:
        down = phase(total_steps - 1, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))
        return [up, down]
    second = float(2 * pct_start * total_steps) - 2
    down = phase(second, ("max_lr", "initial_lr"), ("base_momentum", "max_momentum"))
    rest = phase(total_steps - 1, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))
    return [up, down, rest]


SAMPLES = {
    "optim.lr_scheduler.CyclicLR": "0.1, 0.5; 0.1, 0.5, 3, 5;"
    " 0.1, 0.5, step_size_up=2, mode='triangular2'; 0.1, 0.5, 2, mode='exp_range', gamma=0.9;"
    " 0.1, 0.5, 2, cycle_momentum=False, scale_fn=lambda n: 0.5**n, scale_mode='iterations';"
    " 0.1, 0.5, 2, base_momentum=0.5, max_momentum=0.7; !0.1, 0.5, mode='square'; [0.1, 0.2], 0.5;"
    " ![0.1], 0.5",
    "optim.lr_scheduler.OneCycleLR": "1.0, 13; max_lr=1.0, epochs=3, steps_per_epoch=5;"
    " 1.0, 13, pct_start=0.5, anneal_strategy='linear';"
    " 1.0, 20, three_phase=True, div_factor=5.0, final_div_factor=10.0;"
    " 1.0, 13, cycle_momentum=False; 1.0, 13, base_momentum=0.5, max_momentum=0.7; !1.0; !1.0, -1;"
    " !1.0, 13, pct_start=2.0; !1.0, 13, anneal_strategy='step'; !1.0, 3;"
    " !1.0, epochs=0, steps_per_epoch=2",
}
