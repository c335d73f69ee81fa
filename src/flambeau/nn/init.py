"""Ways to fill the parameters of a network before training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_UNIT_GAIN = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    r"""The factor on the standard deviation that a nonlinearity asks for.

    1 for linear, convolutions and sigmoid, 5/3 for tanh, :math:`\sqrt 2` for relu,
    :math:`\sqrt{2 / (1 + a^2)}` for leaky relu of slope ``param``, 3/4 for selu.

    Raises: ``ValueError`` for another name, or a slope that is no number.

    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity in _UNIT_GAIN:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, int | float) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with numbers uniform in ``[a, b)``.

    >>> bool((uniform_(torch.empty(3)) < 1).all())
    True
    """
    with flambeau.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fills with normal numbers.

    >>> normal_(torch.empty(3)).shape
    torch.Size([3])
    """
    with flambeau.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fills with normal numbers truncated to ``[a, b]``, by drawing anew what falls outside.

    Where the interval holds at most 0.3 of the distribution, uniform numbers are accepted with the
    probability that the density asks for instead.

    >>> bool(trunc_normal_(torch.empty(100)).abs().max() <= 2)
    True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )

    def below(x: float) -> float:
        return (1.0 + math.erf((x - mean) / (std * math.sqrt(2.0)))) / 2.0

    with flambeau.no_grad():
        if below(b) - below(a) > 0.3:
            return _truncated_by_normal(tensor, mean, std, a, b, generator)
        return _truncated_by_uniform(tensor, mean, std, a, b, generator)


def _truncated_by_normal(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any
) -> Tensor:
    # All are drawn anew while one is outside, as PyTorch draws them.
    low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()
    result = tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (result < low) | (result > high)
        if not bool(outside.any()):
            return tensor if result is tensor else tensor.copy_(result)
        again = flambeau.empty_like(tensor).normal_(mean, std, generator=generator)
        result = flambeau.where(outside, again, result)


def _truncated_by_uniform(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any
) -> Tensor:
    # A uniform draw is kept with the probability that its density has of the highest one.
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    result, pending = None, None
    while pending is None or bool(pending.any()):
        drawn = flambeau.empty_like(tensor).uniform_(a, b, generator=generator)
        bound = ((drawn - mean) / std) ** 2 * -0.5 - peak
        refused = flambeau.empty_like(tensor).uniform_(generator=generator).log() > bound
        if result is None:
            result, pending = drawn, refused
        else:
            result = flambeau.where(pending, drawn, result)
            pending = pending & refused
    return tensor.copy_(result)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value.

    >>> constant_(torch.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    with flambeau.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fills with ones.

    >>> ones_(torch.empty(2))
    tensor([1., 1.])
    """
    with flambeau.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with zeros.

    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    with flambeau.no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Makes a matrix the identity.

    Raises: ``ValueError`` unless there are two dimensions.

    >>> eye_(torch.empty(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with flambeau.no_grad():
        tensor.copy_(flambeau.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Makes a convolution's weight pass its inputs through, each group its own.

    Raises: ``ValueError`` unless there are 3 to 5 dimensions and the first is a multiple of
    ``groups``.

    >>> dirac_(torch.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])
    """
    dimensions = tensor.ndimension()
    if dimensions not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    out_per_group = tensor.size(0) // groups
    centre = tuple(n // 2 for n in tensor.shape[2:])
    with flambeau.no_grad():
        tensor.zero_()
        for g in range(groups):
            for d in range(min(out_per_group, tensor.size(1))):
                tensor[(g * out_per_group + d, d, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    shape = tensor.shape
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    r"""Fills uniformly within :math:`\pm g \sqrt{6 / (n_{in} + n_{out})}` [Glorot and Bengio 2010].

    >>> bool(xavier_uniform_(torch.empty(3, 3)).abs().max() <= 1)
    True
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    r"""Fills with normal numbers of deviation :math:`g \sqrt{2 / (n_{in} + n_{out})}`
    [Glorot and Bengio 2010].

    >>> xavier_normal_(torch.empty(3, 3)).shape
    torch.Size([3, 3])
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return normal_(tensor, 0.0, std, generator)


def _no_elements(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    r"""Fills uniformly within :math:`\pm g \sqrt{3 / n}` [He et al. 2015].

    ``mode`` says which fan :math:`n` is, ``nonlinearity`` and ``a`` the gain :math:`g`.

    Raises: ``ValueError`` for another mode or nonlinearity.

    >>> bool(kaiming_uniform_(torch.empty(3, 3)).abs().max() <= 2 ** 0.5)
    True
    """
    if _no_elements(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    bound = math.sqrt(3.0) * std
    with flambeau.no_grad():
        return tensor.uniform_(-bound, bound, generator=generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    r"""Fills with normal numbers of deviation :math:`g / \sqrt n` [He et al. 2015].

    Arguments and errors as for :func:`kaiming_uniform_`.

    >>> kaiming_normal_(torch.empty(3, 3)).shape
    torch.Size([3, 3])
    """
    if _no_elements(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    with flambeau.no_grad():
        return tensor.normal_(0, std, generator=generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fills with a matrix of orthonormal rows or columns, times ``gain`` [Saxe et al. 2013].

    The dimensions after the first are one.

    Raises: ``ValueError`` with fewer than two dimensions.

    >>> w = orthogonal_(torch.empty(2, 3))
    >>> torch.allclose(w @ w.T, torch.eye(2), atol=1e-6)
    True
    """
    if tensor.ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows
    flat = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
    if rows < columns:
        flat = flat.t()
    q, r = flambeau.linalg.qr(flat)
    # The signs of R's diagonal make the distribution uniform over the orthogonal matrices.
    q = q * flambeau.diag(r, 0).sign()
    if rows < columns:
        q = q.t()
    with flambeau.no_grad():
        tensor.view_as(q).copy_(q)
        tensor.mul_(gain)
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fills a matrix with normal numbers and sets a part of each column to zero [Martens 2010].

    Raises: ``ValueError`` unless there are two dimensions.

    >>> int((sparse_(torch.empty(4, 3), sparsity=0.5) == 0).sum())
    6
    """
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with flambeau.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[flambeau.randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(function: Callable) -> Callable:
    old = function.__name__[:-1]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{old}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    wrapper.__name__ = old
    wrapper.__doc__ = f"Old name of :func:`{old}_`."
    return wrapper


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)


SAMPLES = {
    "nn.init.calculate_gain": "'linear'; 'conv2d'; 'sigmoid'; 'tanh'; 'relu'; 'leaky_relu';"
    " 'leaky_relu', 0.2; 'selu'; !'softmax'; !'leaky_relu', 'a'",
    "nn.init.uniform_": "torch.empty(3, 4); torch.empty(3, 4), -1.0, 2.0; torch.empty(0);"
    " torch.empty(20, dtype=torch.float64), b=3; !torch.empty(3), 2.0, 1.0; !i",
    "nn.init.normal_": "torch.empty(3, 4); torch.empty(20), 2.0, 0.5; torch.empty(5), std=0.0;"
    " !torch.empty(3), 0.0, -1.0; !i",
    "nn.init.trunc_normal_": "torch.empty(3, 4); torch.empty(20), 1.0, 2.0, -1.0, 1.5;"
    " torch.empty(3, 4), std=0.02",
    "nn.init.constant_": "torch.empty(3, 4), 0.3; torch.empty(2, dtype=torch.int64), 7;"
    " !torch.empty(2)",
    "nn.init.ones_": "torch.empty(3, 4); torch.empty(2, dtype=torch.int64)",
    "nn.init.zeros_": "torch.empty(3, 4); torch.empty(2, dtype=torch.bool)",
    "nn.init.eye_": "torch.empty(3, 4); torch.empty(4, 3); !torch.empty(3); !torch.empty(2, 3, 4)",
    "nn.init.dirac_": "torch.empty(3, 4, 5); torch.empty(4, 2, 3, 3), 2;"
    " torch.empty(2, 2, 1, 2, 3); !torch.empty(3, 4); !torch.empty(3, 2, 3), 2",
    "nn.init.xavier_uniform_": "torch.empty(3, 4); torch.empty(3, 4, 2), 2.0; !torch.empty(3)",
    "nn.init.xavier_normal_": "torch.empty(3, 4); torch.empty(3, 4, 2, 2), gain=0.5;"
    " !torch.empty(3)",
    "nn.init.kaiming_uniform_": "torch.empty(3, 4); torch.empty(3, 4, 2), 0.2, 'fan_out';"
    " torch.empty(3, 4), nonlinearity='tanh'; torch.empty(0, 4); !torch.empty(3);"
    " !torch.empty(3, 4), mode='fan'; !torch.empty(3, 4), nonlinearity='abs'",
    "nn.init.kaiming_normal_": "torch.empty(3, 4); torch.empty(3, 4, 2), 0.2, 'fan_out';"
    " torch.empty(3, 4), nonlinearity='relu'; !torch.empty(3); !torch.empty(3, 4), mode='fan'",
    "nn.init.orthogonal_": "torch.empty(3, 4); torch.empty(4, 3), 2.0; torch.empty(3, 2, 2);"
    " torch.empty(4, 4), gain=0.5; !torch.empty(3)",
    "nn.init.sparse_": "torch.empty(5, 4), 0.4; torch.empty(4, 3), sparsity=0.25, std=1.0;"
    " !torch.empty(3), 0.1; !torch.empty(2, 2, 2), 0.1",
    "nn.init.uniform": "torch.empty(3, 4), -1.0, 2.0",
    "nn.init.normal": "torch.empty(3, 4), 2.0, 0.5",
    "nn.init.constant": "torch.empty(3, 4), 0.3",
    "nn.init.eye": "torch.empty(3, 4); !torch.empty(3)",
    "nn.init.dirac": "torch.empty(3, 4, 5); !torch.empty(3, 4)",
    "nn.init.xavier_uniform": "torch.empty(3, 4), 2.0; !torch.empty(3)",
    "nn.init.xavier_normal": "torch.empty(3, 4); !torch.empty(3)",
    "nn.init.kaiming_uniform": "torch.empty(3, 4), 0.2; !torch.empty(3)",
    "nn.init.kaiming_normal": "torch.empty(3, 4), mode='fan_out'; !torch.empty(3)",
    "nn.init.orthogonal": "torch.empty(3, 4); !torch.empty(3)",
    "nn.init.sparse": "torch.empty(5, 4), 0.4; !torch.empty(3), 0.1",
}
