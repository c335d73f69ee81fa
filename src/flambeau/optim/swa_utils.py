"""Averages of a model's weights: stochastic weight averaging, exponential moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Literal

import flambeau
from flambeau.nn import Module
from flambeau.optim.lr_scheduler.base import LRScheduler, per_group
from flambeau.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    r"""A function that moves lists of averages: :math:`a \leftarrow d\, a + (1 - d)\, \theta`.

    Raises:
        ValueError: unless ``0 <= decay <= 1``.
    """
    _check_decay(decay)

    def update(averages: Any, values: Any, _: Any) -> None:
        with flambeau.no_grad():
            for average, value in zip(averages, values, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(average * decay + value * (1 - decay))

    return update


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    r"""A function that moves lists of equal averages: :math:`a \leftarrow a + (\theta - a) / (n +
    1)`.
    """

    def update(averages: Any, values: Any, count: Any) -> None:
        weight = 1 / (int(count) + 1)
        with flambeau.no_grad():
            for average, value in zip(averages, values, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(value, weight)
                else:
                    average.copy_(average + (value - average) * weight)

    return update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    r"""A function of one average: :math:`d\, a + (1 - d)\, \theta`.

    Raises:
        ValueError: unless ``0 <= decay <= 1``.
    """
    _check_decay(decay)

    def update(average: Any, value: Any, _: Any) -> Any:
        with flambeau.no_grad():
            return decay * average + (1 - decay) * value

    return update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    r"""A function of one equal average: :math:`a + (\theta - a) / (n + 1)`."""

    def update(average: Any, value: Any, count: Any) -> Any:
        with flambeau.no_grad():
            return average + (value - average) / (count + 1)

    return update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's [Izmailov et al. 2018].

    ``update_parameters(model)`` takes the model in. The average is equal (SWA) unless ``avg_fn``
    (of one tensor) or ``multi_avg_fn`` (of lists) says otherwise; with ``use_buffers`` buffers are
    averaged too, else copied.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> average = torch.optim.swa_utils.AveragedModel(model)
    >>> average.update_parameters(model)
    >>> int(average.n_averaged)
    1
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", flambeau.tensor(0, dtype=flambeau.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the parameters of ``model`` into the average; the first time they are copied."""
        averages, values = self._tensors(self.module), self._tensors(model)
        if self.n_averaged == 0:
            with flambeau.no_grad():
                for average, value in zip(averages, values, strict=True):
                    average.copy_(value)
        else:
            self._average(averages, values)
        if not self.use_buffers:
            with flambeau.no_grad():
                for mine, other in zip(self.module.buffers(), model.buffers(), strict=True):
                    mine.copy_(other)
        self.n_averaged += 1

    def _tensors(self, model: Module) -> list[Any]:
        tensors = list(model.parameters())
        if self.use_buffers:
            tensors += model.buffers()
        return [tensor.detach() for tensor in tensors]

    def _average(self, averages: list[Any], values: list[Any]) -> None:
        values = [value.to(average.device) for average, value in zip(averages, values, strict=True)]
        if self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, values, self.n_averaged)
            return
        for average, value in zip(averages, values, strict=True):
            average.copy_(self.avg_fn(average, value, self.n_averaged))


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of batch normalisation anew, from one pass over ``loader``.

    A batch that is a list or tuple is represented by its first element.
    """
    layers = {
        layer: layer.momentum
        for layer in model.modules()
        if hasattr(layer, "reset_running_stats") and hasattr(layer, "momentum")
    }
    if not layers:
        return
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        # Without momentum a layer takes the plain average over batches.
        layer.momentum = None
    with flambeau.no_grad():
        for batch in loader:
            if isinstance(batch, (list, tuple)):
                batch = batch[0]
            model(batch if device is None else batch.to(device))
    for layer, momentum in layers.items():
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    r"""From the present rate to ``swa_lr`` in ``anneal_epochs`` epochs, along a cosine or a line,
    then constant.

    Raises:
        ValueError: for another strategy, negative ``anneal_epochs``, or a list of another length
            than the groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, lr in zip(
            optimizer.param_groups, per_group(optimizer, "swa_lr", swa_lr), strict=True
        ):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _done(self, epoch: int) -> float:
        """How much of the way is done after ``epoch`` epochs."""
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates of this epoch, from those of the last."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._done(step - 1), self._done(step)
        rates = []
        for group in self.optimizer.param_groups:
            start = group["lr"]
            if before != 1:
                start = (group["lr"] - before * group["swa_lr"]) / (1 - before)
            else:
                start = group["swa_lr"]
            rates.append(group["swa_lr"] * now + start * (1 - now))
        return rates


SAMPLES = {
    "optim.swa_utils.AveragedModel": "nn.Linear(4, 3) | x;"
    " nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), use_buffers=True | x;"
    " nn.Linear(4, 3), avg_fn=lambda a, b, n: (a + b) / 2 | x;"
    " nn.Linear(4, 3), multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9) | x;"
    " !nn.Linear(4, 3), None, max, max",
    "optim.swa_utils.SWALR": "0.05; 0.05, 4; swa_lr=0.1, anneal_epochs=3, anneal_strategy='linear';"
    " 0.2, 0; !0.05, anneal_strategy='step'; !0.05, -1; !0.05, 2.5; [0.1, 0.2], 3; ![0.1]",
    "optim.swa_utils.get_ema_avg_fn": "| x, y, 3; 0.9 | x, y, torch.tensor(2); !1.5; !-0.1",
    "optim.swa_utils.get_swa_avg_fn": "| x, y, 3; | x, y, torch.tensor(0)",
    "optim.swa_utils.get_ema_multi_avg_fn": "0.9 | [x.detach()], [y.detach()], 2; !1.5",
    "optim.swa_utils.get_swa_multi_avg_fn": "| [x.detach()], [y.detach()],"
    " torch.tensor(2) # floats",
    "optim.swa_utils.update_bn": "[x, y], nn.Linear(4, 3); [x, y], nn.BatchNorm1d(4)",
}
