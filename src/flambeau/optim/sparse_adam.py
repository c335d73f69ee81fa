"""Adam for sparse gradients."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.optim._apply import Group, Number, State, number
from flambeau.optim._check import check_betas, check_eps, check_lr, require
from flambeau.optim.optimizer import Optimizer, ParamsT


class SparseAdam(Optimizer):
    r"""Adam that touches, of averages and parameters, only the rows that the gradient names.

    The rule is that of :class:`Adam` with

    .. math::
        \theta \leftarrow \theta
        - \gamma \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\sqrt v + \epsilon}

    on those rows; the others keep what they had.

    Raises:
        ValueError: for options out of range, and for parameters that are sparse or complex.
        RuntimeError: at the step, for gradients that are not sparse.
    """

    sparse_message = None
    _counts_in_tensors = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        check_eps(eps)
        # Unlike the dense optimizers it takes no zeros.
        require(0.0 < lr, f"Invalid learning rate: {lr}")
        require(0.0 < eps, f"Invalid epsilon value: {eps}")
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, defaults)
        self._refuse(lambda param: param.is_sparse, "Sparse", "requires dense parameter tensors")
        self._refuse(
            lambda param: param.is_complex(), "Complex", "does not support complex parameters"
        )

    def _refuse(self, wrong: Any, kind: str, reason: str) -> None:
        places = [
            [g, p]
            for g, group in enumerate(self.param_groups)
            for p, param in enumerate(group["params"])
            if wrong(param)
        ]
        if places:
            raise ValueError(f"{kind} params at indices {places}: SparseAdam {reason}")

    def init_state(self, param: flambeau.Tensor, group: Group) -> State:
        return {
            "step": 0,
            "exp_avg": flambeau.zeros_like(param),
            "exp_avg_sq": flambeau.zeros_like(param),
        }

    def numbers(self, state: State, group: Group) -> dict[str, Number]:
        state["step"] += 1
        beta1, beta2 = group["betas"]
        correction = (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
        return {
            "beta1": beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "step_size": number(group["lr"]) * correction,
            "maximize": group["maximize"],
        }

    def update(self, param: flambeau.Tensor, grad: flambeau.Tensor, state: State, n: Any) -> None:
        if not grad.is_sparse:
            raise RuntimeError(
                "SparseAdam does not support dense gradients, please consider Adam instead"
            )
        grad = grad.coalesce()
        rows, values = tuple(grad.indices()), grad.values()
        if values.numel() == 0:
            return
        mean = state["exp_avg"][rows].lerp(values, 1 - n.beta1)
        square = state["exp_avg_sq"][rows].lerp(values * values, 1 - n.beta2)
        state["exp_avg"][rows] = mean
        state["exp_avg_sq"][rows] = square
        param[rows] -= mean / square.sqrt().add_(n.eps) * n.step_size


SAMPLES = {
    "optim.SparseAdam": "; 0.1; lr=0.1, betas=(0.5, 0.9), eps=1e-3; lr=0.1, maximize=True; !lr=-1;"
    " !lr=0.0; !eps=0.0; !betas=(1.0, 0.9); !betas=(0.9, -0.1)",
}
