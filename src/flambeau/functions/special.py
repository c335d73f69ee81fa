"""Special functions that are names of the package: error function, gamma function, Bessel's i0."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import bool_
from flambeau.functions.checks import _need_one_tensor, _need_tensor, _refuse
from flambeau.functions.inplace import inplace
from flambeau.functions.pointwise import _in_floats
from flambeau.functions.promotion import Number, floating, promoted
from flambeau.ir import special as _special  # noqa: F401  declares primitives used here
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _of_one(
    name: str,
    meaning: str,
    kernel: str | None = None,
    example: str = "",
    grad: str | None = None,
) -> Any:
    """A primitive of one floating number as a function."""
    kernel = kernel or f"{name}_cpu"

    def compute(input: Tensor) -> Tensor:
        _need_tensor(name, input)
        if input._meta.dtype.is_complex:
            _refuse(kernel, input._meta.dtype)
        return getattr(ops, name)(_in_floats(input))

    compute.__name__ = compute.__qualname__ = name
    shown = f"\n\n    >>> {example}\n    " if example else ""
    compute.__doc__ = (
        f"{meaning}, element by element.\n\n    Integers give the default floating dtype. Raises "
        f"``NotImplementedError`` for complex numbers.{shown}"
    )
    return function(compute, grad=grad)


erf = _of_one(
    "erf",
    r"Error function: :math:`\frac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt` [Cody 1969]",
    "erf_vml_cpu",
    "erf(tensor([0.0]))\n    tensor([0.])",
)
erfc = _of_one(
    "erfc",
    r"Complementary error function: :math:`1 - \operatorname{erf} x` [Cody 1969]",
    "erfc_vml_cpu",
    "erfc(tensor([0.0]))\n    tensor([1.])",
)
erfinv = _of_one(
    "erfinv",
    "Inverse of the error function; infinite at -1 and 1, NaN beyond [Wichura 1988]",
    "erfinv_vml_cpu",
    "erfinv(tensor([0.0]))\n    tensor([0.])",
)
lgamma = _of_one(
    "lgamma",
    r"Logarithm of the gamma function: :math:`\ln |\Gamma(x)|` [DLMF 5.11]",
    "lgamma_vml_cpu",
    "lgamma(tensor([1.0]))\n    tensor([0.])",
)
digamma = _of_one(
    "digamma",
    r"Logarithmic derivative of the gamma function: :math:`\Gamma'(x) / \Gamma(x)` [DLMF 5.11]",
    "digamma",
    "digamma(tensor([1.0]))\n    tensor([-0.5772])",
)
i0 = _of_one(
    "i0",
    r"Modified Bessel function of the first kind, :math:`I_0(x)` [DLMF 10.25]",
    "i0_cpu",
    "i0(tensor([0.0]))\n    tensor([1.])",
)


@function
def polygamma(n: int, input: Tensor) -> Tensor:
    r"""The n-th derivative of digamma: :math:`\psi^{(n)}(x)` [DLMF 25.11.12].

    Raises ``RuntimeError`` for negative ``n``.

    >>> polygamma(1, tensor([1.0]))
    tensor([1.6449])
    """
    _need_tensor("polygamma", input, position=2)
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if input.dtype.is_complex:
        _refuse("polygamma", input.dtype)
    x = _in_floats(input)
    return ops.digamma(x) if n == 0 else ops.polygamma(x, n=int(n))


def _method_polygamma(self: Tensor, n: int) -> Tensor:
    """``polygamma(n, self)``."""
    return polygamma(n, self)


@function
def _polygamma_into(input: Tensor, n: int) -> Tensor:
    from flambeau.functions.inplace import assign

    return assign(input, polygamma(n, input))


def _method_polygamma_(self: Tensor, n: int) -> Tensor:
    """In-place ``polygamma``."""
    return _polygamma_into(self, n)


@function
def mvlgamma(input: Tensor, p: int) -> Tensor:
    r"""Logarithm of the multivariate gamma function of dimension p.

    .. math:: \frac{p (p - 1)}{4} \ln \pi + \sum_{j=0}^{p-1} \ln \Gamma(x - j / 2)

    Raises ``RuntimeError`` for ``p`` below 1 and for booleans.

    >>> mvlgamma(tensor([2.0]), 1)
    tensor([0.])
    """
    _need_tensor("mvlgamma", input)
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if input.dtype is bool_:
        raise RuntimeError("The input tensor may not be a boolean tensor.")
    if input.dtype.is_complex:
        _refuse("mvlgamma_cpu", input.dtype)
    x = _in_floats(input)
    total = ops.lgamma(x)
    for j in range(1, p):
        total = ops.add(total, ops.lgamma(ops.sub(x, j / 2)))
    return ops.add(total, p * (p - 1) / 4 * math.log(math.pi))


def _incomplete(name: str, meaning: str) -> Any:
    def compute(input: Tensor, other: Tensor) -> Tensor:
        _need_tensor(name, input)
        _need_tensor(name, other, "other", 2)
        x, y = promoted(input, other)
        if not x.dtype.is_floating_point:
            _refuse(f"{name}_cpu", x.dtype)
        return getattr(ops, name)(x, y)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning} [DLMF 8.7, 8.9], element by element.

    ``input`` is a, ``other`` x; only x has a gradient. Raises ``NotImplementedError`` for other
    dtypes than floating ones.

    >>> {name}(tensor([1.0]), tensor([0.0])).shape
    torch.Size([1])
    """
    return function(compute)


igamma = _incomplete("igamma", r"Regularised lower incomplete gamma function :math:`P(a, x)`")
igammac = _incomplete("igammac", r"Regularised upper incomplete gamma function :math:`Q(a, x)`")


def _with_number(name: str, meaning: str, example: str, grad: str | None = None) -> Any:
    def compute(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        _need_one_tensor(name, input, other)
        operands = floating(input, other)
        for x in operands:
            if isinstance(x, Tensor) and x.dtype.is_complex:
                _refuse(f"{name}_cpu", x.dtype)
        return getattr(ops, name)(*operands)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"""{meaning}, element by element. Either operand may be a number.

    >>> {example}
    """
    return function(compute, grad=grad)


xlogy = _with_number(
    "xlogy",
    r":math:`x \ln y`, 0 where x is 0",
    "xlogy(tensor([0.0]), tensor([0.0]))\n    tensor([0.])",
)
_xlog1py = _with_number(
    "xlog1py",
    r":math:`x \ln(1 + y)`, 0 where x is 0",
    "torch.special.xlog1py(tensor([0.0]), tensor([-1.0]))\n    tensor([0.])",
    "SpecialXlog1PyBackward0",
)
_zeta = _with_number(
    "zeta",
    r"Hurwitz's zeta function: :math:`\sum_k (y + k)^{-x}` [DLMF 25.11]",
    "torch.special.zeta(tensor([2.0]), tensor([1.0]))\n    tensor([1.6449])",
    "SpecialZetaBackward0",
)

erf_, erfc_, erfinv_, lgamma_, digamma_, i0_ = map(
    inplace, (erf, erfc, erfinv, lgamma, digamma, i0)
)
mvlgamma_, igamma_, igammac_, xlogy_ = map(inplace, (mvlgamma, igamma, igammac, xlogy))

# Calls that the tests make in PyTorch too: `tests/generated/`. At infinities PyTorch's Bessel
# functions are none of a number.
SAMPLES = {
    "erf": "x; big; special; i; !c",
    "erfc": "x; big; special; i; !c",
    "erfinv": "unit; -unit; special; 2 * x; !c",
    "lgamma": "x; positive; 20 * unit; special[2:6]; i; !c",
    "digamma": "x; positive; special[2:6]; i + 0.5; !c",
    "i0": "x; big / 5; special[:2]; special[4:]; i; !c",
    "polygamma": "0, positive; 1, positive; 3, x; 2, i.abs() + 1; !-1, x; !1, c",
    "Tensor.polygamma": "positive, 1; x, 2; !x, -1",
    "Tensor.polygamma_": "positive, 1; x, 2; !i, 1",
    "mvlgamma": "positive + 2, 3; positive, 1; i.abs() + 1, 2; !positive, 0; !c, 1",
    "igamma": "positive, unit; positive, 9 * unit; u.abs()[:, None], positive; !c, d",
    "igammac": "positive, unit; positive, 9 * unit; u.abs()[:, None], positive; !c, d",
    "xlogy": "x, positive; x, 2.0; 0.5, unit; i, k; special, special; !c, d",
}
