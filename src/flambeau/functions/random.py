"""Random tensors: the numbers that PyTorch's CPU generator draws from the same seed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import flambeau.ir.variates  # noqa: F401  (declares primitives)
from flambeau import dtypes
from flambeau.device import CPU
from flambeau.device import device as Device
from flambeau.functions.creation import empty_like, empty_permuted
from flambeau.functions.dims import as_int, as_shape, sizes_given
from flambeau.functions.inplace import title, write_out
from flambeau.functions.making import device_of, hollow, is_meta, made
from flambeau.functions.memory_order import memory_order, restored
from flambeau.ir.primitive import broadcast_shapes
from flambeau.layouts import preserve_format
from flambeau.record import alias
from flambeau.record.absent import is_absent
from flambeau.record.builder import check_writable
from flambeau.record.macro import function, ops
from flambeau.record.overlap import refuse_repeated
from flambeau.record.trace import defaults, open_
from flambeau.run import random as engine
from flambeau.tensor import Tensor, concrete

if TYPE_CHECKING:
    from collections.abc import Sequence


class Generator:
    """A source of random numbers: PyTorch's Mersenne Twister.

    >>> Generator().manual_seed(3).initial_seed()
    3
    """

    def __init__(self, device: Any = "cpu") -> None:
        kind = (device if isinstance(device, Device) else Device(device)).type
        if kind != "cpu":
            raise RuntimeError(f"Cannot get a generator of device type {kind}: there is none")
        self.engine = engine.MersenneTwister()
        self.device = CPU

    def manual_seed(self, seed: int) -> Generator:
        """Begins again from ``seed``; gives the generator back."""
        try:
            self.engine.seed(int(seed))
        except ValueError as e:
            raise RuntimeError(str(e)) from None
        return self

    def seed(self) -> int:
        """Begins again from a seed of the operating system's; gives it."""
        seed = int.from_bytes(os.urandom(8), "little") ^ time.time_ns() & (2**63 - 1)
        seed &= 2**63 - 1
        self.engine.seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed last set."""
        return self.engine.initial_seed % 2**64

    def get_state(self) -> Tensor:
        """The state as 5056 bytes, in PyTorch's layout."""
        return concrete(self.engine.get_state(), dtypes.uint8)

    def set_state(self, new_state: Tensor) -> None:
        """Goes back to a state that ``get_state`` gave."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype is not dtypes.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        try:
            self.engine.set_state(np.array(new_state._value()._array()))
        except ValueError as e:
            raise RuntimeError(str(e)) from None

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        twin = Generator()
        twin.engine = self.engine.clone()
        return twin

    def __reduce__(self) -> tuple:
        return (_restored, (self.engine,))


def _restored(twister: Any) -> Generator:
    made = Generator()
    made.engine = twister
    return made


default_generator = Generator()


def twister(generator: Generator | None) -> Any:
    """The engine of a generator, the default one for None."""
    return (generator or default_generator).engine


def rand(
    *size: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Numbers uniform in [0, 1).

    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    shape = _shape("rand", size, named)
    dtype = _floating(dtype, out, "rand")
    if is_meta(device):
        return _given(hollow(shape, dtype), dtype, requires_grad, device, out, "rand")
    array = engine.uniform(twister(generator), shape, 0.0, 1.0, dtype.numpy)
    return _given(array, dtype, requires_grad, device, out, "rand")


def randn(
    *size: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1.

    >>> _ = torch.manual_seed(0)
    >>> torch.randn(2)
    tensor([ 1.5410, -0.2934])
    """
    shape = _shape("randn", size, named)
    dtype = _floating(dtype, out, "normal_kernel_cpu")
    if is_meta(device):
        return _given(hollow(shape, dtype), dtype, requires_grad, device, out, "rand")
    array = engine.normal(twister(generator), shape, 0.0, 1.0, dtype.numpy)
    return _given(array, dtype, requires_grad, device, out, "randn")


def _shape(name: str, size: tuple, named: dict) -> tuple[int, ...]:
    named.pop("names", None)
    shape = sizes_given(name, "size", size, named)
    for n in shape:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(shape)}"
            )
    return shape


def _floating(dtype: Any, out: Any, name: str) -> dtypes.dtype:
    dtype = dtype or (out.dtype if out is not None else defaults.dtype)
    if dtype.category < 2:
        from flambeau.functions.inplace import title

        raise NotImplementedError(f"\"{name}\" not implemented for '{title(dtype)}'")
    return dtype


def _given(
    array: np.ndarray, dtype: Any, requires_grad: bool, device: Any, out: Any, name: str
) -> Tensor:
    result = made(array, dtype, requires_grad, device)
    return result if out is None else write_out(out, result, name)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Integers uniform in [low, high).

    >>> torch.randint(5, (2,)).shape
    torch.Size([2])
    """
    if size is None:
        if isinstance(high, (tuple, list)):
            low, high, size = 0, low, high
        else:
            raise TypeError("randint(): argument 'size' must be tuple of ints")
    elif high is None:
        low, high = 0, low
    low, high = as_int(low, "low"), as_int(high, "high")
    dtype = dtype or (out.dtype if out is not None else dtypes.int64)
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    shape = as_shape((size,))
    if is_meta(device):
        return _given(hollow(shape, dtype), dtype, requires_grad, device, out, "randint")
    array = _checked(engine.randint, twister(generator), shape, low, high, dtype.numpy)
    return _given(array, dtype, requires_grad, device, out, "randint")


def _checked(f: Any, *args: Any) -> Any:
    """Bad arguments are ``RuntimeError`` in PyTorch."""
    try:
        return f(*args)
    except (ValueError, OverflowError) as e:
        raise RuntimeError(str(e)) from None


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """0 … n - 1 in random order.

    >>> torch.randperm(4).sum()
    tensor(6)
    """
    n = as_int(n, "n")
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got{n}")
    dtype = dtype or (out.dtype if out is not None else dtypes.int64)
    if is_meta(device):
        return _given(hollow((n,), dtype), dtype, requires_grad, device, out, "randperm")
    array = _checked(engine.randperm, twister(generator), n, dtype.numpy)
    return _given(array, dtype, requires_grad, device, out, "randperm")


def _like(name: str, f: Any, fill: Any) -> Any:
    """``f`` makes the tensor; ``fill`` fills one that lies in memory as ``input`` does."""

    def like(
        input: Tensor,
        *args: Any,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
        generator: Generator | None = None,
        **named: Any,
    ) -> Tensor:
        dtype, shape = dtype or input.dtype, tuple(input.shape)
        device = device_of(input, device)
        order = memory_order(input)
        if order is not None and (memory_format is None or memory_format is preserve_format):
            result = empty_permuted(shape, order, dtype=dtype, device=device)
            return fill(result, generator, *args, **named).requires_grad_(requires_grad)
        return f(
            *args,
            **named,
            size=shape,
            dtype=dtype,
            device=device,
            requires_grad=requires_grad,
            generator=generator,
        )

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"``{name.removesuffix('_like')}`` with the shape and dtype of ``input``."
    return like


def _between(low: int, high: int | None = None) -> tuple[int, int]:
    return (0, low) if high is None else (low, high)


rand_like = _like("rand_like", rand, lambda t, generator: uniform_(t, generator=generator))
randn_like = _like("randn_like", randn, lambda t, generator: normal_(t, generator=generator))
randint_like = _like(
    "randint_like",
    lambda low, high=None, *, size, **kw: randint(*_between(low, high), size, **kw),
    lambda t, generator, low, high=None: random_(t, *_between(low, high), generator=generator),
)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal numbers of given means and standard deviations (tensors or numbers).

    Raises ``RuntimeError`` for a negative standard deviation.

    >>> torch.normal(0.0, 1.0, (2, 3)).shape
    torch.Size([2, 3])
    """
    if size is not None:
        shape = as_shape((size,))
        dtype = _floating(dtype, out, "normal_kernel_cpu")
        _check_std(std)
        if is_meta(device):
            return _given(hollow(shape, dtype), dtype, requires_grad, device, out, "normal")
        array = engine.normal(twister(generator), shape, float(mean), float(std), dtype.numpy)
        return _given(array, dtype, requires_grad, device, out, "normal")
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        raise TypeError("normal() received an invalid combination of arguments: numbers need size")
    if any(is_absent(x) for x in tensors):
        # Their sum, for its shape and dtype.
        return empty_like(tensors[0] + tensors[-1])  # type: ignore[operator]
    for t in (std,):
        _check_std(t)
    shape = broadcast_shapes(*[tuple(t.shape) for t in tensors])
    kind = _floating(tensors[0].dtype, None, "normal_kernel_cpu")
    draw = engine.normal(twister(generator), shape, 0.0, 1.0, kind.numpy)
    values = [x._value()._array() if isinstance(x, Tensor) else x for x in (mean, std)]
    array = (draw * values[1] + values[0]).astype(kind.numpy)
    result = _given(np.array(array), kind, requires_grad, device, out, "normal")
    return _drawn(result, tensors) if out is None and not requires_grad else result


@function(grad="NormalBackward0")
def _drawn(values: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """What was drawn from a distribution with these parameters: their gradients are zero."""
    return ops.tied(values, *parameters)


def _check_std(std: Any) -> None:
    if isinstance(std, Tensor):
        if std.dtype.is_complex:
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if std.numel() and std._value()._array().real.min() < 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")


@function(grad="BernoulliBackward0")
def _constant(input: Tensor, drawn: Tensor) -> Tensor:
    return ops.rebase(drawn, ops.mul(input, 0.0)) if input.requires_grad else ops.detach(drawn)


def bernoulli(
    input: Tensor,
    p: float | None = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Zeros and ones; one with the probability that ``input`` (or ``p``) gives.

    >>> torch.bernoulli(torch.ones(3))
    tensor([1., 1., 1.])
    """
    if is_absent(input):
        return empty_like(input)
    if p is not None:
        array = engine.bernoulli(twister(generator), tuple(input.shape), p, input.dtype.numpy)
    else:
        probabilities = input.detach()._value()._array()
        if input.dtype.category != 2:
            _floating(input.dtype, None, "bernoulli_tensor_cpu_p_")
        if probabilities.size and not ((probabilities >= 0).all() and (probabilities <= 1).all()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        array = engine.bernoulli_array(twister(generator), probabilities, input.dtype.numpy)
    result = concrete(np.array(array), input.dtype)
    if out is not None:
        return write_out(out, result, "bernoulli")
    return _constant(input, result) if input.requires_grad and open_.state.grad else result


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Indices drawn with the probabilities that a vector, or each row, weighs.

    >>> torch.multinomial(torch.tensor([0.0, 1.0]), 1)
    tensor([1])
    """
    if input.dtype.category != 2:
        raise RuntimeError(
            "multinomial only supports floating-point dtypes for input, got: "
            + str(input.dtype).replace("torch.", "")
        )
    if is_absent(input):
        return input.new_empty((*input._meta.shape[:-1], num_samples), dtype=dtypes.int64)  # type: ignore[attr-defined]
    array = _checked(
        engine.multinomial, twister(generator), input.detach()._value()._array(), num_samples,
        replacement,
    )  # fmt: skip
    return _given(np.array(array), dtypes.int64, False, None, out, "multinomial")


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts of given rates.

    >>> torch.poisson(torch.zeros(2))
    tensor([0., 0.])
    """
    array = _checked(engine.poisson, twister(generator), input.detach()._value()._array())
    return _drawn(concrete(np.array(array), input.dtype), (input,))


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Binomial counts. ``ValueError`` for other dtypes than floating ones."""
    for name, x in (("count", count), ("prob", prob)):
        if x.dtype.category != 2:
            raise ValueError(
                f"binomial only supports floating-point dtypes for {name}, got: {title(x.dtype)}"
            )
    array = _checked(
        engine.binomial, twister(generator), count.detach()._value()._array(),
        prob.detach()._value()._array(),
    )  # fmt: skip
    return _drawn(concrete(np.array(array), count.dtype), (count, prob))


@function(grad="StandardGammaBackward0")
def _gamma_draw(input: Tensor, drawn: Tensor) -> Tensor:
    return ops.standard_gamma_draw(input, drawn)


@function(grad="SampleDirichletBackward0")
def _dirichlet_draw(input: Tensor, drawn: Tensor) -> Tensor:
    return ops.dirichlet_draw(input, drawn)


def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma variates of given shapes and rate 1; gradients reach the shapes."""
    array = engine.standard_gamma(twister(generator), input.detach()._value()._array())
    return _gamma_draw(input, concrete(np.array(array), input.dtype))


def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Dirichlet variates of concentrations along the last axis; gradients reach them."""
    array = engine.dirichlet(twister(generator), input.detach()._value()._array())
    return _dirichlet_draw(input, concrete(np.array(array), input.dtype))


# --------------------------------------------------------------------------- in place


def overwrite(input: Tensor, array: np.ndarray) -> Tensor:
    """Gives a tensor new values that no gradient flows to."""
    check_writable(input)
    refuse_repeated(input)
    tr = open_.trace
    storage = input._storage
    if (
        storage is not None
        and storage.trace is None
        and not tr.closed
        and (tr.node is tr.root and not tr.inputs)
        and input._meta.leaf
        and alias.turn_of(input) is None
    ):
        storage.writable()
        input._array()[...] = array
        storage.version += 1
        return input
    return input.copy_(concrete(np.array(array), input.dtype))


def _filler(name: str, draw: Any, text: str) -> Any:
    def fill(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        generator = kwargs.pop("generator", None)
        if is_absent(input):
            check_writable(input)
            return input
        shape, order = tuple(input.shape), memory_order(input)
        if order is not None:
            shape = tuple([shape[d] for d in order])
        array = _checked(lambda: draw(twister(generator), shape, input, *args, **kwargs))
        return overwrite(input, array if order is None else array.transpose(restored(order)))

    fill.__name__ = fill.__qualname__ = name
    fill.__doc__ = text
    return fill


def _uniform(e: Any, shape: tuple, t: Tensor, a: float = 0.0, b: float = 1.0, **kw: Any) -> Any:
    a, b = kw.get("from", a), kw.get("to", b)
    if a > b:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}"
        )
    return engine.uniform(
        e, shape, float(a), float(b), _floating(t.dtype, None, "check_uniform_bounds").numpy
    )


def _normal(e: Any, shape: tuple, t: Tensor, mean: float = 0.0, std: float = 1.0) -> Any:
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, Tensor) and value.dim():
            raise TypeError(f"normal_(): argument '{name}' must be float, not Tensor")
    _check_std(std)
    dtype = _floating(t.dtype, None, "normal_kernel_cpu")
    return engine.normal(e, shape, float(mean), float(std), dtype.numpy, t.is_contiguous())


def _bernoulli(e: Any, shape: tuple, t: Tensor, p: Any = 0.5) -> Any:
    if isinstance(p, Tensor):
        probabilities = np.broadcast_to(p.detach()._value()._array(), tuple(t.shape))
        probabilities = probabilities.transpose(memory_order(t) or range(t.dim()))
        return engine.bernoulli_array(e, probabilities, t.dtype.numpy)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return engine.bernoulli(e, shape, float(p), t.dtype.numpy)


def _random(e: Any, shape: tuple, t: Tensor, *bounds: Any, **kw: Any) -> Any:
    low, high = kw.get("from", 0), kw.get("to")
    if len(bounds) == 2:
        low, high = bounds
    elif len(bounds) == 1:
        high = bounds[0]
    if high is None:
        if "from" in kw or len(bounds) == 2:
            return engine.random_from(e, shape, int(low), t.dtype.numpy)
        return engine.random(e, shape, t.dtype.numpy)
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    return engine.randint(e, shape, int(low), int(high), t.dtype.numpy)


uniform_ = _filler("uniform_", _uniform, "Uniform numbers in [from, to).")
normal_ = _filler("normal_", _normal, "Normal numbers.")
bernoulli_ = _filler("bernoulli_", _bernoulli, "Zeros and ones.")
random_ = _filler("random_", _random, "Integers in [from, to), or over the dtype's range.")
exponential_ = _filler(
    "exponential_",
    lambda e, s, t, lambd=1.0: engine.exponential(e, s, float(lambd), t.dtype.numpy),
    "Exponential numbers of rate ``lambd``.",
)
geometric_ = _filler(
    "geometric_",
    lambda e, s, t, p: engine.geometric(e, s, float(p), t.dtype.numpy),
    "Geometric counts.",
)
cauchy_ = _filler(
    "cauchy_",
    lambda e, s, t, median=0.0, sigma=1.0: engine.cauchy(
        e, s, float(median), float(sigma), t.dtype.numpy
    ),
    "Cauchy numbers.",
)
log_normal_ = _filler(
    "log_normal_",
    lambda e, s, t, mean=1.0, std=2.0: engine.log_normal(
        e, s, float(mean), float(std), t.dtype.numpy
    ),
    "Log-normal numbers.",
)
__all__ = ["alias", "default_generator"]
