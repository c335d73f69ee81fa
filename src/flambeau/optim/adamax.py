"""Adamax."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_betas, check_eps, check_lr, check_weight_decay
from flambeau.optim.optimizer import Optimizer, ParamsT


class Adamax(Optimizer):
    r"""Adam with the largest recent gradient in place of the root of squares [Kingma and Ba 2015,
    section 7.1].

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
        \theta \leftarrow \theta - \frac{\gamma}{1 - \beta_1^t} \frac{m}{u}

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        check_betas(betas)
        check_weight_decay(weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": new_counter(),
            "exp_avg": flambeau.zeros_like(param),
            "exp_inf": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        beta1, beta2 = group["betas"]
        return {
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
            "step_size": number(group["lr"]) / (1 - beta1**step),
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        mean = state["exp_avg"].lerp_(grad, 1 - n.beta1)
        largest = state["exp_inf"]
        largest.copy_(flambeau.maximum(largest.mul_(n.beta2), grad.abs().add_(n.eps)))
        param.addcdiv_(mean, largest, value=-n.step_size)


SAMPLES = {
    "optim.Adamax": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3;"
    " lr=0.1, weight_decay=0.3, maximize=True; !lr=-1; !eps=-1; !betas=(1.0, 0.9);"
    " !betas=(0.9, -0.1); !weight_decay=-1",
}
