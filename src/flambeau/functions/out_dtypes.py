"""Which functions write to an ``out`` of the result's dtype only, where others convert to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau import dtypes

# As functions are called where they are recorded; from PyTorch 2.13.
_NAMES = """
abs addbmm addmm addmv alias_copy all amax amin aminmax any arange argmax argmin argsort
as_strided_copy baddbmm bitwise_not bmm bucketize ceil cholesky_ex complex conj_physical cross
cummax cummin det diag diff dot eigh eigvalsh empty expand_copy eye float_power floor frac frexp
full gather gelu hardshrink heaviside histc histogram index_add index_copy index_reduce
index_select inner inv inv_ex isin isneginf isposinf kthvalue ldl_factor ldl_factor_ex ldl_solve
linspace log_sigmoid logcumsumexp logsigmoid logspace lu_factor lu_factor_ex lu_solve lu_unpack
masked_select matmul matrix_norm max_dim min_dim mm mode msort multi_dot multinomial mv nan_to_num
nanquantile narrow_copy neg nonzero ones ormqr permute_copy polar qr quantile randn renorm round
scatter scatter_add scatter_reduce searchsorted sgn sign signbit slice_scatter slogdet softplus
softshrink solve solve_ex solve_triangular sort split_with_sizes_copy squeeze_copy svd svdvals
t_copy take take_along_dim tensordot topk transpose_copy triangular_solve tril triu trunc
unbind_copy unfold_copy unsqueeze_copy vdot vecdot vector_norm view_copy where zeros
"""
_EXACT = frozenset(_NAMES.split())


def check_dtype(name: str, result: dtypes.dtype, out: dtypes.dtype) -> None:
    """``RuntimeError`` if the function does not convert its result to the dtype of ``out``."""
    name = name.strip("_")
    if name in _EXACT and result is not out:
        raise RuntimeError(
            f"{name}(): Expected out tensor to have dtype {result.name}, but got {out.name} instead"
        )
