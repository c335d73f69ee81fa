"""The functions of neural networks: what ``torch.nn.functional`` holds, by theme."""

# Declared when imported: the primitives that these functions are made of.
import flambeau.ir.attention
import flambeau.ir.conv
import flambeau.ir.recurrent
import flambeau.ir.embedding
import flambeau.ir.loss
import flambeau.ir.pool
import flambeau.ir.resample
import flambeau.ir.rows

# Modules whose functions are names of ``flambeau.nn.functional``.
MODULES = (
    "activation",
    "attention",
    "average_pooling",
    "classes",
    "convolution",
    "distance",
    "dropout",
    "embedding",
    "fractional",
    "linear",
    "loss",
    "margins",
    "max_pooling",
    "normalization",
    "padding",
    "patches",
    "resampling",
    "sequence",
    "softmax",
)

# Names that are functions of the package itself, too.
TOP_LEVEL = (
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "alpha_dropout_",
    "avg_pool1d", "batch_norm", "bilinear", "binary_cross_entropy_with_logits", "cdist", "celu",
    "celu_", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
    "conv_transpose2d", "constant_pad_nd", "conv_transpose3d", "cosine_embedding_loss",
    "cosine_similarity", "ctc_loss", "dropout", "dropout_", "embedding", "embedding_bag",
    "feature_alpha_dropout", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_",
    "group_norm", "hardshrink", "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm",
    "log_softmax", "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool3d", "native_channel_shuffle", "pairwise_distance", "pdist", "pixel_shuffle",
    "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu_", "rms_norm", "rrelu",
    "rrelu_", "selu", "selu_", "softmax", "threshold", "threshold_", "triplet_margin_loss",
)  # fmt: skip

# Names that are methods of tensors, too.
METHODS = ("hardshrink", "log_softmax", "prelu", "relu", "relu_", "softmax")
