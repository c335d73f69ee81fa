"""Divergences with Pareto, continuous Bernoulli and low-rank normal distributions."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.distributions.beta import Beta
from flambeau.distributions.continuous_bernoulli import ContinuousBernoulli
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.gumbel import Gumbel
from flambeau.distributions.kl import (
    _any_normal,
    _beta_exponential,
    _gamma_infinite,
    _infinite,
    _loc_infinite,
    _rate_infinite,
    _x_log_x,
    register_kl,
)
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from flambeau.distributions.multivariate_normal import MultivariateNormal, squared_distance
from flambeau.distributions.normal import Normal
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.uniform import Uniform

# The general forms only ask for entropy and moments.
register_kl(ContinuousBernoulli, Normal)(_any_normal)
register_kl(Pareto, Normal)(_any_normal)
register_kl(ContinuousBernoulli, Exponential)(_beta_exponential)

# Not absolutely continuous.
for _kind in (Pareto, ContinuousBernoulli):
    register_kl(Exponential, _kind)(_rate_infinite)
    register_kl(Gamma, _kind)(_gamma_infinite)
    register_kl(Gumbel, _kind)(_loc_infinite)
    register_kl(Laplace, _kind)(_loc_infinite)
    register_kl(Normal, _kind)(_loc_infinite)


@register_kl(Pareto, Beta)
@register_kl(Pareto, ContinuousBernoulli)
@register_kl(Pareto, Uniform)
def _pareto_infinite(p: Any, q: Any) -> flambeau.Tensor:
    return _infinite(p.scale)


@register_kl(ContinuousBernoulli, Pareto)
@register_kl(Beta, Pareto)
def _unit_infinite(p: Any, q: Any) -> flambeau.Tensor:
    return _infinite(p.mean)


# --- Pareto -----------------------------------------------------------------------------------


@register_kl(Pareto, Pareto)
def _pareto_pareto(p: Any, q: Any) -> flambeau.Tensor:
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return flambeau.where(p.scale < q.scale, float("inf"), kl)


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> flambeau.Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> flambeau.Tensor:
    log_mean = p.scale.log() + p.alpha.reciprocal()
    normaliser = q.concentration.lgamma() - q.concentration * q.rate.log()
    return -p.entropy() + normaliser + (1 - q.concentration) * log_mean + q.rate * p.mean


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> flambeau.Tensor:
    width = p.high - p.low
    log_mean = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    kl = (q.alpha + 1) * log_mean - (q.alpha * q.scale.pow(q.alpha) * width).log()
    return flambeau.where(p.low < q.scale, float("inf"), kl)


# --- continuous Bernoulli -------------------------------------------------------------------------


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_continuous(p: Any, q: Any) -> flambeau.Tensor:
    towards = p.mean * (p.logits - q.logits)
    norm_p = p._cont_bern_log_norm() + flambeau.log1p(-p.probs)
    norm_q = q._cont_bern_log_norm() + flambeau.log1p(-q.probs)
    return towards + norm_p - norm_q


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_uniform(p: Any, q: Any) -> flambeau.Tensor:
    kl = -p.entropy() + (q.high - q.low).log()
    # On [0, 1] itself it is finite, but not for PyTorch.
    return flambeau.where((q.low >= 0) | (q.high <= 1), float("inf"), kl)


@register_kl(Beta, ContinuousBernoulli)
def _beta_continuous(p: Any, q: Any) -> flambeau.Tensor:
    chance = p.mean * q.logits + flambeau.log1p(-q.probs)
    return -p.entropy() - chance - q._cont_bern_log_norm()


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous(p: Any, q: Any) -> flambeau.Tensor:
    # Here, too, PyTorch leaves out the bounds.
    return flambeau.where((p.high >= 1) | (p.low <= 0), float("inf"), _beta_continuous(p, q))


# --- low-rank normal ------------------------------------------------------------------------------


def _check_events(p: Any, q: Any, ranks: str) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two {ranks} Multivariate Normals with different event shapes "
            "cannot be computed"
        )


def _squares(matrix: flambeau.Tensor) -> flambeau.Tensor:
    return matrix.pow(2).sum((-2, -1))


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_rank_low_rank(p: Any, q: Any) -> flambeau.Tensor:
    _check_events(p, q, "Low Rank")
    factor, diagonal = p._unbroadcasted_cov_factor, p._unbroadcasted_cov_diag
    q_diagonal, half = q._unbroadcasted_cov_diag, q._half_correction
    trace = (
        (diagonal / q_diagonal).sum(-1)
        + _squares(factor / q_diagonal.sqrt().unsqueeze(-1))
        - _squares(half * diagonal.sqrt().unsqueeze(-2))
        - _squares(half @ factor)
    )
    distance = q._squared_distance(q.loc - p.loc)
    return 0.5 * (q._log_det - p._log_det + distance + trace - p.event_shape[0])


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _multivariate_low_rank(p: Any, q: Any) -> flambeau.Tensor:
    _check_events(p, q, "(Low Rank)")
    root = p._unbroadcasted_scale_tril
    scaled = root / q._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
    trace = _squares(scaled) - _squares(q._half_correction @ root)
    distance = q._squared_distance(q.loc - p.loc)
    return 0.5 * (q._log_det + distance + trace - p.event_shape[0]) - p._half_log_det


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_multivariate(p: Any, q: Any) -> flambeau.Tensor:
    _check_events(p, q, "(Low Rank)")
    root = q._unbroadcasted_scale_tril
    n = p.event_shape[0]
    shape = flambeau.broadcast_shapes(p.batch_shape, q.batch_shape)

    def through(matrix: flambeau.Tensor) -> flambeau.Tensor:
        return _squares(
            flambeau.linalg.solve_triangular(
                root.expand((*shape, n, n)),
                matrix.expand((*shape, *matrix.shape[-2:])),
                upper=False,
            )
        )

    trace = through(p.cov_factor) + through(p.cov_diag.sqrt().diag_embed())
    distance = squared_distance(root, q.loc - p.loc)
    return q._half_log_det + 0.5 * (distance + trace - n - p._log_det)
