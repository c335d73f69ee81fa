"""Adadelta."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_eps, check_lr, check_weight_decay, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class Adadelta(Optimizer):
    r"""Steps in the units of the parameter, without a rate to choose [Zeiler 2012].

    .. math::
        v \leftarrow \rho v + (1 - \rho) g^2, \quad
        \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
        u \leftarrow \rho u + (1 - \rho) \Delta^2, \quad \theta \leftarrow \theta - \gamma \Delta

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9968, -1.9968], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        require(0.0 <= rho <= 1.0, f"Invalid rho value: {rho}")
        check_eps(eps)
        check_weight_decay(weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": new_counter(),
            "square_avg": flambeau.zeros_like(param),
            "acc_delta": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        advance(state["step"])
        return {
            "lr": number(group["lr"]),
            "rho": group["rho"],
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        square = state["square_avg"].mul_(n.rho).addcmul_(grad, grad, value=1 - n.rho)
        moved = state["acc_delta"]
        delta = moved.add(n.eps).sqrt_().div_(square.add(n.eps).sqrt_()).mul_(grad)
        moved.mul_(n.rho).addcmul_(delta, delta, value=1 - n.rho)
        param.add_(delta, alpha=-n.lr)


SAMPLES = {
    "optim.Adadelta": "; 0.5; lr=0.5, rho=0.5, eps=1e-2; weight_decay=0.3; maximize=True; !lr=-1;"
    " !rho=1.5; !eps=-1; !weight_decay=-1",
}
