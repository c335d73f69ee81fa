"""Memory layouts and formats: names that PyTorch's functions take; memory here is strided."""

from __future__ import annotations


class layout:
    """How a tensor lies in memory, such as ``flambeau.strided``."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> str:
        return self._name


class memory_format(layout):
    """The order of dimensions in memory, such as ``flambeau.channels_last``."""

    __slots__ = ()


strided = layout("strided")
sparse_coo, sparse_csr, sparse_csc = map(layout, ("sparse_coo", "sparse_csr", "sparse_csc"))
sparse_bsr, sparse_bsc = layout("sparse_bsr"), layout("sparse_bsc")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")
per_tensor_affine = layout("per_tensor_affine")
