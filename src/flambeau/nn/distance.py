"""Layers that compare two vectors."""

from __future__ import annotations

from flambeau.nn import functional as F
from flambeau.nn.module import Module
from flambeau.tensor import Tensor

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    r"""The distance :math:`\lVert x_1 - x_2 + \epsilon \rVert_p` along the last dimension.

    >>> torch.nn.PairwiseDistance(1, eps=0.0)(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([2.])
    """

    __constants__ = ["norm", "eps", "keepdim"]
    norm: float
    eps: float
    keepdim: bool

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    r"""The cosine :math:`x_1 \cdot x_2 / (\lVert x_1 \rVert \lVert x_2 \rVert)` along ``dim``.

    >>> torch.nn.CosineSimilarity()(torch.ones(1, 2), torch.ones(1, 2))
    tensor([1.0000])
    """

    __constants__ = ["dim", "eps"]
    dim: int
    eps: float

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


SAMPLES = {
    "nn.PairwiseDistance": "| x, y; 1.0, 0.1, True | x, y; p=inf | x, row; | v, w; !| x, u",
    "nn.CosineSimilarity": "| x, y; 0, 0.5 | x, y; dim=-1 | x, row; !2 | x, y",
}
