"""The language of samples, and that what is made of them notices what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from generated import comparing, functions, operands, samples, variants
from generated.samples import Sample


def parsed(name: str, text: str) -> list[Sample]:
    errors: list[str] = []
    found = samples.parse(name, text, "place.py:1", errors)
    assert not errors
    return found


def test_samples_are_split_outside_of_brackets_and_quotes() -> None:
    found = parsed("f", "x, ';|#'; {'a': 1}, (2, [3]); !x | y; x # loose, no-compile (a; b);")
    # The empty text behind the last separator is a call without arguments.
    assert [s.text for s in found] == ["x, ';|#'", "{'a': 1}, (2, [3])", "!x | y", "x", ""]
    assert [s.refused for s in found] == [False, False, True, False, False]
    assert [s.then for s in found] == [None, None, "y", None, None]
    assert found[3].markers == {"loose", "no-compile (a; b)"}
    assert found[2].operands == ("x", "y")


def test_operands_are_names_that_no_lambda_binds() -> None:
    (sample,) = parsed("f", "lambda v, *, w=x: [v * i + q for q in range(3)], y")
    assert set(sample.operands) == {"x", "i", "y"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x, nothing", "no operand 'nothing'"),
        ("x,, y", "invalid syntax"),
        ("x) + (y", "not the arguments of a call"),
        ("x # never", "no marker 'never'"),
        ("x | y | z", "more than one |"),
        ("x; x", "twice"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_sample(text: str, what: str) -> None:
    errors: list[str] = []
    samples.parse("f", text, "place.py:1", errors)
    assert len(errors) == 1
    assert errors[0].startswith("place.py:1: f[")
    assert what in errors[0]


@pytest.mark.parametrize("layout", operands.LAYOUTS)
def test_operands_are_new_each_time(layout: str) -> None:
    for name in operands.ARRAYS:
        before = operands.ARRAYS[name].copy()
        (t,) = operands.build(flambeau, [name], layout=layout).values()
        if t.numel() and t.dtype is not flambeau.bool:
            t.add_(1)
        np.testing.assert_array_equal(operands.ARRAYS[name], before)


class Wrong:
    """A function of Flambeau's that goes wrong in one way."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, x: Any) -> Any:
        if self.how == "value":
            return x.sin() + 1e-2
        if self.how == "dtype":
            return x.sin().double()
        if self.how == "shape":
            return x.sin()[None]
        if self.how == "gradient":
            return x.sin().detach() + 0 * x
        if self.how == "second gradient":
            return x.sin().detach() + (x - x.detach()) * x.detach().cos()
        if self.how == "history":
            return x.sin().detach()
        if self.how == "writes":
            y = x.sin()
            x.data.zero_()
            return y
        raise ValueError(self.how)


@pytest.mark.parametrize(
    "how",
    ["value", "dtype", "shape", "gradient", "second gradient", "history", "writes", "error"],
)
def test_what_is_wrong_is_noticed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = parsed("sin", "x")
    functions.check(sample)
    monkeypatch.setattr(flambeau, "sin", Wrong(how))
    with pytest.raises(comparing.Difference):
        functions.check(sample)


def test_a_refusal_of_another_type_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = parsed("softmax", "!x, 5")
    functions.check(sample)
    monkeypatch.setattr(flambeau, "softmax", lambda x, dim: Wrong("another")(x))
    with pytest.raises(comparing.Difference, match="ValueError"):
        functions.check(sample)
    monkeypatch.setattr(flambeau, "softmax", lambda x, dim: x)
    with pytest.raises(comparing.Difference, match="taken"):
        functions.check(sample)


def test_guises_are_found() -> None:
    (sample,) = parsed("sin", "x")
    assert set(variants.guises(sample)) == {"Tensor.sin", "Tensor.sin_", "sin_"}
    names = [name for name, _ in variants.variants(sample)]
    assert {"transposed", "spread", "float64", "bfloat16", "complex64", "out="} <= set(names)


def test_each_guise_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = parsed("sin", "x")
    variants.check([sample])
    monkeypatch.setattr(flambeau.Tensor, "sin_", lambda t: t.cos_())
    with pytest.raises(comparing.Difference, match="sin_"):
        variants.check([sample])


def test_compiling_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a compiled test runs is native, what others run is not."""
    from flambeau.run import program

    if program.TIER != "auto":
        pytest.skip("FLAMBEAU_TIER says which tier there is")
    made: list[int] = []
    interpret = program.Program.interpret
    monkeypatch.setattr(
        program.Program, "interpret", lambda self, *a: made.append(1) or interpret(self, *a)
    )
    (sample,) = parsed("sin", "x * 1.25, ")
    functions.check(sample)
    assert made
    made.clear()
    functions.check_compiled(sample)
    assert not made
