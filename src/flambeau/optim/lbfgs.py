"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.optim._apply import State, number
from flambeau.optim._check import check_lr
from flambeau.optim._line_search import strong_wolfe
from flambeau.optim.optimizer import Optimizer, ParamsT


class LBFGS(Optimizer):
    r"""Quasi-Newton steps from the last few gradients and moves [Liu and Nocedal 1989].

    The direction is :math:`-H g`, where the inverse Hessian :math:`H` is never formed: the two-loop
    recursion applies it from ``history_size`` pairs of moves and gradient changes. A step runs up
    to ``max_iter`` iterations and calls ``closure`` up to ``max_eval`` times (``max_iter * 5 // 4``
    unless given). ``line_search_fn`` is None, for steps of length ``lr``, or ``"strong_wolfe"``.

    Raises:
        ValueError: for a negative ``lr``, or more than one parameter group.
        RuntimeError: at the step, for another ``line_search_fn``.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 3) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> torch.allclose(w, torch.tensor(3.0))
    True
    """

    _counts_in_tensors = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | flambeau.Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[flambeau.Tensor]:
        return self.param_groups[0]["params"]

    def step(self, closure: Callable[[], Any]) -> Any:
        """Minimises ``closure``, which clears gradients, computes the loss, calls backward and
        returns the loss.
        """
        with flambeau.no_grad():
            return self._minimise(flambeau.enable_grad()(closure))

    def _minimise(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr = number(group["lr"])
        # One state for all parameters; it is kept under the first of them, as in PyTorch.
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = float(number(first_loss))
        evaluations = 1
        state["func_evals"] += 1
        grad = self._gather_grad()
        optimal = _largest(grad) <= group["tolerance_grad"]
        if optimal:
            return first_loss

        length = state.get("t")
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            direction = self._direction(grad, state, group["history_size"])
            previous_grad = state["prev_flat_grad"] = grad.clone()
            previous_loss = state["prev_loss"] = loss

            length = lr
            if state["n_iter"] == 1:
                length = min(1.0, 1.0 / grad.abs().sum()) * lr
            slope = grad.dot(direction)
            if slope > -group["tolerance_change"]:
                break

            calls = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = [param.clone() for param in self._params]

                def evaluate(t: Any, start: Any = start, direction: Any = direction) -> Any:
                    return self._evaluate(closure, start, t, direction)

                left = group["max_eval"] - evaluations
                loss, grad, length, calls = strong_wolfe(
                    evaluate, length, direction, loss, grad, slope, left
                )
                self._move(length, direction)
                optimal = _largest(grad) <= group["tolerance_grad"]
            else:
                self._move(length, direction)
                if iterations != group["max_iter"]:
                    with flambeau.enable_grad():
                        loss = float(number(closure()))
                    grad = self._gather_grad()
                    optimal = _largest(grad) <= group["tolerance_grad"]
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            state["t"] = length
            if (
                iterations == group["max_iter"]
                or evaluations >= group["max_eval"]
                or optimal
                or _largest(direction * length) <= group["tolerance_change"]
                or abs(loss - previous_loss) < group["tolerance_change"]
            ):
                break
        state["t"] = length
        state["prev_flat_grad"] = previous_grad
        state["prev_loss"] = previous_loss
        return first_loss

    def _direction(self, grad: flambeau.Tensor, state: State, history_size: int) -> Any:
        """The next direction; takes the last move into the history."""
        if state["n_iter"] == 1:
            state.update(d=grad.neg(), old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return state["d"]
        change = grad.sub(state["prev_flat_grad"])
        move = state["d"].mul(state["t"])
        curvature = change.dot(move)
        changes, moves, rhos = state["old_dirs"], state["old_stps"], state["ro"]
        # Only moves along which the gradient grows keep the inverse Hessian positive.
        if curvature > 1e-10:
            if len(changes) == history_size:
                for history in (changes, moves, rhos):
                    history.pop(0)
            changes.append(change)
            moves.append(move)
            rhos.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change)
        state["d"] = _two_loops(grad, state, history_size)
        return state["d"]

    def _gather_grad(self) -> flambeau.Tensor:
        pieces = []
        for param in self._params:
            if param.grad is None:
                piece = flambeau.zeros_like(param)
            else:
                piece = param.grad.to_dense() if param.grad.is_sparse else param.grad
            if piece.is_complex():
                piece = flambeau.view_as_real(piece)
            pieces.append(piece.reshape(-1))
        return flambeau.cat(pieces, 0)

    def _move(self, length: Any, direction: flambeau.Tensor) -> None:
        offset = 0
        for param in self._params:
            real = flambeau.view_as_real(param) if param.is_complex() else param
            count = real.numel()
            real.add_(direction[offset : offset + count].view_as(real), alpha=number(length))
            offset += count

    def _evaluate(
        self, closure: Callable[[], Any], start: list[Any], t: Any, direction: flambeau.Tensor
    ) -> tuple[float, flambeau.Tensor]:
        """Loss and gradient at ``start + t * direction``; goes back to ``start``."""
        self._move(t, direction)
        loss = float(number(closure()))
        grad = self._gather_grad()
        for param, value in zip(self._params, start, strict=True):
            param.copy_(value)
        return loss, grad


def _largest(tensor: flambeau.Tensor) -> flambeau.Tensor:
    return tensor.abs().max()


def _two_loops(grad: flambeau.Tensor, state: State, history_size: int) -> flambeau.Tensor:
    """``-H grad`` by the two-loop recursion [Nocedal 1980]."""
    changes, moves, rhos = state["old_dirs"], state["old_stps"], state["ro"]
    count = len(changes)
    # PyTorch's state dicts hold this work space.
    weights = state["al"] = [None] * history_size
    q = grad.neg()
    for i in reversed(range(count)):
        weights[i] = moves[i].dot(q) * rhos[i]
        q.add_(changes[i], alpha=-number(weights[i]))
    r = q.mul(state["H_diag"])
    for i in range(count):
        beta = changes[i].dot(r) * rhos[i]
        r.add_(moves[i], alpha=number(weights[i] - beta))
    return r


SAMPLES = {
    "optim.LBFGS": "0.05; lr=0.1, max_iter=3, history_size=2; 0.05, max_iter=4, max_eval=3;"
    " 0.1, 2, line_search_fn='strong_wolfe' # loose;"
    " 0.05, tolerance_grad=0.1, tolerance_change=0.01; max_iter=1; !lr=-1; !lr='a'",
}
