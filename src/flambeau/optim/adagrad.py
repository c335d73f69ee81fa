"""Adagrad."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, advance, new_counter, number
from flambeau.optim._check import check_eps, check_fused, check_lr, check_weight_decay, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class Adagrad(Optimizer):
    r"""Steps divided by the root of the sum of all squared gradients [Duchi et al. 2011].

    .. math::
        \tilde\gamma = \frac{\gamma}{1 + (t - 1) \eta}, \quad s \leftarrow s + g^2, \quad
        \theta \leftarrow \theta - \tilde\gamma \frac{g}{\sqrt s + \epsilon}

    with :math:`\eta` = ``lr_decay``; :math:`s` starts at ``initial_accumulator_value``. Takes
    sparse gradients.

    Raises:
        ValueError: for options out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    sparse_message = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        require(lr_decay >= 0.0, f"Invalid lr_decay value: {lr_decay}")
        check_weight_decay(weight_decay)
        require(
            initial_accumulator_value >= 0.0,
            f"Invalid initial_accumulator_value value: {initial_accumulator_value}",
        )
        check_eps(eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        # Unlike its kin, Adagrad's state is there before the first step.
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = self.init_state(param, group)

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        first = group["initial_accumulator_value"]
        value = complex(first, first) if param.is_complex() else first
        with flambeau.no_grad():
            return {"step": new_counter(), "sum": flambeau.full_like(param, value)}

    def share_memory(self) -> None:
        """Moves the state to memory that processes share."""
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["sum"].share_memory_()

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        step = advance(state["step"])
        return {
            "lr": number(group["lr"]) / (1 + (step - 1) * group["lr_decay"]),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if getattr(grad, "is_sparse", False):
            self._update_rows(param, grad.coalesce(), state, n)
            return
        if n.weight_decay != 0:
            grad = grad.add(param, alpha=n.weight_decay)
        total = state["sum"].addcmul_(grad, grad, value=1)
        param.addcdiv_(grad, total.sqrt().add_(n.eps), value=-n.lr)

    def _update_rows(
        self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any
    ) -> None:
        if n.weight_decay != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        rows = tuple(grad.indices())
        values = grad.values()
        total = state["sum"][rows] + values * values
        state["sum"][rows] = total
        param[rows] -= values / total.sqrt().add_(n.eps) * n.lr


SAMPLES = {
    "optim.Adagrad": "; 0.1; lr=0.1, lr_decay=0.5, weight_decay=0.1;"
    " 0.1, initial_accumulator_value=0.3, eps=0.01; lr=0.1, maximize=True; !lr=-1; !lr_decay=-0.1;"
    " !weight_decay=-1; !initial_accumulator_value=-1; !eps=-1",
}
