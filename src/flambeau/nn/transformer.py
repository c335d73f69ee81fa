"""The transformer and its two stacks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import flambeau  # upward: functions by their public names, when called
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.containers import ModuleList
from flambeau.nn.module import Module
from flambeau.nn.normalization import LayerNorm
from flambeau.nn.transformer_layers import (
    TransformerDecoderLayer,
    TransformerEncoderLayer,
    _float_masks,
)
from flambeau.tensor import Tensor

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


def _copies(module: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(n)])


def _causal_mask(size: int, device: Any = None, dtype: Any = None) -> Tensor:
    """Minus infinity above the diagonal, zero elsewhere."""
    mask = flambeau.full((size, size), float("-inf"), dtype=dtype, device=device)
    return flambeau.triu(mask, diagonal=1)


def _sequence_length(src: Tensor, batch_first: bool) -> int | None:
    if src.dim() not in (2, 3):
        return None
    return src.shape[0 if src.dim() == 2 or not batch_first else 1]


def _is_causal(mask: Tensor | None, is_causal: bool | None, size: int | None) -> bool:
    """Whether the mask is the causal one: as said, or found out by comparing when unsaid."""
    if is_causal is not None or mask is None:
        return bool(is_causal)
    causal = _causal_mask(mask.size(-2) if size is None else size, mask.device, mask.dtype)
    if mask.shape != causal.shape:
        return False
    return bool((mask == causal).all())


class TransformerEncoder(Module):
    """``num_layers`` copies of an encoder layer, one after the other.

    ``enable_nested_tensor`` and ``mask_check`` concern PyTorch's fast path and change nothing.

    >>> layer = torch.nn.TransformerEncoderLayer(8, 2)
    >>> encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    >>> encoder(torch.zeros(5, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    __constants__ = ["norm"]

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = False
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        mask, src_key_padding_mask = _float_masks(src, mask, "mask", src_key_padding_mask)
        batch_first = self.layers[0].self_attn.batch_first
        causal = _is_causal(mask, is_causal, _sequence_length(src, batch_first))
        output = src
        for layer in self.layers:
            output = layer(
                output,
                src_mask=mask,
                is_causal=causal,
                src_key_padding_mask=src_key_padding_mask,
            )
        return output if self.norm is None else self.norm(output)


class TransformerDecoder(Module):
    """``num_layers`` copies of a decoder layer, one after the other.

    >>> layer = torch.nn.TransformerDecoderLayer(8, 2)
    >>> decoder = torch.nn.TransformerDecoder(layer, 2)
    >>> decoder(torch.zeros(5, 3, 8), torch.zeros(6, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    __constants__ = ["norm"]

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch_first = self.layers[0].self_attn.batch_first
        causal = _is_causal(tgt_mask, tgt_is_causal, _sequence_length(tgt, batch_first))
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder and a decoder of self-attention layers [Vaswani et al. 2017].

    Shapes: src (S, N, E), tgt (T, N, E) to (T, N, E); N first with ``batch_first``, no N
    unbatched. Masks are boolean (True hides) or added to the scores.
    Raises: ``RuntimeError`` if batch sizes differ or features are not ``d_model``.

    >>> model = torch.nn.Transformer(8, 2, 1, 1, 16)
    >>> model(torch.zeros(5, 3, 8), torch.zeros(6, 3, 8)).shape
    torch.Size([6, 3, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        options = {"batch_first": batch_first, "norm_first": norm_first, "bias": bias, **kwargs}
        if custom_encoder is not None:
            self.encoder = custom_encoder
        else:
            encoder_layer = TransformerEncoderLayer(*layer, **options)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **kwargs)
            self.encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm)
        if custom_decoder is not None:
            self.decoder = custom_decoder
        else:
            decoder_layer = TransformerDecoderLayer(*layer, **options)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **kwargs)
            self.decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm)
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        if src.dim() == 3:
            dim = 0 if self.batch_first else 1
            if src.size(dim) != tgt.size(dim):
                raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask: minus infinity above the diagonal, zero elsewhere.

        >>> torch.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return _causal_mask(sz, device, dtype)

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)


SAMPLES = {
    "nn.TransformerEncoder": "nn.TransformerEncoderLayer(4, 2, 8, 0.0), 2 | sequence;"
    " nn.TransformerEncoderLayer(4, 1, 8, 0.0, batch_first=True), 1, nn.LayerNorm(4) | sequence,"
    " src_key_padding_mask=tokens.T > 6; nn.TransformerEncoderLayer(4, 2, 8, 0.0), 2 | sequence,"
    " mask=nn.Transformer.generate_square_subsequent_mask(5), is_causal=True;"
    " !nn.TransformerEncoderLayer(4, 2, 8), 1 | tall",
    "nn.TransformerDecoder": "nn.TransformerDecoderLayer(4, 2, 8, 0.0), 2 | sequence, sequence[:3]"
    " * 2; nn.TransformerDecoderLayer(4, 2, 8, 0.0), 1, nn.LayerNorm(4) | sequence, sequence,"
    " torch.ones(5, 5).triu(1).bool(); !nn.TransformerDecoderLayer(4, 2, 8), 1 | tall, tall",
    "nn.Transformer": "4, 2, 1, 2, 8, 0.0 | sequence, sequence[:3]; 4, 1, 1, 1, 8, 0.0, F.gelu,"
    " batch_first=True, norm_first=True, bias=False | sequence, sequence * 2,"
    " src_key_padding_mask=tokens.T > 6; 4, 2, 1, 1, 8, 0.25 | sequence, sequence; !4, 3;"
    " !4, 2, 1, 1, 8 | sequence, tall; !4, 2, 1, 1, 8 | sequence, sequence[:, :1]",
}
