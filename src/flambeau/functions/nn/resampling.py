"""Images resampled: interpolation and grids."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

from flambeau import dtypes
from flambeau.functions.checks import _need_floats, _tensors
from flambeau.functions.nn._common import reshape
from flambeau.ir import sampling as _declared
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor

del _declared


@function(grad="UpsampleNearest2DBackward0")
def _nearest(input: Tensor, size: tuple, mode: str, align: bool, scales: Any, anti: bool) -> Tensor:
    return _resampled(input, size, mode, align, scales, anti)


@function(grad="UpsampleBilinear2DBackward0")
def _linear(input: Tensor, size: tuple, mode: str, align: bool, scales: Any, anti: bool) -> Tensor:
    return _resampled(input, size, mode, align, scales, anti)


@function(grad="AdaptiveAvgPool2DBackward0", whole=True)
def _area(input: Tensor, size: tuple, mode: str, align: bool, scales: Any, anti: bool) -> Tensor:
    return _resampled(input, size, mode, align, scales, anti)


@function(grad="UpsampleBicubic2DBackward0")
def _cubic(input: Tensor, size: tuple, mode: str, align: bool, scales: Any, anti: bool) -> Tensor:
    return _resampled(input, size, mode, align, scales, anti)


def _resampled(x: Tensor, size: tuple, mode: str, align: bool, scales: Any, anti: bool) -> Tensor:
    return ops.interpolate(
        x,
        output_size=size,
        mode=mode,
        align_corners=align,
        scales=None if scales is None else tuple(map(_number, scales)),
        antialias=anti,
    )


_MODES = {
    "nearest": _nearest, "nearest-exact": _nearest, "linear": _linear, "bilinear": _linear,
    "trilinear": _linear, "bicubic": _cubic, "area": _area,
}  # fmt: skip
_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def interpolate(
    input: Tensor,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | list[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resamples ``(N, C, *spatial)`` to ``size``, or by ``scale_factor``.

    ``mode`` is "nearest", "nearest-exact", "linear" (1-d), "bilinear" or "bicubic" (2-d),
    "trilinear" (3-d) or "area". ``align_corners`` keeps the corner elements where they are.
    Raises ``ValueError`` or ``NotImplementedError`` for settings that do not fit.

    >>> interpolate(tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear"
            )
        align = False
    else:
        align = bool(align_corners)
    d = input.dim() - 2
    shape = input._meta.shape
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    scales: tuple[float, ...] | None = None
    if size is not None:
        if isinstance(size, (tuple, list)):
            if len(size) != d:
                raise ValueError(
                    f"Input and output must have the same number of spatial dimensions, but got "
                    f"input with spatial dimensions of {list(shape[2:])} and output size of "
                    f"{size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                    "output size in (o1, o2, ...,oK) format."
                )
            wanted = tuple(int(n) for n in size)
        else:
            wanted = (int(size),) * d
    elif scale_factor is not None:
        if isinstance(scale_factor, (tuple, list)):
            if len(scale_factor) != d:
                raise ValueError(
                    f"Input and scale_factor must have the same number of spatial dimensions, but "
                    f"got input with spatial dimensions of {list(shape[2:])} and scale_factor of "
                    f"shape {scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) "
                    "format and scale_factor in (s1, s2, ...,sK) format."
                )
            scales = tuple(float(s) for s in scale_factor)
        else:
            scales = (float(scale_factor),) * d
        wanted = tuple(math.floor(n * s) for n, s in zip(shape[2:], scales, strict=True))
    else:
        raise ValueError("either size or scale_factor should be defined")
    if recompute_scale_factor is not None and recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if recompute_scale_factor or mode == "area":
        scales = None
    if antialias and not (mode in ("bilinear", "bicubic") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and "
            "requires a 4-D tensor as input"
        )
    if mode not in _MODES or d not in (1, 2, 3):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{input.dim()}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"area | nearest-exact (got {mode})"
        )
    if mode in _RANKS and _RANKS[mode] != d:
        raise NotImplementedError(
            f"Got {input.dim()}D input, but {mode} mode needs {_RANKS[mode] + 2}D input"
        )
    if any(n <= 0 for n in (*shape[2:], *wanted)):
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"({', '.join(map(str, shape[2:]))}) output ({', '.join(map(str, wanted))})"
        )
    if mode != "area":
        whole = (dtypes.uint8,) if mode not in ("linear", "trilinear") else ()
        _need_floats(f"upsample_{mode}{d}d", input, also=whole)
    f = _MODES[mode]
    return f(
        input,
        wanted,
        mode,
        align,
        None if scales is None else tuple(map(_exact, scales)),
        antialias,
    )


def _exact(value: float) -> Any:
    """A scale as an attribute: floats would be run-time numbers."""
    return int(value) if value.is_integer() else value.hex()


def _number(value: Any) -> float:
    return float.fromhex(value) if isinstance(value, str) else float(value)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """``interpolate``; deprecated in PyTorch, too."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` in mode "nearest"; deprecated in PyTorch, too."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` in mode "bilinear" with aligned corners; deprecated in PyTorch, too."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ----------------------------------------------------------------------------------- grids


def _pixels(c: Tensor, n: int, align: bool) -> Tensor:
    """Coordinates from [-1, 1] to pixels."""
    c = ops.add(c, 1.0)
    if align:
        return ops.mul(c, (n - 1) / 2)
    return ops.div(ops.sub(ops.mul(c, float(n)), 1.0), 2.0)


def _clipped(c: Tensor, n: int) -> Tensor:
    return ops.where(ops.gt(c, 0.0), ops.where(ops.lt(c, n - 1.0), c, n - 1.0), 0.0)


def _placed(c: Tensor, n: int, padding: str, align: bool) -> Tensor:
    """Coordinates brought into the image, as the padding mode says."""
    if padding == "zeros":
        return c
    if padding == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span <= 0:
            return ops.mul(c, 0.0)
        distance = ops.abs(ops.sub(c, low))
        turns = ops.floor(ops.div(distance, span))
        rest = ops.sub(distance, ops.mul(turns, span))
        even = ops.eq(ops.remainder(turns, 2.0), 0.0)
        c = ops.add(ops.where(even, rest, ops.sub(span, rest)), low)
    return _clipped(c, n)


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """The weights of the neighbours at -1, 0, 1, 2 [Keys 1981]."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        inner = ops.sub(ops.mul(x, a + 2), a + 3)
        return ops.add(ops.mul(ops.mul(inner, x), x), 1.0)

    def far(x: Tensor) -> Tensor:
        inner = ops.add(ops.mul(ops.sub(ops.mul(x, a), 5 * a), x), 8 * a)
        return ops.sub(ops.mul(inner, x), 4 * a)

    return [far(ops.add(t, 1.0)), near(t), near(ops.sub(1.0, t)), far(ops.sub(2.0, t))]


def _axis_taps(c: Tensor, n: int, mode: str, padding: str, align: bool) -> list[tuple]:
    """Pairs of places and weights along one axis."""
    if mode == "bicubic":
        low = ops.floor(c)
        weights = _cubic_weights(ops.sub(c, low))
        places = [_placed(ops.add(low, k - 1.0), n, padding, align) for k in range(4)]
        return list(zip(places, weights, strict=True))
    c = _placed(c, n, padding, align)
    if mode == "nearest":
        # The weight is always 1; the grid's gradient is 0, not missing.
        return [(ops.round(c), ops.where(ops.lt(c, c), c, 1.0))]
    low = ops.floor(c)
    share = ops.sub(c, low)
    return [(low, ops.sub(1.0, share)), (ops.add(low, 1.0), share)]


@function(grad="GridSampler2DBackward0")
def _grid_sample(input: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    d = grid._meta.shape[-1]
    shape, points = input._meta.shape, math.prod(grid._meta.shape[1:-1])
    batch, channels, size = shape[0], shape[1], shape[2:]
    coordinates = reshape(grid, (batch, points, d))
    # A point that is not a number lies far outside.
    coordinates = ops.where(ops.isnan(coordinates), -1e4, coordinates)
    axes = []
    for a, n in enumerate(size):
        c = ops.slice(coordinates, d - 1 - a, dims=(2,), sizes=(1,), steps=(1,))
        c = _pixels(reshape(c, (batch, 1, points)), n, align)
        axes.append(_axis_taps(c, n, mode, padding, align))
    places, weights = [], []
    for corner in itertools.product(*axes):
        place = weight = held = None
        for (c, w), n in zip(corner, size, strict=True):
            inside = ops.and_(ops.ge(c, 0.0), ops.le(c, n - 1.0))
            held = inside if held is None else ops.and_(held, inside)
            at = ops.cast(ops.where(inside, c, 0.0), dtype=dtypes.int64)
            place = at if place is None else ops.add(ops.mul(place, n), at)
            weight = w if weight is None else ops.mul(weight, w)
        # A tap outside is none: it adds nothing, not zero times what happens to be read.
        places.append(ops.where(held, place, -1))
        weights.append(weight)
    out = ops.sample(
        reshape(input, (batch, channels, math.prod(size))), _joined(weights), _joined(places)
    )
    return reshape(out, (batch, channels, *grid._meta.shape[1:-1]))


def _joined(taps: list[Tensor]) -> Tensor:
    return taps[0] if len(taps) == 1 else ops.concat(*taps, dim=1)


@_tensors
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The values of an image at points whose coordinates run from -1 to 1 over it.

    Shapes: ``input`` is ``(N, C, *spatial)``, ``grid`` ``(N, *output, d)`` with the *last* spatial
    axis first in a point; the result is ``(N, C, *output)``. ``mode`` is "bilinear", "nearest" or
    (2-d) "bicubic", ``padding_mode`` "zeros", "border" or "reflection".

    >>> grid_sample(tensor([[[[1.0, 3.0]]]]), tensor([[[[0.0, 0.0]]]]), align_corners=False)
    tensor([[[[2.]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=3,
        )
        align_corners = False
    x, g = input._meta.shape, grid._meta.shape
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{input.dtype.name} and grid has {grid.dtype.name}"
        )
    if len(x) not in (4, 5) or len(x) != len(g):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got input with sizes {list(x)} and grid with sizes {list(g)}"
        )
    if x[0] != g[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {list(x)} and grid with sizes {list(g)}"
        )
    if g[-1] != len(x) - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {len(x) - 2} in last dimension, but got "
            f"grid with sizes {list(g)}"
        )
    if any(n <= 0 for n in x[2:]):
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {list(x)}"
        )
    if mode == "bicubic" and len(x) == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    return _grid_sample(input, grid, mode, padding_mode, align_corners)


@function(grad="AffineGridGeneratorBackward0")
def _affine_grid(theta: Tensor, size: tuple, align: bool) -> Tensor:
    batch, spatial = size[0], size[2:]
    d = len(spatial)
    columns = []
    for a in reversed(range(d)):
        n = spatial[a]
        line = ops.iota(shape=spatial, dim=a, dtype=theta.dtype)
        if align:
            c = ops.sub(ops.mul(line, 2.0 / max(n - 1, 1)), 1.0 if n > 1 else 0.0)
        else:
            c = ops.sub(ops.mul(ops.add(line, 0.5), 2.0 / n), 1.0)
        columns.append(reshape(c, (*spatial, 1)))
    columns.append(ops.full(1.0, shape=(*spatial, 1), dtype=theta.dtype))
    base = reshape(ops.concat(*columns, dim=d), (1, math.prod(spatial), d + 1))
    grid = ops.matmul(base, ops.permute(theta, dims=(0, 2, 1)))
    return reshape(grid, (batch, *spatial, d))


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The grid for ``grid_sample`` of affine maps ``(N, d, d + 1)`` of an image of ``size``.

    >>> affine_grid(tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 1), False)
    tensor([[[[0., 0.]]]])
    """
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    size = tuple(int(n) for n in size)
    d = len(size) - 2
    if d not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {list(size)}."
        )
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (d, d + 1):
        raise ValueError(
            f"Expected a batch of {d}D affine matrices of shape Nx{d}x{d + 1} for size {size}. "
            f"Got {tuple(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return _affine_grid(theta, size, align_corners)


SAMPLES = {
    "nn.functional.interpolate": "line, 5; line, scale_factor=2, mode='linear';"
    " line, 4, mode='linear', align_corners=True; image, (3, 8); image, scale_factor=1.5;"
    " image, scale_factor=(2.0, 0.5), recompute_scale_factor=True; image, (9, 4), mode='bilinear';"
    " image, scale_factor=1.7, mode='bilinear'; image, 7, mode='bilinear', align_corners=True;"
    " image, (4, 9), mode='bicubic'; image, (9, 9), mode='bicubic', align_corners=True;"
    " image, (3, 2), mode='bilinear', antialias=True;"
    " image, (4, 3), mode='bicubic', antialias=True; image, (4, 9), mode='area';"
    " image, scale_factor=1.5, mode='nearest-exact'; volume, (2, 5, 4);"
    " volume, scale_factor=1.5, mode='trilinear';"
    " volume, (3, 3, 3), mode='trilinear', align_corners=True; volume, 3, mode='area'; !image;"
    " !image, 3, 2.0; !image, 3, mode='linear'; !image, 3, mode='cubic';"
    " !image, 3, align_corners=True; !image, (3, 3, 3); !x, 3;"
    " !line, 3, mode='linear', antialias=True",
    "nn.functional.upsample": "image, 7; image, scale_factor=2, mode='bilinear'; !image",
    "nn.functional.upsample_nearest": "image, 7; line, scale_factor=2; volume, (2, 3, 4); !image",
    "nn.functional.upsample_bilinear": "image, 7; image, scale_factor=2; image, (3, 9); !line, 3",
    "nn.functional.grid_sample": "image, unit.reshape(2, 1, 3, 2);"
    " image, 2 * x.reshape(2, 3, 1, 2), 'nearest';"
    " image, 2 * x.reshape(2, 1, 3, 2), 'bicubic', 'border', True;"
    " image, 2 * x.reshape(2, 1, 3, 2), padding_mode='reflection'; image, x.reshape(2, 2, 3,"
    " 1).expand(2, 2, 3, 2), padding_mode='reflection', align_corners=True;"
    " volume, unit.reshape(1, 1, 2, 2, 3), align_corners=False;"
    " volume, x.reshape(1, 2, 2, 1, 3), 'nearest', 'border'; !image, x;"
    " !image, unit.reshape(2, 1, 3, 2), 'cubic';"
    " !image, unit.reshape(2, 1, 3, 2), padding_mode='zero';"
    " !volume, x.reshape(1, 2, 2, 1, 3), 'bicubic'; !line, unit.reshape(2, 1, 3, 2)",
    "nn.functional.affine_grid": "cube[:, :2, :3], (2, 1, 4, 3);"
    " cube[:, :2, :3], torch.Size([2, 3, 2, 2]), align_corners=True; cube, (2, 1, 2, 3, 2), False;"
    " !cube, (2, 1, 4, 3); !cube[:, :2, :3], (2, 1, 0, 3); !cube[:, :2, :3].long(), (2, 1, 4, 3);"
    " !x, (2, 1, 4, 3)",
}
