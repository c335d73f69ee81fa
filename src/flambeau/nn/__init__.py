"""Neural networks: modules, their functions, initial values and utilities."""

from typing import TYPE_CHECKING

from flambeau.nn import functional, init, layers, parameter, utils
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

if TYPE_CHECKING:  # what the next line does, for type checkers and editors
    from flambeau.nn.activation import *
    from flambeau.nn.adaptive import *
    from flambeau.nn.adaptive_pooling import *
    from flambeau.nn.attention import *
    from flambeau.nn.batchnorm import *
    from flambeau.nn.channelshuffle import *
    from flambeau.nn.containers import *
    from flambeau.nn.conv import *
    from flambeau.nn.distance import *
    from flambeau.nn.dropout import *
    from flambeau.nn.flatten import *
    from flambeau.nn.fold import *
    from flambeau.nn.instancenorm import *
    from flambeau.nn.lazy import *
    from flambeau.nn.lazy_conv import *
    from flambeau.nn.linear import *
    from flambeau.nn.loss import *
    from flambeau.nn.module import *
    from flambeau.nn.normalization import *
    from flambeau.nn.padding import *
    from flambeau.nn.parameter_containers import *
    from flambeau.nn.pixelshuffle import *
    from flambeau.nn.pooling import *
    from flambeau.nn.rnn import *
    from flambeau.nn.rnn_cells import *
    from flambeau.nn.sparse import *
    from flambeau.nn.transformer import *
    from flambeau.nn.upsampling import *

globals().update(layers.exported())

from flambeau.nn import modules, parallel
from flambeau.nn.parallel import DataParallel

__all__ = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
    *layers.exported(),
]
