"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import flambeau
from flambeau.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after the other.

    >>> parameters_to_vector([torch.zeros(1, 2), torch.ones(1)])
    tensor([0., 0., 1.])
    """
    return flambeau.cat([param.view(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Has the parameters take their elements from the vector, in order.

    Raises: ``TypeError`` if ``vec`` is no tensor.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {flambeau.typename(vec)}")
    start = 0
    for param in parameters:
        end = start + param.numel()
        param.data = vec[start:end].view_as(param).data
        start = end


SAMPLES = {
    "nn.utils.parameters_to_vector": "[x, u]; nn.Linear(2, 3).parameters(); [s]; ![]",
    "nn.utils.vector_to_parameters": "torch.arange(9.0), nn.Linear(2, 3).parameters();"
    " torch.ones(12), [x.detach()]; !3, [x.detach()]; !torch.ones(3), nn.Linear(2, 3).parameters()",
}
