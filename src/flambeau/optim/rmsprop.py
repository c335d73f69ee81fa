"""RMSprop."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_eps, check_lr, check_weight_decay, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running average of squared gradients [Hinton 2012, lecture
    6e].

    .. math::
        v \leftarrow \alpha v + (1 - \alpha) g^2, \quad
        \theta \leftarrow \theta - \gamma \frac{g}{\sqrt v + \epsilon}

    ``centered`` subtracts the square of the average gradient from :math:`v` [Graves 2013]; with
    ``momentum``, :math:`b \leftarrow \mu b + g / (\sqrt v + \epsilon)` and the step is
    :math:`\gamma b`.

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.RMSprop([w], lr=0.05)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        require(momentum >= 0.0, f"Invalid momentum value: {momentum}")
        check_weight_decay(weight_decay)
        require(alpha >= 0.0, f"Invalid alpha value: {alpha}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        state = {"step": new_counter(), "square_avg": flambeau.zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = flambeau.zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = flambeau.zeros_like(param)
        return state

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        advance(state["step"])
        return {
            "lr": number(group["lr"]),
            "alpha": group["alpha"],
            "eps": group["eps"],
            "momentum": group["momentum"],
            "weight_decay": group["weight_decay"],
            "centered": group["centered"],
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        square = state["square_avg"].mul_(n.alpha).addcmul_(grad, grad, value=1 - n.alpha)
        if n.centered:
            mean = state["grad_avg"].lerp_(grad, 1 - n.alpha)
            square = square.addcmul(mean, mean, value=-1)
        scale = square.sqrt().add_(n.eps)
        if n.momentum > 0:
            buffer = state["momentum_buffer"].mul_(n.momentum).addcdiv_(grad, scale)
            param.add_(buffer, alpha=-n.lr)
        else:
            param.addcdiv_(grad, scale, value=-n.lr)


SAMPLES = {
    "optim.RMSprop": "; 0.1; lr=0.1, alpha=0.5, eps=1e-3; lr=0.1, momentum=0.9;"
    " lr=0.1, centered=True; lr=0.1, weight_decay=0.3, momentum=0.5, centered=True;"
    " lr=0.1, maximize=True; !lr=-1; !eps=-1; !momentum=-1; !weight_decay=-1; !alpha=-1",
}
