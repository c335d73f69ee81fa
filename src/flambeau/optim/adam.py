"""Adam."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import (
    check_betas,
    check_eps,
    check_fused,
    check_lr,
    check_weight_decay,
    require,
)
from flambeau.optim.optimizer import Optimizer, ParamsT


class Adam(Optimizer):
    r"""Adam: steps scaled by running averages of the gradient and of its square [Kingma and Ba
    2015].

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        \theta \leftarrow \theta
        - \gamma \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    ``weight_decay`` adds :math:`\lambda \theta` to the gradient, or with ``decoupled_weight_decay``
    shrinks the parameter by :math:`1 - \gamma \lambda`; ``amsgrad`` uses the largest :math:`v` so
    far [Reddi et al. 2018].

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    sparse_message = "Adam does not support sparse gradients, please consider SparseAdam instead"

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-3,
        betas: tuple[float | flambeau.Tensor, float | flambeau.Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        check_betas(betas)
        check_weight_decay(weight_decay)
        _check_tensor_options(lr, betas, foreach, capturable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        state = {
            "step": new_counter(),
            "exp_avg": flambeau.zeros_like(param),
            "exp_avg_sq": flambeau.zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = flambeau.zeros_like(param)
        return state

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        lr = number(group["lr"])
        beta1, beta2 = (number(beta) for beta in group["betas"])
        decoupled = group["decoupled_weight_decay"]
        return {
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": 0 if decoupled else group["weight_decay"],
            "shrink": 1 - lr * group["weight_decay"] if decoupled else None,
            "amsgrad": group["amsgrad"],
            "maximize": group["maximize"],
            "step_size": lr / (1 - beta1**step),
            "root_correction2": (1 - beta2**step) ** 0.5,
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if n.shrink is not None:
            param.mul_(n.shrink)
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        mean = state["exp_avg"].lerp_(grad, 1 - n.beta1)
        square = state["exp_avg_sq"].mul_(n.beta2).addcmul_(grad, grad, value=1 - n.beta2)
        if n.amsgrad:
            largest = state["max_exp_avg_sq"]
            square = largest.copy_(flambeau.maximum(largest, square))
        scale = (square.sqrt() / n.root_correction2).add_(n.eps)
        param.addcdiv_(mean, scale, value=-n.step_size)


def _check_tensor_options(lr: Any, betas: Any, foreach: bool | None, capturable: bool) -> None:
    tensors = [isinstance(beta, flambeau.Tensor) for beta in betas]
    if isinstance(lr, flambeau.Tensor):
        require(
            not foreach or capturable,
            "lr as a Tensor is not supported for capturable=False and foreach=True",
        )
    # An integer is neither, as in PyTorch.
    require(
        all(tensors) or all(isinstance(beta, float) for beta in betas[:2]),
        "betas must be either both floats or both Tensors",
    )
    for index, is_tensor in enumerate(tensors):
        if not is_tensor:
            continue
        require(
            not foreach or capturable,
            f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True",
        )
        require(betas[index].numel() == 1, f"Tensor betas[{index}] must be 1-element")


SAMPLES = {
    "optim.Adam": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3; 0.1, (0.0, 0.5);"
    " lr=0.1, amsgrad=True; lr=0.1, weight_decay=0.3;"
    " lr=0.1, weight_decay=0.3, decoupled_weight_decay=True; lr=0.1, maximize=True;"
    " lr=torch.tensor(0.1); lr=0.1, fused=True; lr=0; !lr=-1; !betas=(1.0, 0.9); !betas=(0.9, 1.5);"
    " !eps=-1; !weight_decay=-0.1; !betas=(0, 0.9); !betas=0.9; !0.1, (0.9,);"
    " !0.1, (0.9, 0.99, 0.9); !lr=torch.tensor(0.1), foreach=True; !foreach=True, fused=True",
}
