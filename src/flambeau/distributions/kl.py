"""Kullback-Leibler divergences between distributions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.distributions.bernoulli import Bernoulli
from flambeau.distributions.beta import Beta
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.dirichlet import Dirichlet
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.geometric import Geometric
from flambeau.distributions.gumbel import Gumbel
from flambeau.distributions.half_normal import HalfNormal
from flambeau.distributions.independent import Independent
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.multivariate_normal import MultivariateNormal, squared_distance
from flambeau.distributions.normal import Normal
from flambeau.distributions.one_hot_categorical import OneHotCategorical
from flambeau.distributions.poisson import Poisson
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import euler_constant, sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}
_found: dict[tuple[type, type], Callable | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """Decorates the divergence between two kinds of distributions.

    Raises:
        TypeError: if either is no subclass of ``Distribution``.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def decorate(function: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = function
        _found.clear()
        return function

    return decorate


def kl_divergence(p: Distribution, q: Distribution) -> flambeau.Tensor:
    r"""The divergence :math:`\int p(x) \log \frac{p(x)}{q(x)} dx`, of shape ``batch_shape``.

    Raises:
        NotImplementedError: if it is not known for these kinds of distributions.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.kl_divergence(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    key = (type(p), type(q))
    if key not in _found:
        _found[key] = _closest(*key)
    function = _found[key]
    if function is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} "
            f"and q type {type(q).__name__}"
        )
    return function(p, q)


def _closest(type_p: type, type_q: type) -> Callable | None:
    """The function registered for the nearest base classes."""
    matches = [
        pair for pair in _KL_REGISTRY if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])
    ]
    if not matches:
        return None

    def depth_p(pair: tuple[type, type]) -> tuple[int, int]:
        return type_p.__mro__.index(pair[0]), type_q.__mro__.index(pair[1])

    left = min(matches, key=depth_p)
    right = min(matches, key=lambda pair: depth_p(pair)[::-1])
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please "
            f"register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[left]


def _infinite(like: flambeau.Tensor) -> flambeau.Tensor:
    return flambeau.full_like(like, float("inf"))


def _x_log_x(x: flambeau.Tensor) -> flambeau.Tensor:
    return flambeau.special.xlogy(x, x)


# --- of a kind ----------------------------------------------------------------------------------


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Any, q: Any) -> flambeau.Tensor:
    softplus = flambeau.nn.functional.softplus
    ones = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    zeros = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    ones = flambeau.where(q.probs == 0, float("inf"), ones)
    ones = flambeau.where(p.probs == 0, 0.0, ones)
    zeros = flambeau.where(q.probs == 1, float("inf"), zeros)
    zeros = flambeau.where(p.probs == 1, 0.0, zeros)
    return ones + zeros


@register_kl(Beta, Beta)
def _beta_beta(p: Any, q: Any) -> flambeau.Tensor:
    total_p = p.concentration1 + p.concentration0
    total_q = q.concentration1 + q.concentration0
    log_q = q.concentration1.lgamma() + q.concentration0.lgamma() + total_p.lgamma()
    log_p = p.concentration1.lgamma() + p.concentration0.lgamma() + total_q.lgamma()
    ones = (p.concentration1 - q.concentration1) * flambeau.digamma(p.concentration1)
    zeros = (p.concentration0 - q.concentration0) * flambeau.digamma(p.concentration0)
    return log_q - log_p + ones + zeros + (total_q - total_p) * flambeau.digamma(total_p)


@register_kl(Binomial, Binomial)
def _binomial_binomial(p: Any, q: Any) -> flambeau.Tensor:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return flambeau.where(p.total_count > q.total_count, float("inf"), kl)


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Any, q: Any) -> flambeau.Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = flambeau.where(q.probs == 0, float("inf"), terms)
    terms = flambeau.where(p.probs == 0, 0.0, terms)
    return terms.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: Any, q: Any) -> flambeau.Tensor:
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p: Any, q: Any) -> flambeau.Tensor:
    # Chyzak and Nielsen 2019.
    sum_squared = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return sum_squared.log() - (4 * p.scale * q.scale).log()


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Any, q: Any) -> flambeau.Tensor:
    total_p, total_q = p.concentration.sum(-1), q.concentration.sum(-1)
    totals = total_p.lgamma() - total_q.lgamma()
    parts = (p.concentration.lgamma() - q.concentration.lgamma()).sum(-1)
    slope = p.concentration.digamma() - total_p.digamma().unsqueeze(-1)
    return totals - parts + ((p.concentration - q.concentration) * slope).sum(-1)


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Any, q: Any) -> flambeau.Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _family_family(p: Any, q: Any) -> flambeau.Tensor:
    """The Bregman divergence of the log-normaliser."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot "
            "be computed using Bregman divergences"
        )
    params_p = [param.detach().requires_grad_() for param in p._natural_params]
    params_q = q._natural_params
    with flambeau.enable_grad():
        normaliser = p._log_normalizer(*params_p)
        gradients = flambeau.autograd.grad(normaliser.sum(), params_p, create_graph=True)
    result = q._log_normalizer(*params_q) - normaliser
    for param_p, param_q, gradient in zip(params_p, params_q, gradients, strict=True):
        result = result - sum_rightmost((param_q - param_p) * gradient, len(q.event_shape))
    return result


@register_kl(Gamma, Gamma)
def _gamma_gamma(p: Any, q: Any) -> flambeau.Tensor:
    return (
        q.concentration * (p.rate / q.rate).log()
        + flambeau.lgamma(q.concentration)
        - flambeau.lgamma(p.concentration)
        + (p.concentration - q.concentration) * flambeau.digamma(p.concentration)
        + (q.rate - p.rate) * (p.concentration / p.rate)
    )


@register_kl(Geometric, Geometric)
def _geometric_geometric(p: Any, q: Any) -> flambeau.Tensor:
    return -p.entropy() - flambeau.log1p(-q.probs) / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _gumbel_gumbel(p: Any, q: Any) -> flambeau.Tensor:
    scale = p.scale / q.scale
    shift = p.loc / q.scale - q.loc / q.scale
    tail = flambeau.exp(-shift + (1 + scale).lgamma()) - (1 + euler_constant)
    return -scale.log() + scale * euler_constant + shift + tail


@register_kl(HalfNormal, HalfNormal)
def _half_normal_half_normal(p: Any, q: Any) -> flambeau.Tensor:
    return _normal_normal(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent_independent(p: Any, q: Any) -> flambeau.Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Any, q: Any) -> flambeau.Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_multivariate(p: Any, q: Any) -> flambeau.Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes "
            "cannot be computed"
        )
    n = p.event_shape[0]
    shape = flambeau.broadcast_shapes(p.batch_shape, q.batch_shape)
    root_q = q._unbroadcasted_scale_tril.expand((*shape, n, n))
    root_p = p._unbroadcasted_scale_tril.expand((*shape, n, n))
    trace = flambeau.linalg.solve_triangular(root_q, root_p, upper=False).pow(2).sum((-2, -1))
    distance = squared_distance(q._unbroadcasted_scale_tril, q.loc - p.loc)
    return q._half_log_det - p._half_log_det + 0.5 * (trace + distance - n)


@register_kl(Normal, Normal)
def _normal_normal(p: Any, q: Any) -> flambeau.Tensor:
    ratio = (p.scale / q.scale).pow(2)
    distance = ((p.loc - q.loc) / q.scale).pow(2)
    return 0.5 * (ratio + distance - 1 - ratio.log())


@register_kl(Poisson, Poisson)
def _poisson_poisson(p: Any, q: Any) -> flambeau.Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p: Any, q: Any) -> flambeau.Tensor:
    """A bijection changes no divergence."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    kl = kl_divergence(p.base_dist, q.base_dist)
    return sum_rightmost(kl, len(p.event_shape) - len(p.base_dist.event_shape))


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Any, q: Any) -> flambeau.Tensor:
    kl = ((q.high - q.low) / (p.high - p.low)).log()
    outside = (q.low > p.low) | (q.high < p.high)
    return flambeau.where(outside, float("inf"), kl)


# --- of different kinds -------------------------------------------------------------------------


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> flambeau.Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, Exponential)
def _beta_exponential(p: Any, q: Any) -> flambeau.Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> flambeau.Tensor:
    log_mean = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return (
        -p.entropy()
        + q.concentration.lgamma()
        - q.concentration * q.rate.log()
        - (q.concentration - 1) * log_mean
        + q.rate * p.mean
    )


@register_kl(Beta, Normal)
@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
@register_kl(Gumbel, Normal)
@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
def _any_normal(p: Any, q: Any) -> flambeau.Tensor:
    """From the first two moments of ``p``."""
    variance = q.scale.pow(2)
    distance = p.variance + (p.mean - q.loc).pow(2)
    return -p.entropy() + 0.5 * (2 * math.pi * variance).log() + 0.5 * distance / variance


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> flambeau.Tensor:
    kl = -p.entropy() + (q.high - q.low).log()
    return flambeau.where((q.low > 0) | (q.high < 1), float("inf"), kl)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> flambeau.Tensor:
    ratio = q.rate / p.rate
    return (
        -q.concentration * ratio.log()
        + ratio
        + q.concentration.lgamma()
        + q.concentration * euler_constant
        - (1 + euler_constant)
    )


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> flambeau.Tensor:
    product = p.rate * q.scale
    shift = q.loc / q.scale
    tail = (shift.exp() * product / (product + 1)) - 1
    return product.log() - shift + product.reciprocal() + tail


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> flambeau.Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> flambeau.Tensor:
    product = p.rate * q.scale
    shift = q.loc / q.scale
    tail = shift.exp() * (1 + product.reciprocal()).pow(-p.concentration) - shift
    return (
        (p.concentration - 1) * p.concentration.digamma()
        - p.concentration.lgamma()
        - p.concentration
        + product.log()
        + p.concentration / product
        + tail
    )


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> flambeau.Tensor:
    mean = p.loc / q.scale
    half_square = (p.scale / q.scale).pow(2) * 0.5
    shift = q.loc / q.scale
    return (
        -(p.scale / q.scale).log()
        + mean
        - shift
        + flambeau.exp(-mean + half_square + shift)
        - 0.5 * (1 + math.log(2 * math.pi))
    )


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> flambeau.Tensor:
    distance = p.loc - q.loc
    ratio = p.scale / q.scale
    scaled = distance / p.scale
    near = math.sqrt(2 / math.pi) * p.scale * flambeau.exp(-0.5 * scaled.pow(2))
    far = distance * flambeau.erf(math.sqrt(0.5) * scaled)
    return -ratio.log() + (near + far) / q.scale - 0.5 * (1 + math.log(0.5 * math.pi))


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> flambeau.Tensor:
    width = p.high - p.low
    ones = (q.concentration1 - 1) * (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    upper, lower = 1 - p.high, 1 - p.low
    zeros = (q.concentration0 - 1) * (_x_log_x(upper) - _x_log_x(lower) + width) / width
    log_beta = (
        q.concentration1.lgamma()
        + q.concentration0.lgamma()
        - (q.concentration1 + q.concentration0).lgamma()
    )
    kl = zeros + log_beta - width.log() - ones
    return flambeau.where((p.high > 1) | (p.low < 0), float("inf"), kl)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> flambeau.Tensor:
    kl = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return flambeau.where(p.low < 0, float("inf"), kl)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> flambeau.Tensor:
    width = p.high - p.low
    log_mean = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    kl = (
        -width.log()
        + q.concentration.lgamma()
        - q.concentration * q.rate.log()
        + (1 - q.concentration) * log_mean
        + q.rate * (p.high + p.low) / 2
    )
    return flambeau.where(p.low < 0, float("inf"), kl)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> flambeau.Tensor:
    ratio = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    tail = 0.5 * (high + low) - ratio * ((-high).exp() - (-low).exp())
    return ratio.log() + tail


# --- not absolutely continuous --------------------------------------------------------------------


@register_kl(Exponential, Beta)
@register_kl(Exponential, Uniform)
@register_kl(Poisson, Bernoulli)
@register_kl(Poisson, Binomial)
def _rate_infinite(p: Any, q: Any) -> flambeau.Tensor:
    return _infinite(p.rate)


@register_kl(Gamma, Beta)
@register_kl(Gamma, Uniform)
def _gamma_infinite(p: Any, q: Any) -> flambeau.Tensor:
    return _infinite(p.concentration)


@register_kl(Gumbel, Beta)
@register_kl(Gumbel, Exponential)
@register_kl(Gumbel, Gamma)
@register_kl(Gumbel, Uniform)
@register_kl(Laplace, Beta)
@register_kl(Laplace, Exponential)
@register_kl(Laplace, Gamma)
@register_kl(Laplace, Uniform)
@register_kl(Normal, Beta)
@register_kl(Normal, Exponential)
@register_kl(Normal, Gamma)
@register_kl(Normal, Uniform)
def _loc_infinite(p: Any, q: Any) -> flambeau.Tensor:
    return _infinite(p.loc)
