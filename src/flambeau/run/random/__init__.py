"""The random engine: PyTorch's CPU generator and what it draws, on NumPy arrays."""

from ._names import not_implemented
from .discrete import binomial, multinomial, poisson
from .distributions import (
    bernoulli,
    bernoulli_array,
    cauchy,
    chosen,
    chosen_ahead,
    exponential,
    geometric,
    log_normal,
    normal,
    uniform,
)
from .engine import DEFAULT_SEED, STATE_SIZE, MersenneTwister
from .gamma import dirichlet, standard_gamma
from .integers import randint, random, random_from, randperm

__all__ = [
    "DEFAULT_SEED",
    "STATE_SIZE",
    "MersenneTwister",
    "bernoulli",
    "bernoulli_array",
    "binomial",
    "cauchy",
    "chosen",
    "chosen_ahead",
    "dirichlet",
    "exponential",
    "geometric",
    "log_normal",
    "multinomial",
    "normal",
    "not_implemented",
    "poisson",
    "randint",
    "random",
    "random_from",
    "randperm",
    "standard_gamma",
    "uniform",
]
