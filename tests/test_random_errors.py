"""Bad arguments to the random engine raise PyTorch's exceptions, word for word."""

import math

import numpy as np
import pytest
import torch

from flambeau.run import random
from flambeau.run.random import MersenneTwister

nan, inf = math.nan, math.inf


def array(values, dtype=np.float32):
    return np.array(values, dtype)


ERRORS = [
    (lambda e: random.uniform(e, 3, 1, 0), lambda: torch.empty(3).uniform_(1, 0)),
    (lambda e: random.uniform(e, 3, 1.5, inf), lambda: torch.empty(3).uniform_(1.5, inf)),
    (lambda e: random.uniform(e, 3, nan, 1), lambda: torch.empty(3).uniform_(nan, 1)),
    (lambda e: random.uniform(e, 3, -3e38, 3e38), lambda: torch.empty(3).uniform_(-3e38, 3e38)),
    (
        lambda e: random.uniform(e, 3, 0, 1e6, np.float16),
        lambda: torch.empty(3, dtype=torch.half).uniform_(0, 1e6),
    ),
    (lambda e: random.uniform(e, 3, dtype="i4"), lambda: torch.empty(3).int().uniform_()),
    (lambda e: random.normal(e, 3, 0, -1.5), lambda: torch.empty(3).normal_(0, -1.5)),
    (lambda e: random.normal(e, 3, 0, nan), lambda: torch.empty(3).normal_(0, nan)),
    (lambda e: random.normal(e, 3, dtype="i8"), lambda: torch.empty(3).long().normal_()),
    (lambda e: random.exponential(e, 3, 0), lambda: torch.empty(3).exponential_(0)),
    (lambda e: random.exponential(e, 3, dtype="i4"), lambda: torch.empty(3).int().exponential_()),
    (lambda e: random.geometric(e, 3, 0), lambda: torch.empty(3).geometric_(0)),
    (lambda e: random.geometric(e, 3, 0.5, bool), lambda: torch.empty(3).bool().geometric_(0.5)),
    (lambda e: random.cauchy(e, 3, 0, 0), lambda: torch.empty(3).cauchy_(0, 0)),
    (lambda e: random.cauchy(e, 3, dtype="i2"), lambda: torch.empty(3).short().cauchy_()),
    (lambda e: random.log_normal(e, 3, 0, 0), lambda: torch.empty(3).log_normal_(0, 0)),
    (lambda e: random.log_normal(e, 3, dtype="i4"), lambda: torch.empty(3).int().log_normal_()),
    (lambda e: random.bernoulli(e, 3, 1.25), lambda: torch.empty(3).bernoulli_(1.25)),
    (lambda e: random.bernoulli_array(e, array(2)), lambda: torch.bernoulli(torch.tensor(2.0))),
    (lambda e: random.bernoulli_array(e, array(nan)), lambda: torch.bernoulli(torch.tensor(nan))),
    (lambda e: random.bernoulli_array(e, array(1, "i8")), lambda: torch.bernoulli(torch.tensor(1))),
    (lambda e: random.randint(e, 2, 5, 5), lambda: torch.randint(5, 5, (2,))),
    (
        lambda e: random.randint(e, 2, 0, 300, np.int8),
        lambda: torch.randint(0, 300, (2,), dtype=torch.int8),
    ),
    (
        lambda e: random.randint(e, 2, -1, 300, np.uint8),
        lambda: torch.randint(-1, 300, (2,), dtype=torch.uint8),
    ),
    (
        lambda e: random.randint(e, 2, -99999, 3, np.int16),
        lambda: torch.randint(-99999, 3, (2,), dtype=torch.int16),
    ),
    (
        lambda e: random.randint(e, 2, 0, 2**40, np.int32),
        lambda: torch.randint(0, 2**40, (2,), dtype=torch.int32),
    ),
    (
        lambda e: random.randint(e, 2, 0, 70000, np.float16),
        lambda: torch.randint(0, 70000, (2,), dtype=torch.half),
    ),
    (
        lambda e: random.randint(e, 2, 0, 3, bool),
        lambda: torch.randint(0, 3, (2,), dtype=torch.bool),
    ),
    (
        lambda e: random.randint(e, 2, 0, 3, np.complex64),
        lambda: torch.randint(0, 3, (2,), dtype=torch.complex64),
    ),
    (lambda e: random.random(e, 2, "u2"), lambda: torch.empty(2, dtype=torch.uint16).random_()),
    (lambda e: random.random(e, 2, "c8"), lambda: torch.empty(2, dtype=torch.cfloat).random_()),
    (lambda e: random.randperm(e, -1), lambda: torch.randperm(-1)),
    (lambda e: random.randperm(e, 300, "u1"), lambda: torch.randperm(300, dtype=torch.uint8)),
    (lambda e: random.randperm(e, 3000, "f2"), lambda: torch.randperm(3000, dtype=torch.half)),
    (
        lambda e: random.randperm(e, 2**24 + 2, "f4"),
        lambda: torch.randperm(2**24 + 2, dtype=torch.float),
    ),
    (lambda e: random.randperm(e, 3, bool), lambda: torch.randperm(3, dtype=torch.bool)),
    (lambda e: random.randperm(e, 3, "c8"), lambda: torch.randperm(3, dtype=torch.cfloat)),
    (lambda e: random.poisson(e, array(-1)), lambda: torch.poisson(torch.tensor(-1.0))),
    (lambda e: random.poisson(e, array(nan)), lambda: torch.poisson(torch.tensor(nan))),
    (lambda e: random.poisson(e, array(1, "i8")), lambda: torch.poisson(torch.tensor(1))),
    (
        lambda e: random.standard_gamma(e, array(1, "f2")),
        lambda: torch._standard_gamma(torch.tensor(1.0).half()),
    ),
    (
        lambda e: random.binomial(e, array(1), array(1, "f8")),
        lambda: torch.binomial(torch.tensor(1.0), torch.tensor(1.0).double()),
    ),
    (
        lambda e: random.binomial(e, array(1, "i4"), array(1)),
        lambda: torch.binomial(torch.tensor(1).int(), torch.tensor(1.0)),
    ),
]
WEIGHTS = [
    ([0.5, -1.0], 1, False),
    ([0.5, -1.0], 2, True),
    ([0.5, inf], 2, True),
    ([0.5, inf], 2, False),
    ([0.5, nan], 2, False),
    ([0.0, 0.0], 1, False),
    ([0.0, 0.0], 2, True),
    ([1.0, 1.0], 3, False),
    ([1.0, 1.0], 0, False),
    ([], 1, False),
    (1.0, 1, False),
    ([[[1.0]]], 1, False),
]
for weights, k, again in WEIGHTS:
    ERRORS.append(
        (
            lambda e, w=weights, k=k, r=again: random.multinomial(e, array(w), k, r),
            lambda w=weights, k=k, r=again: torch.multinomial(torch.tensor(w), k, r),
        )
    )
ERRORS.append(
    (
        lambda e: random.multinomial(e, array([1, 2], "i8"), 1),
        lambda: torch.multinomial(torch.tensor([1, 2]), 1),
    )
)


@pytest.mark.parametrize(("ours", "theirs"), ERRORS)
def test_errors_are_pytorch_s(ours, theirs):
    engine = MersenneTwister(0)
    before = engine.get_state().tobytes()
    with pytest.raises((RuntimeError, ValueError)) as expected:
        theirs()
    with pytest.raises(type(expected.value)) as given_:
        ours(engine)
    assert str(given_.value) == str(expected.value)
    assert engine.get_state().tobytes() == before


def test_a_floating_type_that_skips_integers_warns():
    with pytest.warns(UserWarning, match=r"to - 1 is out of bounds \[-\(2\^11\), 2\^11\]"):
        random.randint(MersenneTwister(0), 3, 0, 3000, np.float16)
