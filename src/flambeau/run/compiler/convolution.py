"""Which kernels compute a convolution or one of its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler.convolution_blocks import Geometry, Lanes, aligned
from flambeau.run.compiler.convolution_direct import direct
from flambeau.run.compiler.convolution_narrow import Correlation, narrow, narrow_weights
from flambeau.run.compiler.convolution_weights import direct_weights
from flambeau.run.compiler.convolution_winograd import winograd, winograd_gain
from flambeau.run.compiler.convolution_winograd_deep import deep_winograd, deep_winograd_gain
from flambeau.run.compiler.convolution_winograd_weights import winograd_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flambeau.ir.graph import Aval
    from flambeau.run.compiler.stages import Epilogue, Plan
    from flambeau.run.compiler.target import Target

__all__ = ["PLANS", "Convolution", "convolution", "planned", "weight_gradient"]


@dataclass(frozen=True)
class Convolution:
    """What a convolution, or the gradient of its input, is asked to be.

    Forward ``y[n, o, p] = sum w[o, c, k] x[n, c, s p + d k - low]``, inputs x and w; backward
    ``x[n, c, s p + d k - low] += sum w[o, c, k] g[n, o, p]``, inputs g and w. The places of an
    epilogue are (sample, channel, position).
    """

    geometry: Geometry
    lanes: Lanes
    backward: bool
    epilogue: Epilogue | None = None

    @property
    def element(self) -> str:
        return self.lanes.element

    @property
    def result(self) -> tuple[int, ...]:
        """The axes over which an epilogue's operands lie."""
        g = self.geometry
        if self.backward:
            return g.samples, g.channels, prod(g.size)
        return g.samples, g.outputs, prod(g.output)


def _lanes(avals: Sequence[Aval], target: Target) -> Lanes | None:
    """The common element type, if there are kernels for it and anything to compute."""
    if len({aval.dtype for aval in avals}) != 1 or any(0 in aval.shape for aval in avals):
        return None
    if len(avals[0].shape) not in (3, 4, 5):
        return None
    return Lanes.of(avals[0], target)


def planned(spec: Convolution, target: Target) -> Plan:
    """The stages; operands are the inputs "0" and "1", "out0", "w" and the epilogue's "e0"..."""
    # Networks repeat their layers.
    return (_planned if spec.epilogue else _remembered)(spec, target)


def _planned(spec: Convolution, target: Target) -> Plan:
    lanes, backward = spec.lanes, spec.backward
    g = spec.geometry.folded(lanes.count)
    c = Correlation.backward(g) if backward else Correlation.forward(g)
    gain = winograd_gain(c, lanes)
    if gain and deep_winograd_gain(c, lanes, target) > max(gain, 1.15):
        return deep_winograd(c, lanes, target, spec.epilogue)
    if gain > 1.15:
        return winograd(c, lanes, target, spec.epilogue)
    if worth_direct(g, lanes, backward):
        return direct(g, lanes, target, backward, spec.epilogue)
    return narrow(c, lanes, spec.epilogue)


_remembered = lru_cache(64)(_planned)


def worth_direct(g: Geometry, lanes: Lanes, backward: bool) -> bool:
    """Whether vectors along the channels are fuller, and long sums pay for turning them over."""
    outputs, inputs = g.outputs_each, g.inputs_each
    if backward:
        outputs, inputs = inputs, outputs
        if prod(g.stride) > 16:
            return False
    columns = g.size[2] if backward else g.output[2]
    full = outputs / aligned(outputs, lanes.count)
    across = columns / aligned(columns, lanes.at_most(columns).count)
    if g.pointwise:
        return full >= across * 1.08
    strided = prod(g.stride) > 1
    depth = inputs * g.taps
    turned = depth / (depth + 6 * lanes.count / 16)
    return full * turned >= across * (0.5 if strided else 1.0) * 0.9


def worth_turning(g: Geometry, lanes: Lanes) -> bool:
    """Whether the gradient of the kernels is quicker with vectors along the channels."""
    depth, columns = g.inputs_each * g.taps, g.output[2]
    wide = -(-g.outputs_each // lanes.count)
    turned = wide * (depth * 1.1 + 8)
    across = -(-columns // lanes.at_most(columns).count) / columns
    # Along the width, single taps wait for loads.
    waits = 1.25 if g.kernel[2] > 1 else 2.0
    return turned < g.outputs_each * depth * across * waits


def convolution(
    name: str,
    attrs: dict[str, Any],
    in_avals: Sequence[Aval],
    out_avals: Sequence[Aval],
    target: Target,
) -> Convolution | None:
    """A primitive ``convolution`` or ``convolution_input_gradient``; None without kernels."""
    lanes = _lanes([*in_avals, *out_avals], target)
    if lanes is None:
        return None
    backward = name == "convolution_input_gradient"
    x, y = (out_avals[0], in_avals[0]) if backward else (in_avals[0], out_avals[0])
    g = Geometry.of(x.shape, in_avals[1].shape, y.shape, attrs)
    return Convolution(g, lanes, backward)


def _whole(
    name: str,
    attrs: dict[str, Any],
    in_avals: Sequence[Aval],
    out_avals: Sequence[Aval],
    target: Target,
) -> Plan | None:
    spec = convolution(name, attrs, in_avals, out_avals, target)
    return None if spec is None else planned(spec, target)


def weight_gradient(
    attrs: dict[str, Any], in_avals: Sequence[Aval], out_avals: Sequence[Aval], target: Target
) -> Plan | None:
    """``w[o, c, k] = sum g[n, o, p] x[n, c, s p + d k - low]``: inputs g, x."""
    lanes = _lanes([*in_avals, *out_avals], target)
    if lanes is None:
        return None
    g = Geometry.of(in_avals[1].shape, out_avals[0].shape, in_avals[0].shape, attrs)
    c = Correlation.forward(g)
    if winograd_gain(c, lanes, weights=True) > 1.15:
        return winograd_weights(c, lanes, target)
    if worth_turning(g, lanes):
        return direct_weights(g, lanes, target)
    return narrow_weights(g, lanes)


# Without epilogues.
PLANS: dict[str, Callable[..., Plan | None]] = {
    "convolution": partial(_whole, "convolution"),
    "convolution_input_gradient": partial(_whole, "convolution_input_gradient"),
    "convolution_weight_gradient": weight_gradient,
}
