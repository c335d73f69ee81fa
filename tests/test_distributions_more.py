"""The rarer distributions agree with PyTorch's: draws from a seed, densities, divergences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

import flambeau
from flambeau.record.stats import stats
from test_distributions import (  # noqa: F401  (a fixture)
    LOC,
    PROBS,
    SCALE,
    SIMPLEX,
    result,
    same,
    same_result,
    t,
    validating,
)
from test_optim import outcome

COV = [[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.7]]
TRIL = [[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.1, 0.2, 0.7]]
FACTOR = [[0.5, 0.1], [-0.3, 0.8], [1.0, 0.2]]

CASES = {
    "Pareto": lambda m, d: d.Pareto(t(m, SCALE), t(m, [0.5, 1.5, 4.0])),
    "Pareto-numbers": lambda m, d: d.Pareto(2.0, 3.0),
    "Weibull": lambda m, d: d.Weibull(t(m, SCALE), t(m, [1.0, 2.0, 3.5])),
    "InverseGamma": lambda m, d: d.InverseGamma(t(m, [0.5, 1.5, 4.0]), t(m, SCALE)),
    "Kumaraswamy": lambda m, d: d.Kumaraswamy(t(m, [1.0, 2.0, 3.5]), t(m, [2.0, 1.5, 0.7])),
    "FisherSnedecor": lambda m, d: d.FisherSnedecor(t(m, [1.0, 3.0, 5.0]), t(m, [1.5, 3.0, 8.0])),
    "FisherSnedecor-numbers": lambda m, d: d.FisherSnedecor(3.0, 5.0),
    "LogisticNormal": lambda m, d: d.LogisticNormal(t(m, [LOC]), t(m, SCALE)),
    "LogisticNormal-number": lambda m, d: d.LogisticNormal(0.5, 2.0),
    "NegativeBinomial": lambda m, d: d.NegativeBinomial(t(m, [1.0, 4.0, 2.5]), t(m, PROBS)),
    "NegativeBinomial-logits": lambda m, d: d.NegativeBinomial(5, logits=t(m, LOC)),
    "ContinuousBernoulli": lambda m, d: d.ContinuousBernoulli(t(m, [0.2, 0.5001, 0.9])),
    "ContinuousBernoulli-logits": lambda m, d: d.ContinuousBernoulli(logits=t(m, LOC)),
    "ContinuousBernoulli-number": lambda m, d: d.ContinuousBernoulli(0.3, lims=(0.2, 0.8)),
    "GeneralizedPareto": lambda m, d: d.GeneralizedPareto(
        t(m, LOC), t(m, SCALE), t(m, [0.0, 0.3, -0.4])
    ),
    "GeneralizedPareto-heavy": lambda m, d: d.GeneralizedPareto(
        t(m, LOC), t(m, SCALE), t(m, [0.6, 1.0, 2.0])
    ),
    "VonMises": lambda m, d: d.VonMises(t(m, LOC), t(m, [0.5, 3.0, 20.0])),
    "LowRank": lambda m, d: d.LowRankMultivariateNormal(t(m, LOC), t(m, FACTOR), t(m, SCALE)),
    "LowRank-batch": lambda m, d: d.LowRankMultivariateNormal(
        t(m, [LOC, SCALE]), t(m, [FACTOR, FACTOR]), t(m, [SCALE, [1.0, 2.0, 3.0]])
    ),
    "LKJCholesky": lambda m, d: d.LKJCholesky(3, t(m, [0.5, 1.0, 3.0])),
    "LKJCholesky-number": lambda m, d: d.LKJCholesky(4),
    "Wishart": lambda m, d: d.Wishart(t(m, 5.0), t(m, COV)),
    "Wishart-number": lambda m, d: d.Wishart(4, precision_matrix=t(m, COV)),
    "Wishart-batch": lambda m, d: d.Wishart(t(m, [4.5, 6.0]), scale_tril=t(m, TRIL)),
    "Mixture": lambda m, d: d.MixtureSameFamily(
        d.Categorical(t(m, SIMPLEX[0])), d.Normal(t(m, LOC), t(m, SCALE))
    ),
    "Mixture-batch": lambda m, d: d.MixtureSameFamily(
        d.Categorical(t(m, SIMPLEX)), d.Poisson(t(m, [SCALE, SCALE]))
    ),
    "Mixture-vectors": lambda m, d: d.MixtureSameFamily(
        d.Categorical(logits=t(m, LOC)),
        d.Independent(d.Normal(t(m, [[0.0, 1.0], [2.0, -1.0], [5.0, 5.0]]), t(m, 0.5)), 1),
    ),
}  # fmt: skip


def both(name):
    return [CASES[name](m, m.distributions) for m in (flambeau, torch)]


# PyTorch's Wishart warns of regular draws, too.
SINGULAR = pytest.mark.filterwarnings("ignore:Singular sample detected:UserWarning")


@SINGULAR
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_same_draws(name, shape):
    draws = []
    for m in (flambeau, torch):
        distribution = CASES[name](m, m.distributions)
        m.manual_seed(3)
        draws.append([distribution.sample(shape)])
        if distribution.has_rsample:
            draws[-1].append(distribution.rsample(shape))
    for ours, theirs in zip(*draws, strict=True):
        same(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_properties(name):
    ours, theirs = both(name)
    assert repr(ours) == repr(theirs)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert repr(ours.support) == repr(theirs.support)
    assert ours.has_rsample == theirs.has_rsample
    properties = ["mean", "variance", "stddev", "mode", "covariance_matrix", "precision_matrix"]
    if name.startswith("Kumaraswamy"):
        properties.remove("mode")  # PyTorch's formula gives nan, or another place
    for attribute in [*properties, "scale_tril", "probs", "logits", "loc", "scale", "param_shape"]:
        values = [result(lambda d=d, a=attribute: getattr(d, a)) for d in (ours, theirs)]
        if isinstance(values[1], torch.Size):
            assert tuple(values[0]) == tuple(values[1])
        else:
            same_result(*values, rtol=1e-4, atol=1e-5)
    same_result(*(result(d.entropy) for d in (ours, theirs)), rtol=1e-4, atol=1e-4)


@SINGULAR
@pytest.mark.parametrize("name", CASES)
def test_densities(name):
    ours, theirs = both(name)
    torch.manual_seed(0)
    values = theirs.sample((4,))
    mine = flambeau.tensor(values.tolist())
    same(ours.log_prob(mine), theirs.log_prob(values), rtol=1e-3, atol=1e-4)
    levels = [[0.1], [0.5], [0.9]]
    for method, given in (("cdf", values), ("icdf", torch.tensor(levels)),
                          ("log_cdf", values), ("log_survival_function", values)):  # fmt: skip
        same_result(
            result(lambda a=method, v=given: getattr(ours, a)(flambeau.tensor(v.tolist()))),
            result(lambda a=method, v=given: getattr(theirs, a)(v)),
            rtol=1e-3,
            atol=1e-5,
        )


@SINGULAR
@pytest.mark.parametrize("name", CASES)
def test_expand(name):
    ours, theirs = (d.expand((2, *d.batch_shape)) for d in both(name))
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert repr(ours) == repr(theirs)
    torch.manual_seed(0)
    values = theirs.sample((2,))
    flambeau.manual_seed(0)
    same(ours.sample((2,)), values, rtol=1e-3, atol=1e-5)
    same(
        ours.log_prob(flambeau.tensor(values.tolist())), theirs.log_prob(values),
        rtol=1e-3, atol=1e-4,
    )  # fmt: skip


GRADIENTS = {
    "Pareto": lambda m, d, x: d.Pareto(x.exp(), x.exp() + 3),
    "Weibull": lambda m, d, x: d.Weibull(x.exp(), x.exp() + 1),
    "InverseGamma": lambda m, d, x: d.InverseGamma(x.exp() + 3, x.exp()),
    "Kumaraswamy": lambda m, d, x: d.Kumaraswamy(x.exp(), x.exp() + 1),
    "FisherSnedecor": lambda m, d, x: d.FisherSnedecor(x.exp() + 3, x.exp() + 9),
    "LogisticNormal": lambda m, d, x: d.LogisticNormal(x, x.exp()),
    "ContinuousBernoulli": lambda m, d, x: d.ContinuousBernoulli(logits=x),
    "GeneralizedPareto": lambda m, d, x: d.GeneralizedPareto(x, x.exp(), x / 4),
    "LowRank": lambda m, d, x: d.LowRankMultivariateNormal(x, x.exp().unsqueeze(-1), x.exp()),
    "Wishart": lambda m, d, x: d.Wishart(x[0].exp() + 4, scale_tril=tril(m, x)),
    "VonMises": lambda m, d, x: d.VonMises(x, x.exp()),
    "NegativeBinomial": lambda m, d, x: d.NegativeBinomial(x.exp() + 1, logits=x),
    "LKJCholesky": lambda m, d, x: d.LKJCholesky(3, x.exp()),
}  # fmt: skip


def tril(m, x):
    return x.exp().diag_embed() + m.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, 0.2, 0.0]])


@SINGULAR
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_draws_and_densities(name):
    gradients = []
    for m in (flambeau, torch):
        x = m.tensor([0.3, -0.2, 0.8], requires_grad=True)
        distribution = GRADIENTS[name](m, m.distributions, x)
        m.manual_seed(5)
        pathwise = x.detach()
        # Through Wishart's draws PyTorch refuses to go: it writes over its masks.
        if distribution.has_rsample and name != "Wishart":
            draw = distribution.rsample((4,))
            (draw * draw).mean().backward(retain_graph=True)
            pathwise, x.grad = x.grad, None
        else:
            draw = distribution.sample((4,))
        distribution.log_prob(draw.detach()).sum().backward()
        gradients.append((pathwise, x.grad))
    for ours, theirs in zip(*gradients, strict=True):
        same(ours, theirs, rtol=2e-3, atol=1e-3)


def test_wishart_draws_move_with_the_square_of_their_scale():
    flambeau.manual_seed(0)
    scale = flambeau.ones((), requires_grad=True)
    draws = flambeau.distributions.Wishart(4.0, scale_tril=scale * t(flambeau, TRIL)).rsample((5,))
    draws.sum().backward()
    np.testing.assert_allclose(scale.grad.item(), 2 * draws.sum().item(), rtol=1e-5)


def test_mode_of_kumaraswamy_is_where_its_density_is_greatest():
    d = flambeau.distributions.Kumaraswamy(
        t(flambeau, [2.0, 3.5, 0.5]), t(flambeau, [1.5, 2.0, 2.0])
    )
    at = flambeau.linspace(0.001, 0.999, 999).unsqueeze(-1)
    best = at[d.log_prob(at).argmax(0), 0]
    assert flambeau.allclose(d.mode[:2], best[:2], atol=1e-3)
    assert d.mode[2].isnan()


def test_von_mises_for_great_concentrations():
    d = flambeau.distributions.VonMises(flambeau.zeros(4), t(flambeau, [1e-6, 1.0, 1e3, 1e6]))
    x = flambeau.tensor(1e-3, dtype=flambeau.float64)
    kappa = d.concentration.double()
    exact = kappa.numpy() * (np.cos(1e-3) - 1) - np.log(2 * np.pi * special.i0e(kappa.numpy()))
    twin = flambeau.distributions.VonMises(flambeau.zeros(4).double(), kappa)
    np.testing.assert_allclose(twin.log_prob(x).numpy(), exact, rtol=1e-10)


def test_singular_wishart_draws_are_drawn_again():
    d = flambeau.distributions
    flambeau.manual_seed(0)
    regular = d.Wishart(flambeau.tensor([9.0, 8.0]), flambeau.eye(3)).sample((50,))
    assert d.constraints.positive_definite.check(regular).all()
    with pytest.warns(UserWarning, match="Low df values"):
        wishart = d.Wishart(flambeau.tensor(2.05), flambeau.eye(3))
    with pytest.warns(UserWarning, match="Singular sample"):
        draws = wishart.sample((200,))
    assert d.constraints.positive_definite.check(draws).all()


# --- divergences ---------------------------------------------------------------------------------

KL = {
    "Normal": lambda m, d: d.Normal(t(m, LOC), t(m, SCALE)),
    "Laplace": lambda m, d: d.Laplace(t(m, LOC), t(m, SCALE)),
    "Gumbel": lambda m, d: d.Gumbel(t(m, LOC), t(m, SCALE)),
    "Exponential": lambda m, d: d.Exponential(t(m, SCALE)),
    "Gamma": lambda m, d: d.Gamma(t(m, SCALE), t(m, PROBS)),
    "Beta": lambda m, d: d.Beta(t(m, SCALE), t(m, PROBS)),
    "Uniform": lambda m, d: d.Uniform(t(m, [0.1, 0.2, 1.5]), t(m, [0.5, 0.9, 2.5])),
    "Uniform-unit": lambda m, d: d.Uniform(t(m, [-0.1, 0.0, 0.1]), t(m, [1.5, 1.0, 0.9])),
    "Pareto": lambda m, d: d.Pareto(t(m, [0.5, 0.1, 1.0]), t(m, [3.0, 1.5, 0.7])),
    "Pareto-other": lambda m, d: d.Pareto(t(m, [0.2, 0.3, 1.0]), t(m, [2.5, 2.2, 0.9])),
    "ContinuousBernoulli": lambda m, d: d.ContinuousBernoulli(t(m, [0.2, 0.5001, 0.9])),
    "ContinuousBernoulli-other": lambda m, d: d.ContinuousBernoulli(logits=t(m, LOC)),
    "VonMises": lambda m, d: d.VonMises(t(m, LOC), t(m, SCALE)),
    "MVN": lambda m, d: d.MultivariateNormal(t(m, LOC), t(m, COV)),
    "MVN-batch": lambda m, d: d.MultivariateNormal(t(m, [LOC, SCALE]), scale_tril=t(m, TRIL)),
    "LowRank": CASES["LowRank"],
    "LowRank-batch": CASES["LowRank-batch"],
    "Wishart": CASES["Wishart"],
    "Wishart-number": CASES["Wishart-number"],
    "InverseGamma": CASES["InverseGamma"],
    "Weibull": CASES["Weibull"],
    "LogisticNormal": CASES["LogisticNormal"],
}


@pytest.mark.parametrize("p", KL)
def test_divergences(p):
    for q in KL:
        values = [
            result(
                lambda m=m, q=q: m.distributions.kl_divergence(
                    *(KL[k](m, m.distributions) for k in (p, q))
                )
            )
            for m in (flambeau, torch)
        ]
        same_result(*values, rtol=2e-3, atol=1e-3)


def test_every_divergence_of_pytorch_is_there():
    ours, theirs = (
        {(p.__name__, q.__name__) for p, q in m.distributions.kl._KL_REGISTRY}
        for m in (flambeau, torch)
    )
    assert theirs <= ours


@pytest.mark.parametrize("name", torch.distributions.__all__)
def test_nothing_is_missing(name):
    assert hasattr(flambeau.distributions, name)
    assert name in flambeau.distributions.__all__


ERRORS = [
    lambda m, d: d.Pareto(-1.0, 1.0),
    lambda m, d: d.Pareto(1.0, 1.0).log_prob(m.tensor(0.5)),
    lambda m, d: d.NegativeBinomial(3),
    lambda m, d: d.NegativeBinomial(-3, m.tensor(0.5)),
    lambda m, d: d.NegativeBinomial(3, m.tensor(1.0)),
    lambda m, d: d.ContinuousBernoulli(2.0, validate_args=True),
    lambda m, d: d.LKJCholesky(1),
    lambda m, d: d.LKJCholesky(3).log_prob(m.eye(3) * 2),
    lambda m, d: d.LowRankMultivariateNormal(m.tensor(0.0), m.ones(1, 1), m.ones(1)),
    lambda m, d: d.LowRankMultivariateNormal(m.zeros(2), m.ones(2), m.ones(2)),
    lambda m, d: d.LowRankMultivariateNormal(m.zeros(2), m.ones(3, 1), m.ones(2)),
    lambda m, d: d.LowRankMultivariateNormal(m.zeros(2), m.ones(2, 1), m.ones(3)),
    lambda m, d: d.LowRankMultivariateNormal(m.zeros(2, 2), m.ones(3, 2, 1), m.ones(2)),
    lambda m, d: d.Wishart(3.0),
    lambda m, d: d.Wishart(1.0, m.eye(3)),
    lambda m, d: d.Wishart(2.5, m.eye(3)),
    lambda m, d: d.Wishart(3.0, m.ones(3)),
    lambda m, d: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(0.0, 1.0)),
    lambda m, d: d.MixtureSameFamily(d.Categorical(m.ones(2)), 3),
    lambda m, d: d.MixtureSameFamily(d.Categorical(m.ones(2)), d.Normal(m.zeros(3), 1.0)),
    lambda m, d: d.MixtureSameFamily(d.Categorical(m.ones(2, 2)), d.Normal(m.zeros(3, 2), 1.0)),
    lambda m, d: d.VonMises(m.tensor(0.0), m.tensor(-1.0)),
    lambda m, d: d.VonMises(m.tensor(0.0), m.tensor(1.0)).rsample(),
    lambda m, d: d.kl_divergence(
        d.MultivariateNormal(m.zeros(2), m.eye(2)),
        d.LowRankMultivariateNormal(m.zeros(3), m.ones(3, 1), m.ones(3)),
    ),
    lambda m, d: d.CorrCholeskyTransform().forward_shape((2,)),
    lambda m, d: d.CorrCholeskyTransform().inverse_shape((2, 3)),
]  # fmt: skip


@pytest.mark.usefixtures("validating")
@pytest.mark.parametrize("build", ERRORS)
def test_errors(build):
    ours, theirs = (outcome(lambda m=m: build(m, m.distributions)) for m in (flambeau, torch))
    assert theirs[0] is not None or theirs[1]
    # Some of PyTorch's messages have the indentation of its code in them.
    ours, theirs = (" ".join(str(e).replace("\\n", " ").split()) for e in (ours, theirs))
    assert ours.replace("flambeau", "torch") == theirs


def test_data_is_checked_without_a_program():
    d = flambeau.distributions
    coin = d.Categorical(flambeau.tensor([0.25, 0.75]))
    sample = coin.sample()
    sample.item()
    before = stats.flushes
    coin.log_prob(sample)
    for constraint, good, bad in (
        (d.constraints.integer_interval(0, 1), [0, 1], [0, 2]),
        (d.constraints.integer_interval(0, 1), [0.0, 1.0], [0.5, 1.0]),
        (d.constraints.nonnegative_integer, [3.0], [float("inf")]),
        (d.constraints.positive, [1.0], [float("nan")]),
        (d.constraints.real, [1.0], [float("nan")]),
        (d.constraints.boolean, [True, False], [2.0, 1.0]),
    ):
        assert constraint.holds(flambeau.tensor(good))
        assert not constraint.holds(flambeau.tensor(bad))
    assert stats.flushes == before
    # What is pending, or bounded by tensors, is a program as ever.
    low = flambeau.tensor([0.0, 2.0])
    assert not d.constraints.greater_than(low).holds(flambeau.tensor([1.0, 1.0]))
    assert d.constraints.positive.holds(low.exp())
