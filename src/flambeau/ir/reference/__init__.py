"""NumPy references of the structured primitives: pure functions of arrays and attributes."""

from flambeau.ir.reference._common import OutOfRangeError
from flambeau.ir.reference.conv import (
    convolution,
    convolution_input_gradient,
    convolution_output_size,
    convolution_weight_gradient,
)
from flambeau.ir.reference.counting import (
    bincount,
    distinct,
    distinct_consecutive,
    histc,
    unique,
    unique_consecutive,
)
from flambeau.ir.reference.grid_sample import grid_sample
from flambeau.ir.reference.pad import pad, pad_gradient
from flambeau.ir.reference.patches import fold, unfold
from flambeau.ir.reference.pool import (
    adaptive_avg_pool,
    adaptive_avg_pool_gradient,
    adaptive_max_pool,
    avg_pool,
    avg_pool_gradient,
    max_pool,
    max_pool_gradient,
    pool_output_size,
)
from flambeau.ir.reference.resample import interpolate, interpolate_gradient
from flambeau.ir.reference.scatter import (
    embedding,
    embedding_gradient,
    gather,
    index,
    index_add,
    index_put,
    index_select,
    scatter,
    scatter_add,
    scatter_reduce,
)
from flambeau.ir.reference.sorting import (
    argsort,
    cummax,
    cummin,
    kthvalue,
    median,
    mode,
    nanmedian,
    searchsorted,
    sort,
    topk,
)

__all__ = [
    "OutOfRangeError",
    "adaptive_avg_pool",
    "adaptive_avg_pool_gradient",
    "adaptive_max_pool",
    "argsort",
    "avg_pool",
    "avg_pool_gradient",
    "bincount",
    "convolution",
    "convolution_input_gradient",
    "convolution_output_size",
    "convolution_weight_gradient",
    "cummax",
    "cummin",
    "distinct",
    "distinct_consecutive",
    "embedding",
    "embedding_gradient",
    "fold",
    "gather",
    "grid_sample",
    "histc",
    "index",
    "index_add",
    "index_put",
    "index_select",
    "interpolate",
    "interpolate_gradient",
    "kthvalue",
    "max_pool",
    "max_pool_gradient",
    "median",
    "mode",
    "nanmedian",
    "pad",
    "pad_gradient",
    "pool_output_size",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "searchsorted",
    "sort",
    "topk",
    "unfold",
    "unique",
    "unique_consecutive",
]
