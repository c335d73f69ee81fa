"""NAdam."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number, store
from flambeau.optim._check import check_betas, check_eps, check_lr, check_weight_decay, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum [Dozat 2016].

    .. math::
        \mu_t = \beta_1 (1 - \tfrac12\, 0.96^{t \psi}), \quad
        \hat m = \frac{\mu_{t+1} m}{1 - \prod_{i \le t+1} \mu_i}
        + \frac{(1 - \mu_t) g}{1 - \prod_{i \le t} \mu_i}, \quad
        \theta \leftarrow \theta - \frac{\gamma \hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    with Adam's averages :math:`m` and :math:`v`, and :math:`\psi` = ``momentum_decay``.

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool((w.abs() < torch.tensor([1.0, 2.0])).all())
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        check_betas(betas)
        check_weight_decay(weight_decay)
        require(momentum_decay >= 0.0, f"Invalid momentum_decay value: {momentum_decay}")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": new_counter(),
            "mu_product": new_counter(1.0),
            "exp_avg": flambeau.zeros_like(param),
            "exp_avg_sq": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        lr = number(group["lr"])
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = store(state["mu_product"], state["mu_product"].item() * mu)
        decoupled = group["decoupled_weight_decay"]
        return {
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": 0 if decoupled else group["weight_decay"],
            "shrink": 1 - lr * group["weight_decay"] if decoupled else None,
            "maximize": group["maximize"],
            "bias_correction2": 1 - beta2**step,
            "grad_size": lr * (1.0 - mu) / (1.0 - product),
            "mean_size": lr * mu_next / (1.0 - product * mu_next),
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.shrink is not None:
            param.mul_(n.shrink)
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        mean = state["exp_avg"].lerp_(grad, 1 - n.beta1)
        square = state["exp_avg_sq"].mul_(n.beta2).addcmul_(grad, grad, value=1 - n.beta2)
        scale = square.div(n.bias_correction2).sqrt().add_(n.eps)
        param.addcdiv_(grad, scale, value=-n.grad_size)
        param.addcdiv_(mean, scale, value=-n.mean_size)


SAMPLES = {
    "optim.NAdam": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3, momentum_decay=0.1;"
    " lr=0.1, weight_decay=0.3; lr=0.1, weight_decay=0.3, decoupled_weight_decay=True;"
    " lr=0.1, maximize=True; !lr=-1; !eps=-1; !betas=(1.0, 0.9); !betas=(0.9, 1.0);"
    " !weight_decay=-1; !momentum_decay=-1",
}
