"""``torch.sparse``: tensors that hold few of their elements, by coordinates or compressed."""

from __future__ import annotations

from typing import Any

from flambeau.sparse import dispatch, gradients
from flambeau.sparse.creation import (
    BFloat16Tensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    empty,
    rebuild,
    sparse_bsc_tensor,
    sparse_bsr_tensor,
    sparse_compressed_tensor,
    sparse_coo_tensor,
    sparse_csc_tensor,
    sparse_csr_tensor,
    spdiags,
)
from flambeau.sparse.invariants import check_sparse_tensor_invariants
from flambeau.sparse.operators import install
from flambeau.sparse.products import addmm, hspmm, sampled_addmm, smm, spmm, sspaddmm
from flambeau.sparse.products import sparse_mm as mm
from flambeau.sparse.reductions import log_softmax, softmax
from flambeau.sparse.reductions import sum_over as sum
from flambeau.sparse.tensor import SparseTensor

__all__ = [
    "SparseTensor",
    "addmm",
    "as_sparse_gradcheck",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "sum",
]

install()
# PyTorch's other names of a sparse times a strided matrix.
dsmm, hsmm = spmm, hspmm


def as_sparse_gradcheck(gradcheck: Any) -> Any:
    """``gradcheck`` for functions of sparse tensors: its inputs become strided, and inside the
    function sparse again.

    >>> check = torch.sparse.as_sparse_gradcheck(torch.autograd.gradcheck)
    >>> x = torch.eye(2, dtype=torch.float64).to_sparse().requires_grad_()
    >>> check(lambda t: t.to_dense() * 2, (x,), masked=True)
    True
    """

    def check(func: Any, inputs: Any, **options: Any) -> bool:
        options.pop("masked", None)
        given = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
        patterns = [x if dispatch.is_sparse(x) else None for x in given]
        plain = [
            x if p is None else p._values_.detach().requires_grad_(p.requires_grad)
            for x, p in zip(given, patterns, strict=True)
        ]

        def strided(*args: Any) -> Any:
            back = [
                a if p is None else p._with_values(a) for a, p in zip(args, patterns, strict=True)
            ]
            return gradients.strided_outputs(func(*back))

        return gradcheck(strided, tuple(plain), **options)

    return check
