"""Multi-head attention."""

from __future__ import annotations

from typing import Any

import flambeau  # upward: functions by their public names, when called
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._attention_kernels import SDPBackend, sdpa_kernel  # noqa: F401
from flambeau.nn.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    r"""Attention of several heads [Vaswani et al. 2017].

    .. math:: \mathrm{head}_i = \mathrm{softmax}(Q_i K_i^T / \sqrt{d}) V_i, \quad
        y = W_o [\mathrm{head}_1, \dots, \mathrm{head}_h] + b_o

    ``kdim`` and ``vdim`` are the features of key and value when they differ from ``embed_dim``.

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim); N first with ``batch_first``,
    no N unbatched. The weights are (N, L, S), or (N, heads, L, S) when not averaged.
    Raises: ``ValueError`` for sizes that are not positive, ``AssertionError`` if ``num_heads``
    does not divide ``embed_dim``.

    >>> attention = torch.nn.MultiheadAttention(8, 2)
    >>> x = torch.zeros(4, 1, 8)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    (torch.Size([4, 1, 8]), torch.Size([1, 4, 4]))
    """

    __constants__ = ["batch_first"]
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def parameter(*shape: int) -> Parameter:
            return Parameter(flambeau.empty(shape, device=device, dtype=dtype))

        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
            self.register_parameter("q_proj_weight", None)
            self.register_parameter("k_proj_weight", None)
            self.register_parameter("v_proj_weight", None)
        else:
            self.q_proj_weight = parameter(embed_dim, embed_dim)
            self.k_proj_weight = parameter(embed_dim, self.kdim)
            self.v_proj_weight = parameter(embed_dim, self.vdim)
            self.register_parameter("in_proj_weight", None)
        if bias:
            self.in_proj_bias = parameter(3 * embed_dim)
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        if add_bias_kv:
            self.bias_k = parameter(1, 1, embed_dim)
            self.bias_v = parameter(1, 1, embed_dim)
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        if self._qkv_same_embed_dim:
            init.xavier_uniform_(self.in_proj_weight)
        else:
            init.xavier_uniform_(self.q_proj_weight)
            init.xavier_uniform_(self.k_proj_weight)
            init.xavier_uniform_(self.v_proj_weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            init.xavier_normal_(self.bias_v)

    def __setstate__(self, state: dict) -> None:
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        batched = query.dim() == 3
        key_padding_mask = F._canonical_mask(
            mask=key_padding_mask,
            mask_name="key_padding_mask",
            other_type=F._none_or_dtype(attn_mask),
            other_name="attn_mask",
            target_type=query.dtype,
        )
        attn_mask = F._canonical_mask(
            mask=attn_mask,
            mask_name="attn_mask",
            other_type=None,
            other_name="",
            target_type=query.dtype,
            check_other=False,
        )
        if self.batch_first and batched:
            query, key, value = _swapped(query, key, value)
        separate: dict[str, Any] = {}
        if not self._qkv_same_embed_dim:
            separate = {
                "use_separate_proj_weight": True,
                "q_proj_weight": self.q_proj_weight,
                "k_proj_weight": self.k_proj_weight,
                "v_proj_weight": self.v_proj_weight,
            }
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            **separate,
        )
        if self.batch_first and batched:
            output = output.transpose(1, 0)
        return output, weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one of shape (N, heads, L, S), and which there were (0, 1, 2 = both)."""
        if key_padding_mask is None:
            return attn_mask, None if attn_mask is None else 0
        batch, length = key_padding_mask.shape
        if attn_mask is None:
            return key_padding_mask, 1
        padding = key_padding_mask.view(batch, 1, 1, length)
        padding = padding.expand(-1, self.num_heads, -1, -1)
        if attn_mask.dim() == 3:
            attn_mask = attn_mask.view(batch, -1, length, length)
        else:
            attn_mask = attn_mask.view(1, 1, length, length)
            attn_mask = attn_mask.expand(batch, self.num_heads, -1, -1)
        return attn_mask + padding, 2


def _swapped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Batch and length exchanged; what was one tensor stays one, for one projection to do."""
    swapped = {id(t): t.transpose(1, 0) for t in (query, key, value)}
    return swapped[id(query)], swapped[id(key)], swapped[id(value)]


SAMPLES = {
    "nn.MultiheadAttention": "4, 2 | sequence, sequence, sequence;"
    " 4, 1, bias=False, batch_first=True | sequence, sequence * 2, sequence, need_weights=False;"
    " 4, 4, add_bias_kv=True, add_zero_attn=True | x, y, y, average_attn_weights=False;"
    " 4, 2, kdim=3, vdim=5 | x, tall[:, :3], torch.cat([wide, wide[:2]]);"
    " 4, 2 | sequence, sequence, sequence, key_padding_mask=tokens > 6;"
    " 4, 2 | x, y, y, attn_mask=wide[:, :3];"
    " 4, 2 | x, x, x, attn_mask=torch.ones(3, 3).triu(1).bool(), is_causal=True;"
    " 4, 2, 0.25 | x, y, y; !4, 3; !0, 2; !4, 2 | x, y, sequence; !4, 2 | wide, wide, wide;"
    " !4, 2 | x, x, x, is_causal=True",
}
