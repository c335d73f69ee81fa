"""Attention: scaled dot products, and many heads of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.functions.checks import _tensors
from flambeau.functions.nn._common import made, reshape
from flambeau.functions.nn.dropout import dropout
from flambeau.functions.nn.linear import linear
from flambeau.functions.precision import lowered
from flambeau.functions.promotion import Number, cast
from flambeau.record.macro import function, ops
from flambeau.tensor import Tensor


def _swapped(x: Tensor) -> Tensor:
    n = x.dim()
    return ops.permute(x, dims=(*range(n - 2), n - 1, n - 2))


@function(grad="SoftmaxBackward0")
def _weights(
    query: Tensor, keys: Tensor, mask: Tensor | None, is_causal: bool, scale: Number
) -> Tensor:
    """All weights: for dropout, whose mask is drawn at the call and as large."""
    query, keys, mask = lowered(query, keys, mask)
    q, k = query._meta.shape, keys._meta.shape
    if q[-1] != k[-1]:
        raise RuntimeError(
            f"The size of tensor a ({q[-1]}) must match the size of tensor b ({k[-1]}) at "
            "non-singleton dimension 3"
        )
    scores = ops.matmul(ops.mul(query, scale), _swapped(keys))
    if mask is not None:
        if mask.dtype is dtypes.bool_:
            mask = ops.where(mask, ops.full(0.0, shape=(), dtype=scores.dtype), -math.inf)
        elif mask.dtype is not query.dtype:
            mask = ops.cast(mask, dtype=query.dtype)
        scores = ops.add(scores, mask)
    if is_causal:
        size = (q[-2], k[-2])
        row = ops.iota(shape=size, dim=0, dtype=dtypes.int64)
        hidden = ops.gt(ops.iota(shape=size, dim=1, dtype=dtypes.int64), row)
        scores = ops.where(hidden, -math.inf, scores)
    last = scores.dim() - 1
    weights = ops.softmax(scores, dim=last)
    if mask is None:
        return weights
    # A row with nothing to attend to gets zeros, not NaN.
    none = ops.all(ops.eq(scores, -math.inf), dims=(last,), keepdim=True)
    return ops.where(none, 0.0, weights)


@function(grad="UnsafeViewBackward0")
def _attend(weights: Tensor, value: Tensor) -> Tensor:
    return ops.matmul(*lowered(weights, value))


@function(grad="ScaledDotProductFlashAttentionForCpuBackward0")
def _attention(
    query: Tensor,
    keys: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    groups: int,
    scale: Number,
) -> Tensor:
    """In tiles; ``groups`` heads of queries in a row share one of keys and values."""
    query, keys, value, mask = lowered(query, keys, value, mask)
    shape = query._meta.shape
    rounded = query.dtype.itemsize == 2 and _by_tiles(query, keys, value, mask)
    if groups > 1:
        query = _grouped(query, groups)
        keys, value = (
            reshape(x, (*x._meta.shape[:-2], 1, *x._meta.shape[-2:])) for x in (keys, value)
        )
    masks = []
    if mask is not None:
        size = mask._meta.shape
        if len(size) < 2:
            mask = reshape(mask, (1,) * (2 - len(size)) + size)
        elif groups > 1 and len(size) > 2:
            mask = _grouped(mask, groups if size[-3] > 1 else 1)
        masks = [mask]
    more = {"rounded": True} if rounded else {}
    found, _ = ops.attention(query, keys, value, scale, *masks, causal=is_causal, **more)
    found = cast(found, query.dtype)
    if groups == 1 and found.dim() == 4:
        return found
    # Its gradient reads what was found: PyTorch refuses a write to that of four dimensions alone.
    rows = (shape if groups > 1 else found._meta.shape)[:-1]
    return ops.reshape(found, shape=(*rows, value._meta.shape[-1]))


def _by_tiles(query: Tensor, keys: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Whether PyTorch's kernel of tiles takes these; for what it does not, all is float32 inside.

    Its weights have 16 bits where they meet values.
    """
    q, k, v = (x._meta.shape for x in (query, keys, value))
    if not len(q) == len(k) == len(v) == 4 or not q[0] == k[0] == v[0]:
        return False
    if q[-1] != k[-1] or q[-1] != v[-1] or k[1] != v[1] or q[1] % max(k[1], 1):
        return False
    return mask is None or (mask.dim() in (2, 4) and not mask._meta.requires_grad)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """The heads as two dimensions."""
    shape = x._meta.shape
    if shape[-3] % groups:
        raise RuntimeError(f"a mask of {shape[-3]} heads for heads in groups of {groups}")
    return reshape(x, (*shape[:-3], shape[-3] // groups, groups, *shape[-2:]))


@function(grad="UnsafeViewBackward0")
def _composed(
    query: Tensor, keys: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: Number
) -> Tensor:
    """By way of all weights: for complex numbers."""
    return ops.matmul(_weights(query, keys, mask, is_causal, scale), value)


@function(grad="ReshapeAliasBackward0")
def _repeated(x: Tensor, times: int) -> Tensor:
    """Each head ``times`` times in a row."""
    shape = x._meta.shape
    wide = reshape(x, (*shape[:-2], 1, *shape[-2:]))
    wide = ops.broadcast(wide, shape=(*shape[:-2], times, *shape[-2:]))
    return reshape(wide, (*shape[:-3], shape[-3] * times, *shape[-2:]))


@_tensors
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    r""":math:`\mathrm{softmax}(s\,Q K^T + M)\,V` [Vaswani 2017].

    ``attn_mask`` is added, or true where attention is allowed; ``is_causal`` hides later
    positions; ``scale`` defaults to one over the root of the width; ``enable_gqa`` repeats heads of
    keys and values. Shapes: ``(..., L, E)``, ``(..., S, E)``, ``(..., S, V)``.

    >>> x = tensor([[1.0, 0.0]])
    >>> scaled_dot_product_attention(x, x, x)
    tensor([[1., 0.]])
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected query, key, and value to all be  at "
                f"least 2 dimensional, but got {name}.dim(): {x.dim()} instead."
            )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{_c(query)} key.dtype: {_c(key)} and value.dtype: {_c(value)} instead."
        )
    if attn_mask is not None:
        if is_causal:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
                "is_causal=True"
            )
        if attn_mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                f"attn_mask.dtype: {_c(attn_mask)} and  query.dtype: {_c(query)} instead."
            )
    if scale is None:
        scale = 1.0 / math.sqrt(query.size(-1)) if query.size(-1) else math.inf
    groups = 1
    if enable_gqa:
        heads = query.size(-3)
        if heads % key.size(-3) or heads % value.size(-3):
            raise RuntimeError("Number of heads in key and value must divide that of query")
        if (
            key.size(-3) == value.size(-3)
            and query._meta.shape[:-3] == key._meta.shape[:-3] == value._meta.shape[:-3]
            and not dropout_p
            and not query.is_complex()
        ):
            groups = heads // key.size(-3)
        else:
            key = _repeated(key, heads // key.size(-3))
            value = _repeated(value, heads // value.size(-3))
    if query.dtype.category < 2:
        raise RuntimeError(
            f"scaled_dot_product_attention: expected floating-point numbers, got {_c(query)}"
        )
    if dropout_p:
        if not 0 <= dropout_p <= 1:
            raise RuntimeError(
                f"dropout probability has to be between 0 and 1, but got {dropout_p}"
            )
        weights = _weights(query, key, attn_mask, is_causal, float(scale))
        return _attend(dropout(weights, dropout_p, True), value)
    if query.is_complex():
        return _composed(query, key, value, attn_mask, is_causal, float(scale))
    return _attention(query, key, value, attn_mask, is_causal, groups, float(scale))


def _c(x: Tensor) -> str:
    from flambeau.functions.arithmetic import _c_name

    return _c_name(x)


# ------------------------------------------------------------------------------ many heads


@function(grad="CloneBackward0")
def _additive(mask: Tensor, dtype: Any) -> Tensor:
    """A mask to add: -inf where a bool mask is true."""
    if mask.dtype is dtypes.bool_:
        zero = ops.full(0.0, shape=mask._meta.shape, dtype=dtype)
        return ops.where(mask, -math.inf, zero)
    return ops.cast(mask, dtype=dtype) if mask.dtype is not dtype else ops.mul(mask, 1.0)


@function(grad="AddBackward0")
def _sum(x: Tensor, y: Tensor) -> Tensor:
    return ops.add(x, y)


@function(grad="MeanBackward1")
def _mean_of_heads(x: Tensor) -> Tensor:
    heads = x._meta.shape[1]
    return ops.div(ops.sum(x, dims=(1,), keepdim=False), float(heads))


@function(grad="CatBackward0")
def _joined(x: Tensor, y: Tensor, dim: int) -> Tensor:
    return ops.concat(x, y, dim=dim)


def _none_or_dtype(input: Tensor | None) -> Any:
    """The dtype of a mask; None if there is none."""
    if input is None:
        return None
    if isinstance(input, Tensor):
        return input.dtype
    raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")


def _canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: Any,
    other_name: str,
    target_type: Any,
    check_other: bool = True,
) -> Tensor | None:
    """A mask to add, in ``target_type``: -inf where a bool mask is true."""
    if mask is None:
        return None
    _mask_dtype(mask_name, mask)
    if check_other and other_type is not None and mask.dtype is not other_type:
        import warnings

        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for "
            "both instead.",
            stacklevel=2,
        )
    return mask if mask.is_floating_point() else _additive(mask, target_type)


def _mask_dtype(name: str, mask: Tensor | None) -> None:
    if mask is not None and mask.dtype is not dtypes.bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")


def _check_heads(query: Tensor, key: Tensor, value: Tensor, padding: Any, mask: Any) -> bool:
    """Whether batched; ``AssertionError`` where ranks do not fit."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query "
            "tensor"
        )
    batched = query.dim() == 3
    n = query.dim()
    kind = "batched (3-D)" if batched else "unbatched (2-D)"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {n}-D but found {key.dim()}-D "
            f"and {value.dim()}-D tensors respectively"
        )
    if padding is not None and padding.dim() != n - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {n - 1}-D but found "
            f"{padding.dim()}-D tensor instead"
        )
    if mask is not None and mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{mask.dim()}-D tensor instead"
        )
    return batched


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention [Vaswani 2017]: the output and, if ``need_weights``, the weights.

    Shapes: ``query`` is ``(L, N, E)``, ``key`` and ``value`` ``(S, N, E)``, or without N. Masks
    are true (or -inf, to be added) where attention is not allowed: ``key_padding_mask`` is
    ``(N, S)``, ``attn_mask`` ``(L, S)`` or ``(N * heads, L, S)``.
    """
    batched = _check_heads(query, key, value, key_padding_mask, attn_mask)
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    steps, batch, width = query.shape
    source = key.shape[0]
    if width != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}"
        )
    head = width // num_heads
    if head * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. Use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    _mask_dtype("key_padding_mask", key_padding_mask)
    _mask_dtype("attn_mask", attn_mask)
    q, k, v = _projected(
        query, key, value, in_proj_weight, in_proj_bias, use_separate_proj_weight,
        (q_proj_weight, k_proj_weight, v_proj_weight),
    )  # fmt: skip
    if attn_mask is not None:
        wanted = (steps, source) if attn_mask.dim() == 2 else (batch * num_heads, steps, source)
        if attn_mask._meta.shape != wanted:
            raise RuntimeError(
                f"The shape of the {attn_mask.dim()}D attn_mask is {tuple(attn_mask.shape)}, but "
                f"should be {wanted}."
            )
        attn_mask = _additive(attn_mask, q.dtype)
        attn_mask = (
            attn_mask.unsqueeze(0)
            if attn_mask.dim() == 2
            else attn_mask.reshape(batch, num_heads, steps, source)
        )
    if key_padding_mask is not None:
        if key_padding_mask._meta.shape != (batch, source):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, source)}, but got "
                f"{tuple(key_padding_mask.shape)}"
            )
        key_padding_mask = _additive(key_padding_mask, q.dtype)

    def extended(dim: int, size: tuple[int, ...], fill_k: Any = None, fill_v: Any = None) -> None:
        """One more position of keys and values, which no mask hides."""
        nonlocal k, v, attn_mask, key_padding_mask, source
        zero = made(np.zeros(size, q.dtype.numpy), q.dtype)
        k = _joined(k, zero if fill_k is None else fill_k, dim)
        v = _joined(v, zero if fill_v is None else fill_v, dim)
        if attn_mask is not None:
            column = (*attn_mask._meta.shape[:-1], 1)
            free = made(np.zeros(column, q.dtype.numpy), q.dtype)
            attn_mask = _joined(attn_mask, free, attn_mask.dim() - 1)
        if key_padding_mask is not None:
            free = made(np.zeros((batch, 1), q.dtype.numpy), q.dtype)
            key_padding_mask = _joined(key_padding_mask, free, 1)
        source += 1

    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value")
        extended(0, (), bias_k.repeat(1, batch, 1), bias_v.repeat(1, batch, 1))
    elif bias_k is not None or bias_v is not None:
        raise AssertionError("bias_k and bias_v must be given together")

    def heads(x: Tensor, given: Tensor | None) -> Tensor:
        """As ``(N, heads, L, head)``: a view, which attention reads where it lies."""
        if given is None:
            return x.reshape(x.shape[0], batch, num_heads, head).permute(1, 2, 0, 3)
        if given.size(0) != batch * num_heads or given.size(2) != head:
            raise AssertionError(
                f"expecting static keys or values of shape ({batch * num_heads}, *, {head}), but "
                f"got {tuple(given.shape)}"
            )
        return given.reshape(batch, num_heads, given.shape[1], head)

    q = heads(q, None)
    k, v = heads(k, static_k), heads(v, static_v)
    source = k.shape[2]
    if add_zero_attn:
        extended(2, (batch, num_heads, 1, head))
    mask = attn_mask
    if key_padding_mask is not None:
        padding = key_padding_mask.reshape(batch, 1, 1, source)
        mask = (
            padding
            if mask is None
            else _sum(
                mask.expand(-1, 1, -1, -1) if mask.dim() == 4 and mask.shape[1] == 1 else mask,
                padding,
            )
        )
    p = dropout_p if training else 0.0
    if need_weights:
        weights = _plain_weights(q, k, mask, 1.0 / math.sqrt(head))
        if p > 0:
            weights = dropout(weights, p)
        found = _attend(weights, v)
    else:
        found = scaled_dot_product_attention(q, k, v, mask, p)
    found = found.permute(2, 0, 1, 3).reshape(steps * batch, width)
    found = linear(found, out_proj_weight, out_proj_bias)
    found = found.reshape(steps, batch, found.shape[1])
    if not batched:
        found = found.squeeze(1)
    if not need_weights:
        return found, None
    if average_attn_weights:
        weights = _mean_of_heads(weights)
    return found, weights if batched else weights.squeeze(0)


@function(grad="SoftmaxBackward0")
def _plain_weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: Number) -> Tensor:
    scores = ops.matmul(*lowered(ops.mul(q, scale), _swapped(k)))
    if mask is not None:
        scores = ops.add(scores, mask)
    return ops.softmax(scores, dim=scores.dim() - 1)


def _projected(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    separate: bool,
    weights: tuple,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values through their input projections."""
    width = query.shape[-1]
    if separate:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
        if any(w is None for w in weights):
            raise AssertionError("use_separate_proj_weight is True but a weight is None")
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        return tuple(  # type: ignore[return-value]
            linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    if key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    if query is key and key is value:
        wide = linear(query, weight, bias)
        return tuple(wide.narrow(-1, i * width, width) for i in range(3))  # type: ignore[return-value]
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(  # type: ignore[return-value]
        linear(x, w, b)
        for x, w, b in zip((query, key, value), weight.chunk(3), biases, strict=True)
    )


SAMPLES = {
    "nn.functional.scaled_dot_product_attention": "cube * 0.3, cube, cube + 1; cube, batch, batch;"
    " batch, batch, cube.mT[:, :, :2].contiguous(), m; batch, batch, batch, truth[:1];"
    " batch, batch, batch, is_causal=True; batch, batch, batch, scale=0.3;"
    " batch[None], batch[None], batch[None], m, 0.4;"
    " batch.repeat(2, 1, 1)[None], batch[None], batch[None] + 1, enable_gqa=True;"
    " cube, empty[None].expand(2, 0, 4), empty[None].expand(2, 0, 4);"
    " batch, batch, batch, torch.zeros(4, 4).bool(); half[None], half[None], half[None] * 2;"
    " !batch, batch, batch, m, is_causal=True; !batch, tall, tall;"
    " !batch, batch, batch, dropout_p=1.5; !i, i, i; !v, v, v; !batch, batch, batch, i[:1]",
    "nn.functional.multi_head_attention_forward": "sequence, sequence, sequence, 4, 2,"
    " torch.cat([m, spd, m.T]), torch.cat([v, w, v]), None, None, False, 0.0, m, w; sequence,"
    " sequence * 2, sequence, 4, 1, torch.cat([m, spd, m.T]), None, row[None], row[None] * 2, True,"
    " 0.0, m, None, False, average_attn_weights=False; x, y, y, 4, 4, torch.cat([m, spd, m.T]),"
    " None, None, None, False, 0.5, m, v, attn_mask=wide[:, :3]; sequence, sequence, sequence, 4,"
    " 2, None, None, None, None, False, 0.0, m, None, key_padding_mask=tokens > 6,"
    " use_separate_proj_weight=True, q_proj_weight=m, k_proj_weight=spd, v_proj_weight=m.T,"
    " need_weights=False; !sequence, sequence, sequence, 5, 2, torch.cat([m, spd, m.T]), None,"
    " None, None, False, 0.0, m, v; !sequence, sequence, sequence, 4, 3, torch.cat([m, spd, m.T]),"
    " None, None, None, False, 0.0, m, v;"
    " !x, y, sequence, 4, 2, torch.cat([m, spd, m.T]), None, None, None, False, 0.0, m, v",
}
