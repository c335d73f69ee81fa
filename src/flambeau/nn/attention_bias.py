"""``torch.nn.attention.bias``: causal masks for queries and keys of different lengths."""

from __future__ import annotations

import flambeau  # upward: functions by their public names, when called
from flambeau.tensor import Tensor

__all__ = ["causal_lower_right", "causal_upper_left"]


def causal_upper_left(*size: int) -> Tensor:
    """The mask (L, S) by which query ``i`` sees keys 0 to ``i``: true where it may look.

    It is an ``attn_mask`` of :func:`~torch.nn.functional.scaled_dot_product_attention`.

    >>> from flambeau.nn.attention_bias import causal_upper_left
    >>> causal_upper_left(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return _causal(size, 0)


def causal_lower_right(*size: int) -> Tensor:
    """The mask (L, S) by which the last query sees all keys, each one before it one less.

    >>> from flambeau.nn.attention_bias import causal_lower_right
    >>> causal_lower_right(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    return _causal(size, size[-1] - size[0])


def _causal(size: tuple[int, ...], diagonal: int) -> Tensor:
    if len(size) != 2:
        raise AssertionError(f"a causal mask only supports 2D tensors, got {len(size)} sizes")
    return flambeau.ones(*size, dtype=flambeau.bool).tril(diagonal)
