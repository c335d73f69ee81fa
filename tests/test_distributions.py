"""Distributions agree with PyTorch's: draws from the same seed, densities, moments, errors."""

import numpy as np
import pytest
import torch
from scipy import special

import flambeau
from beside_torch import validating  # noqa: F401  (a fixture)
from flambeau.ir.reference import pathwise
from test_optim import outcome


def t(module, values):
    return module.tensor(values)


LOC, SCALE = [0.5, -1.0, 2.0], [0.7, 1.5, 2.0]
PROBS = [0.2, 0.5, 0.9]
SIMPLEX = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]

CASES = {
    "Normal": lambda m, d: d.Normal(t(m, LOC), t(m, SCALE)),
    "Normal-numbers": lambda m, d: d.Normal(0.5, 2.0),
    "Bernoulli": lambda m, d: d.Bernoulli(t(m, PROBS)),
    "Bernoulli-logits": lambda m, d: d.Bernoulli(logits=t(m, LOC)),
    "Categorical": lambda m, d: d.Categorical(t(m, SIMPLEX)),
    "Categorical-logits": lambda m, d: d.Categorical(logits=t(m, [LOC, SCALE])),
    "Uniform": lambda m, d: d.Uniform(t(m, LOC), t(m, LOC) + t(m, SCALE)),
    "Exponential": lambda m, d: d.Exponential(t(m, SCALE)),
    "Laplace": lambda m, d: d.Laplace(t(m, LOC), t(m, SCALE)),
    "Cauchy": lambda m, d: d.Cauchy(t(m, LOC), t(m, SCALE)),
    "Gamma": lambda m, d: d.Gamma(t(m, SCALE), t(m, [1.0, 2.0, 0.5])),
    "Chi2": lambda m, d: d.Chi2(t(m, SCALE)),
    "Beta": lambda m, d: d.Beta(t(m, SCALE), t(m, [1.0, 2.0, 0.5])),
    "Dirichlet": lambda m, d: d.Dirichlet(t(m, [SCALE, [1.0, 2.0, 3.0]])),
    "Poisson": lambda m, d: d.Poisson(t(m, SCALE)),
    "Geometric": lambda m, d: d.Geometric(t(m, PROBS)),
    "Geometric-logits": lambda m, d: d.Geometric(logits=t(m, LOC)),
    "Binomial": lambda m, d: d.Binomial(6, t(m, PROBS)),
    "Binomial-logits": lambda m, d: d.Binomial(6, logits=t(m, LOC)),
    "Multinomial": lambda m, d: d.Multinomial(6, t(m, SIMPLEX)),
    "OneHotCategorical": lambda m, d: d.OneHotCategorical(t(m, SIMPLEX)),
    "OneHotST": lambda m, d: d.OneHotCategoricalStraightThrough(t(m, SIMPLEX)),
    "StudentT": lambda m, d: d.StudentT(t(m, [0.5, 1.5, 5.0]), t(m, LOC), t(m, SCALE)),
    "LogNormal": lambda m, d: d.LogNormal(t(m, LOC), t(m, SCALE)),
    "Gumbel": lambda m, d: d.Gumbel(t(m, LOC), t(m, SCALE)),
    "HalfNormal": lambda m, d: d.HalfNormal(t(m, SCALE)),
    "HalfCauchy": lambda m, d: d.HalfCauchy(t(m, SCALE)),
    "MultivariateNormal": lambda m, d: d.MultivariateNormal(
        t(m, [LOC, SCALE]), t(m, [[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.7]])
    ),
    "MultivariateNormal-tril": lambda m, d: d.MultivariateNormal(
        t(m, LOC), scale_tril=t(m, [[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.1, 0.2, 0.7]])
    ),
    "MultivariateNormal-precision": lambda m, d: d.MultivariateNormal(
        t(m, LOC), precision_matrix=t(m, [[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.7]])
    ),
    "RelaxedBernoulli": lambda m, d: d.RelaxedBernoulli(t(m, 0.7), t(m, PROBS)),
    "RelaxedOneHot": lambda m, d: d.RelaxedOneHotCategorical(t(m, 0.7), t(m, SIMPLEX)),
    "Independent": lambda m, d: d.Independent(d.Normal(t(m, [LOC]), t(m, [SCALE])), 1),
    "Transformed": lambda m, d: d.TransformedDistribution(
        d.Normal(t(m, LOC), 1.0), [d.AffineTransform(1.0, -2.0), d.SigmoidTransform()]
    ),
    "Transformed-batch": lambda m, d: d.TransformedDistribution(
        d.Normal(0.0, 1.0), d.AffineTransform(t(m, LOC), t(m, SCALE))
    ),
    "Transformed-simplex": lambda m, d: d.TransformedDistribution(
        d.Normal(t(m, LOC), 1.0), d.StickBreakingTransform()
    ),
}


def both(name):
    return [CASES[name](module, module.distributions) for module in (flambeau, torch)]


def same(ours, theirs, rtol=2e-5, atol=2e-6):
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    np.testing.assert_allclose(
        np.array(ours.tolist()), np.array(theirs.tolist()), rtol=rtol, atol=atol
    )


def result(function):
    """A tensor, or the name of the exception raised."""
    try:
        return function()
    except (NotImplementedError, AttributeError) as error:
        return type(error).__name__


def same_result(ours, theirs, **tolerances):
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        same(ours, theirs, **tolerances)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_same_draws(name, shape):
    draws = []
    for module in (flambeau, torch):
        distribution = CASES[name](module, module.distributions)
        module.manual_seed(3)
        draws.append(distribution.sample(shape))
        assert not draws[-1].requires_grad
        if distribution.has_rsample:
            module.manual_seed(4)
            draws.append(distribution.rsample(shape))
    half = len(draws) // 2
    for ours, theirs in zip(draws[:half], draws[half:], strict=True):
        same(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_properties(name):
    ours, theirs = both(name)
    assert repr(ours) == repr(theirs)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert repr(ours.support) == repr(theirs.support)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    for attribute in ("mean", "variance", "stddev", "mode"):
        same_result(
            result(lambda a=attribute: getattr(ours, a)),
            result(lambda a=attribute: getattr(theirs, a)),
            rtol=1e-4,
        )
    for method in ("entropy", "perplexity", "enumerate_support"):
        same_result(
            result(lambda a=method: getattr(ours, a)()),
            result(lambda a=method: getattr(theirs, a)()),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("name", CASES)
def test_densities(name):
    ours, theirs = both(name)
    torch.manual_seed(0)
    values = theirs.sample((4,))
    mine = flambeau.tensor(values.tolist())
    if not values.is_floating_point():
        mine = mine.long()
    same(ours.log_prob(mine), theirs.log_prob(values), rtol=1e-4, atol=1e-5)
    same_result(result(lambda: ours.cdf(mine)), result(lambda: theirs.cdf(values)), atol=1e-5)
    levels = [0.1, 0.5, 0.9]
    same_result(
        result(lambda: ours.icdf(flambeau.tensor(levels))),
        result(lambda: theirs.icdf(torch.tensor(levels))),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", CASES)
def test_expand(name):
    ours, theirs = (d.expand((2, *d.batch_shape)) for d in both(name))
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert repr(ours) == repr(theirs)
    torch.manual_seed(0)
    values = theirs.sample()
    same(
        ours.log_prob(flambeau.tensor(values.tolist())),
        theirs.log_prob(values),
        rtol=1e-4,
        atol=1e-5,
    )


GRADIENTS = {
    "Normal": lambda m, d, x: d.Normal(x, x.exp()),
    "Laplace": lambda m, d, x: d.Laplace(x, x.exp()),
    "Uniform": lambda m, d, x: d.Uniform(x, x + 2),
    "Exponential": lambda m, d, x: d.Exponential(x.exp()),
    "Gamma": lambda m, d, x: d.Gamma(x.exp(), x.exp() + 1),
    "LogNormal": lambda m, d, x: d.LogNormal(x, x.exp()),
    "Gumbel": lambda m, d, x: d.Gumbel(x, x.exp()),
    "HalfNormal": lambda m, d, x: d.HalfNormal(x.exp()),
    "RelaxedBernoulli": lambda m, d, x: d.RelaxedBernoulli(x.exp().mean(), logits=x),
    "RelaxedOneHot": lambda m, d, x: d.RelaxedOneHotCategorical(x.exp().mean(), logits=x),
    "StudentT": lambda m, d, x: d.StudentT(x.exp(), x, x.exp()),
    "Chi2": lambda m, d, x: d.Chi2(x.exp() * 5),
    "Beta": lambda m, d, x: d.Beta(x.exp(), x.exp() * 3 + 1),
    "Dirichlet": lambda m, d, x: d.Dirichlet(x.exp() * 2),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_draws_and_densities(name):
    gradients = []
    for module in (flambeau, torch):
        x = module.tensor([0.3, -0.2, 0.8], requires_grad=True)
        distribution = GRADIENTS[name](module, module.distributions, x)
        module.manual_seed(5)
        draw = distribution.rsample((4,))
        (draw * draw).mean().backward(retain_graph=True)
        pathwise, x.grad = x.grad, None
        distribution.log_prob(draw.detach()).sum().backward()
        gradients.append((pathwise, x.grad))
    for ours, theirs in zip(*gradients, strict=True):
        same(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("a", [0.1, 1.0, 7.0, 300.0, 2e5])
def test_gamma_variates_move_along_their_quantile(a):
    x = np.random.default_rng(0).gamma(a, size=100)
    step = a * 1e-5
    below, above = special.gammainc(a, x), special.gammaincc(a, x)
    low, high = (
        np.where(below < 0.5, special.gammaincinv(s, below), special.gammainccinv(s, above))
        for s in (a - step, a + step)
    )
    ours = pathwise.standard_gamma_gradient(np.full(100, a), x)
    np.testing.assert_allclose(ours, (high - low) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.5, 2.0), (2.0, 0.5), (5.0, 3.0), (300.0, 400.0)])
def test_beta_variates_move_along_their_quantile(a, b):
    x = np.random.default_rng(0).beta(a, b, size=100)
    step, level = a * 1e-5, special.betainc(a, b, x)
    slope = special.betaincinv(a + step, b, level) - special.betaincinv(a - step, b, level)
    ours = pathwise.dirichlet_gradient(x, np.full(100, a), np.full(100, a + b))
    np.testing.assert_allclose(ours, slope / (2 * step) / (1 - x), rtol=1e-4)


def kl_cases():
    members = {
        "Normal": lambda m, d: d.Normal(t(m, LOC), t(m, SCALE)),
        "Laplace": lambda m, d: d.Laplace(t(m, SCALE), t(m, SCALE)),
        "Gumbel": lambda m, d: d.Gumbel(t(m, LOC), t(m, SCALE)),
        "Exponential": lambda m, d: d.Exponential(t(m, SCALE)),
        "Gamma": lambda m, d: d.Gamma(t(m, SCALE), t(m, PROBS)),
        "Beta": lambda m, d: d.Beta(t(m, SCALE), t(m, PROBS)),
        "Uniform": lambda m, d: d.Uniform(t(m, [0.1, 0.2, 0.3]), t(m, [0.5, 0.9, 1.3])),
        "Bernoulli": lambda m, d: d.Bernoulli(t(m, PROBS)),
        "Poisson": lambda m, d: d.Poisson(t(m, SCALE)),
        "Categorical": lambda m, d: d.Categorical(t(m, SIMPLEX)),
        "OneHot": lambda m, d: d.OneHotCategorical(t(m, SIMPLEX)),
        "Dirichlet": lambda m, d: d.Dirichlet(t(m, SCALE)),
        "Geometric": lambda m, d: d.Geometric(t(m, PROBS)),
        "Cauchy": lambda m, d: d.Cauchy(t(m, LOC), t(m, SCALE)),
        "HalfNormal": lambda m, d: d.HalfNormal(t(m, SCALE)),
        "LogNormal": lambda m, d: d.LogNormal(t(m, LOC), t(m, SCALE)),
        "Binomial": lambda m, d: d.Binomial(3, t(m, PROBS)),
        "Independent": lambda m, d: d.Independent(d.Normal(t(m, LOC), 1.0), 1),
        "MVN": lambda m, d: d.MultivariateNormal(
            t(m, LOC), t(m, [[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.7]])
        ),
        "MVN2": lambda m, d: d.MultivariateNormal(t(m, SCALE), m.eye(3)),
    }
    return members


KL = kl_cases()


@pytest.mark.parametrize("p", KL)
@pytest.mark.parametrize("q", KL)
def test_divergences(p, q):
    values = [
        result(
            lambda m=m: m.distributions.kl_divergence(*(KL[k](m, m.distributions) for k in (p, q)))
        )
        for m in (flambeau, torch)
    ]
    same_result(*values, rtol=1e-3, atol=1e-4)


def test_a_registered_divergence_is_found():
    d = flambeau.distributions

    class Mine(d.Normal):
        pass

    assert float(d.kl_divergence(Mine(0.0, 1.0), d.Normal(1.0, 1.0))) == 0.5

    @d.register_kl(Mine, Mine)
    def mine(p, q):
        return flambeau.tensor(7.0)

    assert float(d.kl_divergence(Mine(0.0, 1.0), Mine(1.0, 1.0))) == 7.0


ERRORS = [
    lambda m, d: d.Normal(m.tensor([0.0, float("nan")]), 1.0),
    lambda m, d: d.Normal(0.0, -1.0),
    lambda m, d: d.Normal("a", 1.0),
    lambda m, d: d.Uniform(1.0, 0.0),
    lambda m, d: d.Bernoulli(),
    lambda m, d: d.Bernoulli(0.5, 0.5),
    lambda m, d: d.Bernoulli(2.0),
    lambda m, d: d.Categorical(m.tensor(1.0)),
    lambda m, d: d.Categorical(logits=m.tensor(1.0)),
    lambda m, d: d.Bernoulli(0.5).log_prob(m.tensor(0.5)),
    lambda m, d: d.Normal(0.0, 1.0).log_prob(1.0),
    lambda m, d: d.Normal(m.tensor([0.0, 1.0]), 1.0).log_prob(m.ones(3)),
    lambda m, d: d.Multinomial(3, m.tensor([0.5, 0.5])).log_prob(m.ones(3)),
    lambda m, d: d.Multinomial(m.tensor(3), m.tensor([0.5, 0.5])),
    lambda m, d: d.Categorical(m.tensor([0.5, 0.5])).log_prob(m.tensor(2)),
    lambda m, d: d.Uniform(0.0, 1.0).log_prob(m.tensor(2.0)),
    lambda m, d: d.Normal(0.0, 1.0).sample_n(3),
    lambda m, d: d.Independent(d.Normal(m.zeros(2), 1.0), 2),
    lambda m, d: d.MultivariateNormal(m.zeros(2)),
    lambda m, d: d.MultivariateNormal(m.tensor(0.0), m.eye(2)),
    lambda m, d: d.MultivariateNormal(m.zeros(2), m.tensor([1.0, 2.0])),
    lambda m, d: d.MultivariateNormal(m.zeros(2), -m.eye(2)),
    lambda m, d: d.Dirichlet(m.tensor(1.0)),
    lambda m, d: d.Geometric(0.0),
    lambda m, d: d.Binomial(m.tensor([1, 2]), m.tensor([0.4, 0.5])).enumerate_support(),
    lambda m, d: d.Bernoulli(0.5).rsample(),
    lambda m, d: d.biject_to(d.constraints.boolean),
    lambda m, d: d.Distribution(),
]


@pytest.mark.usefixtures("validating")
@pytest.mark.parametrize("build", ERRORS)
def test_errors(build):
    ours, theirs = (outcome(lambda m=m: build(m, m.distributions)) for m in (flambeau, torch))
    rename = str.maketrans({"-": ""})
    assert str(ours).replace("flambeau", "torch").translate(rename) == str(theirs).translate(rename)


def test_validation_can_be_switched_off():
    d = flambeau.distributions
    assert float(d.Uniform(0.0, 1.0, validate_args=False).log_prob(flambeau.tensor(2.0))) == float(
        "-inf"
    )


TRANSFORMS = {
    "exp": lambda m, d: d.ExpTransform(),
    "sigmoid": lambda m, d: d.SigmoidTransform(),
    "tanh": lambda m, d: d.TanhTransform(),
    "softplus": lambda m, d: d.SoftplusTransform(),
    "affine": lambda m, d: d.AffineTransform(t(m, LOC), t(m, SCALE)),
    "affine-event": lambda m, d: d.AffineTransform(1.0, -2.0, event_dim=1),
    "power": lambda m, d: d.ComposeTransform([d.ExpTransform(), d.PowerTransform(t(m, 2.0))]),
    "compose": lambda m, d: d.ComposeTransform([d.AffineTransform(1.0, 2.0), d.ExpTransform()]),
    "compose-event": lambda m, d: d.ComposeTransform(
        [d.AffineTransform(1.0, 2.0), d.StickBreakingTransform()]
    ),
    "independent": lambda m, d: d.IndependentTransform(d.ExpTransform(), 1),
    "stick": lambda m, d: d.StickBreakingTransform(),
    "reshape": lambda m, d: d.ReshapeTransform((3,), (3, 1)),
    "corr": lambda m, d: d.CorrCholeskyTransform(),
    "corr-registered": lambda m, d: d.transform_to(d.constraints.corr_cholesky),
    "stack": lambda m, d: d.StackTransform([d.ExpTransform(), d.TanhTransform()], 0),
    "cat": lambda m, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], 1, [1, 2]),
    "cdf": lambda m, d: d.CumulativeDistributionTransform(d.Normal(0.0, 1.0)),
    "inverse": lambda m, d: d.ComposeTransform([d.ExpTransform(), d.ExpTransform().inv]),
    "identity": lambda m, d: d.identity_transform,
    "positive": lambda m, d: d.biject_to(d.constraints.positive),
    "interval": lambda m, d: d.transform_to(d.constraints.interval(-1.0, 2.0)),
    "greater": lambda m, d: d.biject_to(d.constraints.greater_than(2.0)),
    "simplex": lambda m, d: d.biject_to(d.constraints.simplex),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    values = [[0.3, -0.5, 1.2], [0.1, 0.4, -0.9]]
    results = []
    for module in (flambeau, torch):
        transform = TRANSFORMS[name](module, module.distributions)
        x = t(module, values)
        y = transform(x)
        results.append(
            (
                repr(transform),
                repr(transform.domain),
                repr(transform.codomain),
                transform.bijective,
                y,
                transform.inv(y),
                transform.log_abs_det_jacobian(x, y),
                transform.inv.log_abs_det_jacobian(y, x),
            )
        )
        assert transform.inv.inv is transform or name == "identity"
    ours, theirs = results
    assert ours[:4] == theirs[:4]
    for mine, reference in zip(ours[4:], theirs[4:], strict=True):
        same(mine, reference, rtol=1e-4, atol=1e-5)


def test_softmax_and_cholesky_transforms():
    for name in ("SoftmaxTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform"):
        x = [[0.3, -0.5], [0.1, 0.4]]
        ours, theirs = (
            getattr(module.distributions, name)()(t(module, x)) for module in (flambeau, torch)
        )
        same(ours, theirs)
        back = [
            getattr(module.distributions, name)().inv(value)
            for module, value in ((flambeau, ours), (torch, theirs))
        ]
        same(*back, rtol=1e-4, atol=1e-5)


def test_cached_inverse_is_the_same_object():
    transform = flambeau.distributions.ExpTransform(cache_size=1)
    x = flambeau.tensor([1.0, 2.0])
    assert transform.inv(transform(x)) is x


CONSTRAINTS = [
    ("real", [0.0, float("nan")]),
    ("positive", [0.0, 1.0]),
    ("nonnegative", [0.0, -1.0]),
    ("unit_interval", [0.0, 1.5]),
    ("boolean", [0.0, 0.5]),
    ("nonnegative_integer", [0.0, 1.5]),
    ("simplex", [[0.5, 0.5], [0.5, 0.6]]),
    ("one_hot", [[0.0, 1.0], [1.0, 1.0]]),
    ("lower_triangular", [[1.0, 0.0], [1.0, 1.0]]),
    ("lower_cholesky", [[1.0, 0.0], [1.0, -1.0]]),
    (
        "corr_cholesky",
        [[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.6, 0.7]], [[1.0, 0.0], [1.0, 0.0]]],
    ),
    ("symmetric", [[1.0, 0.5], [0.5, 1.0]]),
    ("positive_definite", [[1.0, 0.5], [0.5, 1.0]]),
    ("positive_semidefinite", [[1.0, 2.0], [2.0, 1.0]]),
    ("square", [[1.0, 0.5], [0.5, 1.0]]),
    ("real_vector", [[1.0, 0.5], [0.5, float("nan")]]),
]


@pytest.mark.parametrize(("name", "values"), CONSTRAINTS)
def test_constraints(name, values):
    ours, theirs = (getattr(m.distributions.constraints, name) for m in (flambeau, torch))
    assert repr(ours) == repr(theirs)
    assert ours.event_dim == theirs.event_dim
    assert ours.is_discrete == theirs.is_discrete
    assert ours.check(t(flambeau, values)).tolist() == theirs.check(t(torch, values)).tolist()


@pytest.mark.parametrize("name", torch.distributions.constraints.__all__)
def test_no_constraint_is_missing(name):
    assert hasattr(flambeau.distributions.constraints, name)


def test_mode_where_the_density_is_infinite_in_every_corner() -> None:
    rows = [[0.3, 0.9, 0.5], [0.3, 2.0, 0.5], [1.0, 1.0, 1.0], [0.9, 0.2, 0.1]]
    found = flambeau.distributions.Dirichlet(flambeau.tensor(rows)).mode
    expected = torch.distributions.Dirichlet(torch.tensor(rows)).mode
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    a, b = [0.2, 0.6, 3.0], [0.5, 0.5, 2.0]
    found = flambeau.distributions.Beta(flambeau.tensor(a), flambeau.tensor(b)).mode
    expected = torch.distributions.Beta(torch.tensor(a), torch.tensor(b)).mode
    np.testing.assert_allclose(found.numpy(), expected.numpy())
