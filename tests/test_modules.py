"""Layers agree with PyTorch's: parameters from a seed, printed form, outputs and gradients."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import flambeau


class Case(NamedTuple):
    name: str
    args: tuple
    inputs: tuple
    kwargs: dict = {}


class Ints(NamedTuple):
    """An input of integers below ``high``."""

    shape: tuple
    high: int


class Signs(NamedTuple):
    """An input of the values 1 and -1."""

    shape: tuple


class Chances(NamedTuple):
    """An input of values between 0 and 1."""

    shape: tuple


def case(name: str, *args: Any, on: Any, **kwargs: Any) -> Case:
    inputs = on if isinstance(on, list) else [on]
    return Case(name, args, tuple(inputs), kwargs)


SIGNAL, IMAGE, VOLUME = (2, 4, 9), (2, 4, 8, 9), (2, 4, 6, 5, 7)
PLAIN = [
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Identity",
    "Dropout",
    "AlphaDropout",
    "Flatten",
]
OF_TWO = ["L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "PoissonNLLLoss"]

CASES = [
    *(case(name, on=(3, 4)) for name in PLAIN),
    *(case(name, on=[(3, 4), Chances((3, 4))]) for name in OF_TWO),
    *(case(name, reduction="sum", on=[(3, 4), Chances((3, 4))]) for name in OF_TWO),
    *(case(name, 1, on=(3, 4)) for name in ("Softmax", "Softmin", "LogSoftmax")),
    case("Softmax2d", on=IMAGE),
    case("GELU", "tanh", on=(3, 4)),
    case("GLU", on=(3, 4)),
    case("Threshold", 0.1, 2.0, on=(3, 4)),
    case("PReLU", 4, on=IMAGE),
    case("ReLU", True, on=(3, 4)),
    case("Linear", 4, 3, on=(2, 4)),
    case("Linear", 4, 3, bias=False, on=(2, 5, 4)),
    case("LazyLinear", 3, on=(2, 4)),
    case("Bilinear", 3, 4, 2, on=[(5, 3), (5, 4)]),
    case("Conv1d", 4, 6, 3, on=SIGNAL),
    case("Conv1d", 4, 6, 3, padding="same", padding_mode="circular", on=SIGNAL),
    case("Conv2d", 4, 6, 3, stride=2, padding=1, groups=2, on=IMAGE),
    case("Conv2d", 4, 6, (3, 2), padding=(2, 1), dilation=2, padding_mode="reflect", on=IMAGE),
    case("Conv2d", 4, 6, (3, 2), padding="same", dilation=(1, 2), bias=False, on=IMAGE),
    case("Conv2d", 4, 6, 3, padding="valid", padding_mode="replicate", on=(4, 8, 9)),
    case("Conv3d", 4, 2, 2, on=VOLUME),
    case("ConvTranspose1d", 4, 6, 3, stride=2, on=SIGNAL),
    case("ConvTranspose2d", 4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, on=IMAGE),
    case("ConvTranspose3d", 4, 2, 2, on=VOLUME),
    case("LazyConv1d", 6, 3, on=SIGNAL),
    case("LazyConv2d", 6, 3, padding=1, on=IMAGE),
    case("LazyConv3d", 2, 2, on=VOLUME),
    case("LazyConvTranspose1d", 6, 3, on=SIGNAL),
    case("LazyConvTranspose2d", 6, 3, stride=2, on=IMAGE),
    case("LazyConvTranspose3d", 2, 2, on=VOLUME),
    case("MaxPool1d", 2, on=SIGNAL),
    case("MaxPool2d", 3, 2, padding=1, return_indices=True, on=IMAGE),
    case("MaxPool3d", 2, ceil_mode=True, on=VOLUME),
    case("AvgPool1d", 2, on=SIGNAL),
    case("AvgPool2d", 3, 2, padding=1, count_include_pad=False, on=IMAGE),
    case("AvgPool3d", 2, divisor_override=3, on=VOLUME),
    case("AdaptiveAvgPool1d", 4, on=SIGNAL),
    case("AdaptiveAvgPool2d", (3, None), on=IMAGE),
    case("AdaptiveAvgPool3d", 2, on=VOLUME),
    case("AdaptiveMaxPool1d", 4, on=SIGNAL),
    case("AdaptiveMaxPool2d", (3, None), return_indices=True, on=IMAGE),
    case("AdaptiveMaxPool3d", 2, on=VOLUME),
    case("LPPool1d", 2, 3, on=SIGNAL),
    case("LPPool2d", 2, 3, stride=2, on=IMAGE),
    case("LPPool3d", 2, 3, on=VOLUME),
    case("FractionalMaxPool2d", 2, output_size=(4, 5), on=IMAGE),
    case("FractionalMaxPool3d", 2, output_ratio=0.5, on=VOLUME),
    case("BatchNorm1d", 4, on=(5, 4)),
    case("BatchNorm1d", 4, momentum=None, on=SIGNAL),
    case("BatchNorm2d", 4, track_running_stats=False, on=IMAGE),
    case("BatchNorm2d", 4, bias=False, on=IMAGE),
    case("BatchNorm3d", 4, affine=False, on=VOLUME),
    case("LazyBatchNorm1d", on=SIGNAL),
    case("LazyBatchNorm2d", on=IMAGE),
    case("LazyBatchNorm3d", on=VOLUME),
    case("InstanceNorm1d", 4, on=SIGNAL),
    case("InstanceNorm2d", 4, affine=True, track_running_stats=True, on=IMAGE),
    case("InstanceNorm2d", 4, on=(4, 8, 9)),
    case("InstanceNorm3d", 4, on=VOLUME),
    case("LazyInstanceNorm1d", on=SIGNAL),
    case("LazyInstanceNorm2d", on=IMAGE),
    case("LazyInstanceNorm3d", on=VOLUME),
    case("LayerNorm", 9, on=SIGNAL),
    case("LayerNorm", (4, 9), bias=False, on=SIGNAL),
    case("GroupNorm", 2, 4, on=IMAGE),
    case("GroupNorm", 2, 4, affine=False, on=IMAGE),
    case("RMSNorm", 9, on=SIGNAL),
    case("RMSNorm", (4, 9), eps=1e-3, elementwise_affine=False, on=SIGNAL),
    case("LocalResponseNorm", 2, on=IMAGE),
    # Forward only: the gradient of PyTorch's layer is not the derivative of what it computes.
    case("CrossMapLRN2d", 3, alpha=0.1, on=Chances(IMAGE)),
    case("Dropout1d", 0.4, on=SIGNAL),
    case("Dropout2d", 0.4, on=IMAGE),
    case("Dropout3d", 0.4, on=VOLUME),
    case("FeatureAlphaDropout", 0.4, on=SIGNAL),
    *(case(f"{kind}Pad1d", (1, 2), on=SIGNAL) for kind in ("Circular", "Reflection", "Zero")),
    *(case(f"{kind}Pad2d", 2, on=IMAGE) for kind in ("Circular", "Reflection", "Replication")),
    *(case(f"{kind}Pad3d", 1, on=VOLUME) for kind in ("Circular", "Reflection", "Replication")),
    case("ReplicationPad1d", 2, on=SIGNAL),
    case("ZeroPad2d", (1, 0, 2, 1), on=IMAGE),
    case("ZeroPad3d", 1, on=VOLUME),
    case("ConstantPad1d", 1, 1.5, on=SIGNAL),
    case("ConstantPad2d", 1, 1.5, on=IMAGE),
    case("ConstantPad3d", 1, 1.5, on=VOLUME),
    case("Flatten", 0, 1, on=IMAGE),
    case("Unflatten", 1, (2, 2), on=IMAGE),
    case("CosineSimilarity", on=[(3, 4), (3, 4)]),
    case("PairwiseDistance", 1.0, keepdim=True, on=[(3, 4), (3, 4)]),
    case("PixelShuffle", 2, on=IMAGE),
    case("PixelUnshuffle", 2, on=(2, 3, 4, 6)),
    case("ChannelShuffle", 2, on=IMAGE),
    case("Upsample", scale_factor=2, on=IMAGE),
    case("Upsample", (10, 12), mode="bicubic", align_corners=True, on=IMAGE),
    case("UpsamplingNearest2d", scale_factor=2, on=IMAGE),
    case("UpsamplingBilinear2d", 12, on=IMAGE),
    case("Unfold", (2, 3), padding=1, on=IMAGE),
    case("Fold", (4, 5), 2, on=(1, 12, 12)),
    case("Embedding", 10, 3, padding_idx=-2, on=Ints((2, 5), 10)),
    case("Embedding", 10, 3, max_norm=1.0, scale_grad_by_freq=True, on=Ints((2, 5), 10)),
    case("EmbeddingBag", 10, 3, on=Ints((2, 5), 10)),
    case("EmbeddingBag", 10, 3, mode="max", padding_idx=1, on=Ints((2, 5), 10)),
    case("RNN", 3, 5, on=(4, 2, 3)),
    case("RNN", 3, 5, 2, "relu", bias=False, on=(4, 3)),
    case("GRU", 3, 5, 2, bidirectional=True, batch_first=True, on=[(2, 4, 3), (4, 2, 5)]),
    case("LSTM", 3, 5, 2, dropout=0.3, bidirectional=True, on=(4, 2, 3)),
    case("LSTM", 3, 5, 2, proj_size=2, batch_first=True, on=(2, 4, 3)),
    case("RNNCell", 3, 5, on=[(2, 3), (2, 5)]),
    case("RNNCell", 3, 5, bias=False, nonlinearity="relu", on=(3,)),
    case("LSTMCell", 3, 5, on=(2, 3)),
    case("GRUCell", 3, 5, on=[(2, 3), (2, 5)]),
    case("MultiheadAttention", 8, 2, on=[(4, 2, 8), (5, 2, 8), (5, 2, 8)]),
    case(
        "MultiheadAttention",
        8,
        2,
        kdim=3,
        vdim=4,
        batch_first=True,
        add_bias_kv=True,
        add_zero_attn=True,
        on=[(2, 4, 8), (2, 5, 3), (2, 5, 4)],
    ),
    case("TransformerEncoderLayer", 8, 2, 16, on=(4, 2, 8)),
    case("TransformerEncoderLayer", 8, 2, 16, activation="gelu", norm_first=True, on=(4, 2, 8)),
    case("TransformerDecoderLayer", 8, 2, 16, batch_first=True, on=[(2, 4, 8), (2, 5, 8)]),
    case("TransformerDecoderLayer", 8, 2, 16, on=[(4, 2, 8), (5, 2, 8)]),
    case("Transformer", 8, 2, 2, 2, 16, on=[(4, 2, 8), (5, 2, 8)]),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [3, 7], on=[(6, 8), Ints((6,), 12)]),
    case("CrossEntropyLoss", label_smoothing=0.1, on=[(3, 4), Ints((3,), 4)]),
    case("LinearCrossEntropyLoss", 5, 4, bias=True, on=[(3, 5), Ints((3,), 4)]),
    case("LinearCrossEntropyLoss", 5, 4, out_features=(2,), on=[(3, 5), Ints((3, 2), 4)]),
    case("NLLLoss", reduction="sum", on=[(3, 4, 2), Ints((3, 2), 4)]),
    case("BCELoss", on=[Chances((3, 4)), Chances((3, 4))]),
    case("KLDivLoss", reduction="batchmean", log_target=True, on=[(3, 4), (3, 4)]),
    case("GaussianNLLLoss", full=True, on=[(3, 4), (3, 4), Chances((3, 4))]),
    case("HingeEmbeddingLoss", on=[(3, 4), Signs((3, 4))]),
    case("SoftMarginLoss", on=[(3, 4), Signs((3, 4))]),
    case("CosineEmbeddingLoss", 0.1, on=[(3, 4), (3, 4), Signs((3,))]),
    case("MarginRankingLoss", 0.1, on=[(3,), (3,), Signs((3,))]),
    case("TripletMarginLoss", swap=True, on=[(3, 4), (3, 4), (3, 4)]),
    case("TripletMarginWithDistanceLoss", on=[(3, 4), (3, 4), (3, 4)]),
    case("MultiLabelMarginLoss", on=[(3, 4), Ints((3, 4), 4)]),
    case("MultiLabelSoftMarginLoss", on=[(3, 4), Chances((3, 4))]),
    case("MultiMarginLoss", 2, on=[(3, 4), Ints((3,), 4)]),
]


def make(case: Case, lib: Any) -> Any:
    lib.manual_seed(3)
    args = [list(arg) if isinstance(arg, list) else arg for arg in case.args]
    return getattr(lib.nn, case.name)(*args, **case.kwargs)


def arrays(case: Case) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    found = []
    for kind in case.inputs:
        if isinstance(kind, Ints):
            found.append(rng.integers(0, kind.high, kind.shape))
        elif isinstance(kind, Signs):
            found.append(rng.choice(np.array([-1.0, 1.0], np.float32), kind.shape))
        elif isinstance(kind, Chances):
            found.append(rng.uniform(0.05, 0.95, kind.shape).astype(np.float32))
        else:
            found.append(rng.standard_normal(kind).astype(np.float32))
    return found


def leaves(lib: Any, value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(lib, part)]
    return [] if value is None else [value]


def run(case: Case, lib: Any, train: bool) -> dict[str, Any]:
    """All that can be seen of a layer: its form, its numbers and the gradients it gives."""
    module = make(case, lib).train(train)
    seen: dict[str, Any] = {"repr before": repr(module)}
    inputs = []
    for kind, array in zip(case.inputs, arrays(case)):
        tensor = lib.tensor(array.tolist(), dtype=lib.int64 if array.dtype.kind == "i" else None)
        # A layer must not write on a leaf, so what it gets is a step away from it.
        differentiable = not isinstance(kind, (Ints, Signs, Chances))
        inputs.append(tensor.requires_grad_() if differentiable else tensor)
    lib.manual_seed(11)
    given = [tensor * 1 if tensor.requires_grad else tensor for tensor in inputs]
    outputs = leaves(lib, module(*given))
    seen["repr"] = repr(module)
    loss = sum(
        (out * (1 + i)).pow(2).sum() for i, out in enumerate(outputs) if out.is_floating_point()
    )
    if loss.requires_grad:
        loss.backward()
    state = module.state_dict()
    seen["keys"] = list(state)
    seen |= {f"state {key}": value for key, value in state.items()}
    seen |= {f"output {i}": out.detach() for i, out in enumerate(outputs)}
    seen |= {f"input gradient {i}": x.grad for i, x in enumerate(inputs)}
    seen |= {f"gradient {name}": p.grad for name, p in module.named_parameters()}
    return seen


def label(case: Case) -> str:
    options = [*map(str, case.args), *(f"{k}={v}" for k, v in case.kwargs.items())]
    return f"{case.name}({', '.join(options)})"


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_layer_agrees_with_pytorch(case: Case, train: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = run(case, torch, train), run(case, flambeau, train)
    assert list(ours) == list(theirs)
    for name, their in theirs.items():
        our = ours[name]
        if their is None or isinstance(their, (str, list)):
            assert our == their, name
            continue
        assert tuple(our.shape) == tuple(their.shape), name
        assert str(our.dtype).rpartition(".")[2] == str(their.dtype).rpartition(".")[2], name
        np.testing.assert_allclose(our.numpy(), their.numpy(), rtol=2e-4, atol=2e-5, err_msg=name)
