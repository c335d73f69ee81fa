"""Checks derivatives against differences of function values."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.autograd import engine
from flambeau.autograd.api import grad
from flambeau.autograd.modes import enable_grad
from flambeau.record.storage import Handle as Tensor
from flambeau.run.program import steady

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GradcheckError", "get_analytical_jacobian", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative does not agree with differences of values."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    r"""Whether the gradients of ``func`` are those that central differences give.

    Each input that requires grad (double precision, or the differences are noise) is moved by
    ``eps`` both ways: :math:`J_{ij} \approx (f_i(x + \epsilon e_j) - f_i(x - \epsilon e_j)) /
    2\epsilon`. Complex values count as pairs of real ones. ``fast_mode`` compares
    :math:`u^\top J v` for one random pair instead of all of :math:`J`. Gradients are run twice
    and must agree within ``nondet_tol``.

    Raises: ``GradcheckError`` where they differ by more than ``atol + rtol * |difference|``
    (False with ``raise_exception=False``); ``ValueError`` if no input requires grad.

    >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(lambda x: x * x, (x,))
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError(
            "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
        )
    check = _Check(func, _listed(inputs), eps, atol, rtol, nondet_tol)
    try:
        with steady():
            check.run(
                fast_mode, check_backward_ad, check_forward_ad, check_undefined_grad,
                check_grad_dtypes, check_batched_grad,
            )  # fmt: skip
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _listed(values: Any) -> tuple:
    return (values,) if isinstance(values, Tensor) else tuple(values)


def _differentiable(values: Any) -> list[Tensor]:
    """The tensors among a function's results that may have a gradient."""
    return [
        v
        for v in _listed(values)
        if isinstance(v, Tensor) and (v.dtype.is_floating_point or v.dtype.is_complex)
    ]


def _real(t: Tensor | None, like: Tensor) -> np.ndarray:
    """A tensor's elements as a vector of real numbers: complex ones count twice."""
    if t is None:
        count = like.numel() * (2 if like.dtype.is_complex else 1)
        return np.zeros(count)
    flat = np.ascontiguousarray(t.detach()._value()._array()).reshape(-1)
    if t.dtype.is_complex:
        wide = flat.astype(np.complex128)
        return wide.view(np.float64)
    return flat.astype(np.float64)


def _tensor(real: np.ndarray, like: Tensor) -> Tensor:
    """The inverse of ``_real``."""
    dtype = like.dtype
    flat = real.astype(np.float64).view(np.complex128) if dtype.is_complex else real
    return engine.concrete(flat.astype(dtype.numpy).reshape(like._meta.shape), dtype)


class _Check:
    """One call of ``gradcheck``."""

    def __init__(
        self,
        func: Callable[..., Any],
        inputs: tuple,
        eps: float,
        atol: float,
        rtol: float,
        nondet_tol: float,
    ) -> None:
        self.func = func
        self.inputs = inputs
        self.eps, self.atol, self.rtol, self.nondet = eps, atol, rtol, nondet_tol
        self.wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
        if not self.wanted:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of the "
                "them have requires_grad=True."
            )
        for i in self.wanted:
            x = inputs[i]
            if x.dtype.itemsize < (16 if x.dtype.is_complex else 8):
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point "
                    "or complex. This check will likely fail if all the inputs are not of double "
                    "precision floating point or complex. ",
                    stacklevel=4,
                )
            if not x.is_leaf:
                x.retain_grad()

    def run(
        self,
        fast: bool,
        backward: bool,
        forward: bool,
        undefined: bool,
        dtypes: bool,
        batched: bool,
    ) -> None:
        outputs = self.outputs()
        if not any(o.requires_grad for o in outputs):
            self.constant(outputs)
            return
        if fast:
            self.fast(outputs)
        else:
            self.slow(outputs, backward, forward)
        if backward:
            self.types(outputs, dtypes)
            if undefined:
                self.undefined(outputs)
            if batched:
                self.batched(outputs)

    def outputs(self) -> list[Tensor]:
        with enable_grad():
            return _differentiable(self.func(*self.inputs))

    # -------------------------------------------------------------------------- differences

    def values(self, position: int, real: np.ndarray) -> list[np.ndarray]:
        """The outputs with one input at another point; None's for the others."""
        x = self.inputs[position]
        moved = _tensor(real, x).requires_grad_()
        args = (*self.inputs[:position], moved, *self.inputs[position + 1 :])
        return [_real(o, o) for o in _differentiable(self.func(*args))]

    def difference(self, position: int, direction: np.ndarray) -> list[np.ndarray]:
        at = _real(self.inputs[position], self.inputs[position])
        above = self.values(position, at + self.eps * direction)
        below = self.values(position, at - self.eps * direction)
        return [(a - b) / (2 * self.eps) for a, b in zip(above, below, strict=True)]

    def numerical(self, position: int) -> list[np.ndarray]:
        """For each output, its Jacobian: one row for each real of the input."""
        n = _real(None, self.inputs[position]).size
        rows = [self.difference(position, one) for one in np.eye(n)]
        if not rows:
            return [np.zeros((0, _real(None, o).size)) for o in self.outputs()]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def constant(self, outputs: list[Tensor]) -> None:
        """Outputs without history must not change with the inputs."""
        for i in self.wanted:
            for j, found in enumerate(self.numerical(i)):
                if np.abs(found).max(initial=0) > self.atol:
                    raise GradcheckError(
                        f"Numerical gradient for function expected to be zero (output {j}, "
                        f"input {i})"
                    )

    # ---------------------------------------------------------------------------- gradients

    def pulled(self, out: Tensor, real: np.ndarray) -> list[Tensor | None]:
        ins = [self.inputs[i] for i in self.wanted]
        if not out.requires_grad:
            return [None] * len(ins)
        return list(grad(out, ins, _tensor(real, out), True, False, True, True))

    def analytical(self, out: Tensor) -> list[np.ndarray]:
        """For each wanted input, the Jacobian of ``out`` by one backward for each of its reals."""
        n = _real(None, out).size
        ins = [self.inputs[i] for i in self.wanted]
        columns = []
        for one in np.eye(n):
            found = self.pulled(out, one)
            again = self.pulled(out, one)
            for i, a, b, x in zip(self.wanted, found, again, ins, strict=True):
                gap = np.abs(_real(a, x) - _real(b, x)).max(initial=0)
                if gap > self.nondet:
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and "
                        "grad_output multiple times gives different values, although analytical "
                        f"gradient matches numerical gradient (input {i}, difference {gap}). The "
                        f"tolerance for nondeterminism was {self.nondet}."
                    )
            columns.append([_real(g, x) for g, x in zip(found, ins, strict=True)])
        if not columns:
            return [np.zeros((_real(None, x).size, 0)) for x in ins]
        return [np.stack(c, axis=1) for c in zip(*columns, strict=True)]

    def pushed(self, position: int) -> list[np.ndarray]:
        """Jacobian-vector products along each real of an input."""
        from flambeau.autograd.functional import pushed

        x = self.inputs[position]
        rows = []
        for one in np.eye(_real(None, x).size):
            outs = self.outputs()
            found = pushed(outs, [x], [_tensor(one, x)], False)
            rows.append([_real(g, o) for g, o in zip(found, outs, strict=True)])
        return [np.stack(c) for c in zip(*rows, strict=True)]

    def slow(self, outputs: list[Tensor], backward: bool, forward: bool) -> None:
        numerical = [self.numerical(i) for i in self.wanted]
        if backward:
            for j, out in enumerate(outputs):
                for k, found in enumerate(self.analytical(out)):
                    self.compare(found, numerical[k][j], j, self.wanted[k], "")
        if forward:
            for k, i in enumerate(self.wanted):
                for j, found in enumerate(self.pushed(i)):
                    self.compare(found, numerical[k][j], j, i, " computed with forward mode AD")

    def compare(
        self, analytical: np.ndarray, numerical: np.ndarray, out: int, position: int, how: str
    ) -> None:
        if not np.allclose(analytical, numerical, self.rtol, self.atol, equal_nan=True):
            raise GradcheckError(
                f"Jacobian{how} mismatch for output {out} with respect to input {position},\n"
                f"numerical:{numerical}\nanalytical:{analytical}\n"
            )

    def fast(self, outputs: list[Tensor]) -> None:
        """One random direction: a wrong Jacobian agrees in it with probability zero."""
        rng = np.random.default_rng(0)
        for k, i in enumerate(self.wanted):
            u = rng.random(_real(None, self.inputs[i]).size) + 0.1
            u /= max(np.linalg.norm(u), 1e-30)
            differences = self.difference(i, u)
            for j, out in enumerate(outputs):
                v = rng.random(_real(None, out).size) + 0.1
                v /= max(np.linalg.norm(v), 1e-30)
                found = _real(self.pulled(out, v)[k], self.inputs[i]) @ u
                self.compare(
                    np.asarray(found), np.asarray(differences[j] @ v), j, i,
                    " computed in fast mode",
                )  # fmt: skip

    # -------------------------------------------------------------------------- other checks

    def types(self, outputs: list[Tensor], dtypes: bool) -> None:
        """Gradients have the shape (and dtype) of their inputs."""
        for out in outputs:
            found = self.pulled(out, np.zeros(_real(None, out).size))
            for i, g in zip(self.wanted, found, strict=True):
                x = self.inputs[i]
                if g is None:
                    continue
                if g.shape != x.shape:
                    raise GradcheckError("grad is incorrect size")
                if dtypes and g.dtype != x.dtype:
                    raise GradcheckError("grad is incorrect type")
                if np.any(_real(g, x)):
                    raise GradcheckError("backward not multiplied by grad_output")

    def undefined(self, outputs: list[Tensor]) -> None:
        """A backward that misses some gradients still gives zero or none for the rest."""
        ins = [self.inputs[i] for i in self.wanted]
        live = [o for o in outputs if o.requires_grad]
        for out in live:
            zeros = [_tensor(np.zeros(_real(None, o).size), o) for o in live if o is not out]
            others = [o for o in live if o is not out]
            if not others:
                continue
            found = grad(others, ins, zeros, True, False, True, True)
            for g, x in zip(found, ins, strict=True):
                if g is not None and np.any(_real(g, x)):
                    raise GradcheckError(
                        "Expected all input grads to be undefined or zero when all output grads "
                        "are undefined or zero."
                    )

    def batched(self, outputs: list[Tensor]) -> None:
        """``is_grads_batched`` gives what a loop gives."""
        from flambeau.autograd.functional import stacked, unit_vectors

        ins = [self.inputs[i] for i in self.wanted]
        for out in outputs:
            if not out.requires_grad:
                continue
            ones = unit_vectors(out)
            together = grad(
                out, ins, stacked(ones, out), True, False, True, True, is_grads_batched=True
            )
            for row, one in enumerate(ones):
                alone = grad(out, ins, one, True, False, True, True)
                for a, b, x in zip(together, alone, ins, strict=True):
                    left = _real(None if a is None else a[row], x)
                    if not np.allclose(left, _real(b, x), self.rtol, self.atol, equal_nan=True):
                        raise GradcheckError("Batched gradients differ from those one by one")


def get_analytical_jacobian(
    inputs: Any, output: Tensor, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple[Tensor, ...]:
    """The Jacobian of ``output`` for each input that requires grad, inputs by outputs."""
    if grad_out != 1.0:
        raise ValueError(
            "Expected grad_out to be 1.0. get_analytical_jacobian no longer supports "
            "values of grad_out != 1.0."
        )
    check = _Check(lambda *a: output, _listed(inputs), 1e-6, 0.0, 0.0, nondet_tol)
    wide = output.detach()
    return tuple(
        engine.concrete(j.astype(wide.dtype.numpy), wide.dtype) for j in check.analytical(output)
    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """``gradcheck`` of the gradients of ``func``: its second derivatives.

    ``grad_outputs`` are the weights of the outputs (by default random); they are inputs too.

    >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(lambda x: x**3, (x,))
    True
    """
    given = _listed(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        from flambeau.testing import make_tensor  # upward: the weights are drawn as PyTorch's are

        with enable_grad():
            outputs = _differentiable(func(*given))
        weights = tuple(
            make_tensor(
                o.shape,
                dtype=o.dtype,
                device=o.device,
                low=-1,
                high=1,
                requires_grad=True,
                noncontiguous=gen_non_contig_grad_outputs,
            )
            for o in outputs
        )
    else:
        weights = tuple(w.detach().requires_grad_() for w in _listed(grad_outputs))

    def first(*args: Any) -> tuple[Tensor, ...]:
        points, vs = args[: len(given)], args[len(given) :]
        points = tuple(
            x if not isinstance(x, Tensor) or x.requires_grad or i not in wanted
            else x.requires_grad_()
            for i, x in enumerate(points)
        )  # fmt: skip
        outs = _differentiable(func(*points))
        pairs = [(o, v) for o, v in zip(outs, vs, strict=True) if o.requires_grad]
        found = grad(
            [o for o, _ in pairs], [points[i] for i in wanted], [v for _, v in pairs],
            create_graph=True, allow_unused=True,
        )  # fmt: skip
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first,
        (*given, *weights),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )
