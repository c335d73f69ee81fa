"""Summaries: each kind of thing that TensorBoard shows, as a protocol buffer."""

from __future__ import annotations

import io
import json
import warnings
import wave
from typing import Any

import numpy as np

from flambeau.utils.tensorboard._arrays import make_np, to_pixels
from flambeau.utils.tensorboard._package import part, pillow, proto

__all__ = [
    "audio",
    "custom_scalars",
    "histogram",
    "histogram_raw",
    "hparams",
    "image",
    "image_boxes",
    "mesh",
    "pr_curve",
    "pr_curve_raw",
    "scalar",
    "tensor_proto",
    "text",
    "video",
]

# More thresholds than these do not fit what the plugin reads.
_THRESHOLDS = 127


def _summary(tag: str, **value: Any) -> Any:
    messages = proto("summary")
    return messages.Summary(value=[messages.Summary.Value(tag=tag, **value)])


def _metadata(plugin: str, content: bytes = b"") -> Any:
    metadata = proto("summary").SummaryMetadata
    return metadata(plugin_data=metadata.PluginData(plugin_name=plugin, content=content))


def _tensor(dtype: str, shape: tuple[int, ...], **values: Any) -> Any:
    shapes = proto("tensor_shape").TensorShapeProto
    dim = [shapes.Dim(size=n) for n in shape]
    return proto("tensor").TensorProto(dtype=dtype, tensor_shape=shapes(dim=dim), **values)


def scalar(
    name: str,
    tensor: Any,
    collections: Any = None,
    new_style: bool = False,
    double_precision: bool = False,
) -> Any:
    """One number; with ``new_style`` as a tensor, of 64 bits with ``double_precision``.

    Raises: ``AssertionError`` if there is more than one element.

    >>> scalar("loss", tensor(0.5)).value[0].simple_value
    0.5
    """
    array = make_np(tensor).squeeze()
    if array.ndim != 0:
        raise AssertionError(
            f"add_scalar wants one element, was given a value of shape {list(array.shape)}"
        )
    value = float(array)
    if not new_style:
        return _summary(name, simple_value=value)
    tensors = proto("tensor").TensorProto
    held = (
        tensors(double_val=[value], dtype="DT_DOUBLE")
        if double_precision
        else tensors(float_val=[value], dtype="DT_FLOAT")
    )
    return _summary(name, tensor=held, metadata=_metadata("scalars"))


def tensor_proto(tag: str, tensor: Any) -> Any:
    """A whole tensor.

    Raises: ``ValueError`` for a dtype that TensorBoard does not know, or 2 GiB and more.
    """
    array = np.ascontiguousarray(make_np(tensor)).reshape(np.shape(tensor))
    if array.nbytes >= 1 << 31:
        raise ValueError("tensor is bigger than protocol buffer's hard limit of 2GB in size")
    name = "DT_" + {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}.get(
        array.dtype.name, array.dtype.name.upper()
    )
    if name not in proto("types").DataType.keys():  # noqa: SIM118  (no dictionary)
        raise ValueError(f"{tag} has unsupported tensor dtype {array.dtype}")
    held = _tensor(name, array.shape, tensor_content=array.tobytes())
    return _summary(tag, tensor=held, metadata=_metadata("tensor"))


def histogram(name: str, values: Any, bins: Any, max_bins: int | None = None) -> Any:
    """Counts of ``values`` in ``bins`` (as for ``numpy.histogram``), at most ``max_bins``.

    Raises: ``ValueError`` if there are no values.
    """
    array = make_np(values).astype(float)
    return _summary(name, histo=part("summary").make_histogram(array, bins, max_bins))


def histogram_raw(
    name: str,
    min: float,
    max: float,
    num: float,
    sum: float,
    sum_squares: float,
    bucket_limits: Any,
    bucket_counts: Any,
) -> Any:
    """A histogram that was made already: upper limits and counts of its buckets."""
    single = (float(make_np(x).squeeze()) for x in (min, max, num, sum, sum_squares))
    lists = (np.asarray(_listed(x), float).tolist() for x in (bucket_limits, bucket_counts))
    return part("summary").histogram_raw(name, *single, *lists)


def _listed(x: Any) -> Any:
    return x if isinstance(x, list | tuple) else make_np(x)


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Any:
    """A PNG of uint8 values, or of others in [0, 1]; batches become a grid of eight columns.

    Raises: ``AssertionError`` if ``dataformats`` does not fit the shape; ``MissingExtraError``
    without Pillow.
    """
    return image_boxes(tag, tensor, None, rescale, dataformats)


def image_boxes(
    tag: str,
    tensor_image: Any,
    tensor_boxes: Any,
    rescale: float = 1,
    dataformats: str = "CHW",
    labels: list[str] | None = None,
) -> Any:
    """:func:`image` with boxes (xmin, ymin, xmax, ymax) and their labels drawn into it."""
    pillow()
    array = part("utils").convert_to_HWC(make_np(tensor_image), dataformats)
    boxes = None if tensor_boxes is None else make_np(tensor_boxes)
    drawn = part("summary").make_image(
        np.ascontiguousarray(to_pixels(array)), rescale=rescale, rois=boxes, labels=labels
    )
    return _summary(tag, image=drawn)


def video(tag: str, tensor: Any, fps: float = 4) -> Any:
    """An animated GIF of (batch, time, channels, height, width); a batch becomes a grid."""
    images = pillow()
    frames = to_pixels(part("utils")._prepare_video(make_np(tensor)))
    _, height, width, channels = frames.shape
    pictures = [images.fromarray(f[..., 0] if channels == 1 else f) for f in frames]
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0
    )
    shown = proto("summary").Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=out.getvalue()
    )
    return _summary(tag, image=shown)


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Any:
    """A WAV of 16 bits, one channel, of values in [-1, 1]: others are clipped, with a warning.

    Raises: ``AssertionError`` unless there is one dimension that is not 1.
    """
    samples = make_np(tensor).squeeze()
    if samples.ndim != 1:
        raise AssertionError(
            f"add_audio wants one dimension, was given a sound of shape {list(samples.shape)}"
        )
    if np.abs(samples).max() > 1:
        warnings.warn("add_audio: amplitudes beyond [-1, 1] are clipped", stacklevel=3)
        samples = samples.clip(-1, 1)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((samples * np.iinfo(np.int16).max).astype("<i2").tobytes())
    heard = proto("summary").Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=len(samples),
        encoded_audio_string=out.getvalue(),
        content_type="audio/wav",
    )
    return _summary(tag, audio=heard)


def text(tag: str, text: str) -> Any:
    """A text in Markdown."""
    return part("summary").text(tag, text)


def custom_scalars(layout: dict[str, dict[str, list]]) -> Any:
    """How charts are made of scalars: {category: {chart: [kind, tags]}}; ``kind`` is "Multiline",
    or "Margin" with the tags of a value, its lower and its upper bound.

    Raises: ``AssertionError`` for a margin chart without three tags.
    """
    return part("summary").custom_scalars(layout)


def pr_curve(
    tag: str,
    labels: Any,
    predictions: Any,
    num_thresholds: int = _THRESHOLDS,
    weights: Any = None,
) -> Any:
    """Precision and recall of predictions in [0, 1] at thresholds, at most 127."""
    weights = None if weights is None else make_np(weights)
    return part("summary").pr_curve(
        tag, make_np(labels), make_np(predictions), num_thresholds, weights
    )


def pr_curve_raw(
    tag: str,
    tp: Any,
    fp: Any,
    tn: Any,
    fn: Any,
    precision: Any,
    recall: Any,
    num_thresholds: int = _THRESHOLDS,
    weights: Any = None,
) -> Any:
    """A precision-recall curve that was worked out already: six values a threshold."""
    rows = [np.asarray(_listed(x)) for x in (tp, fp, tn, fn, precision, recall)]
    return part("summary").pr_curve_raw(tag, *rows, num_thresholds)


def hparams(
    hparam_dict: dict[str, Any],
    metric_dict: dict[str, Any],
    hparam_domain_discrete: dict[str, list] | None = None,
) -> tuple[Any, Any, Any]:
    """The experiment, the start and the end of a session with these hyperparameters.

    Raises: ``TypeError`` if something is no dictionary, or a domain does not fit its value;
    ``ValueError`` for a value that is no number, string or tensor of one element.
    """
    domains = hparam_domain_discrete or {}
    for name, given in [
        ("hparam_dict", hparam_dict),
        ("metric_dict", metric_dict),
        ("hparam_domain_discrete", domains),
    ]:
        if not isinstance(given, dict):
            raise TypeError(f"{name} should be a dictionary, was given {type(given).__name__}")
    for name, values in domains.items():
        kind = type(hparam_dict.get(name))
        if (
            name not in hparam_dict
            or not isinstance(values, list)
            or not all(isinstance(v, kind) for v in values)
        ):
            raise TypeError(
                f"hparam_domain_discrete[{name}] should be a list of values of the type of "
                f"hparam_dict[{name}]"
            )
    api, plugin = proto("api"), proto("plugin_hparams")
    start = plugin.SessionStartInfo()
    infos = []
    for name, value in hparam_dict.items():
        if value is None:
            continue
        number = not isinstance(value, str)
        field = "number_value" if number else "string_value"
        setattr(start.hparams[name], field, _number(name, value) if number else value)
        info = api.HParamInfo(
            name=name,
            type=api.DataType.Value("DATA_TYPE_FLOAT64" if number else "DATA_TYPE_STRING"),
        )
        for choice in domains.get(name, ()):
            setattr(info.domain_discrete.values.add(), field, choice)
        infos.append(info)
    metrics = [api.MetricInfo(name=api.MetricName(tag=tag)) for tag in metric_dict]
    experiment = api.Experiment(hparam_infos=infos, metric_infos=metrics)
    end = plugin.SessionEndInfo(status=api.Status.Value("STATUS_SUCCESS"))
    return (
        _hparams_part("experiment", experiment=experiment),
        _hparams_part("session_start_info", session_start_info=start),
        _hparams_part("session_end_info", session_end_info=end),
    )


def _hparams_part(name: str, **content: Any) -> Any:
    data = proto("plugin_hparams").HParamsPluginData(version=0, **content)
    return _summary(f"_hparams_/{name}", metadata=_metadata("hparams", data.SerializeToString()))


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float):
        return value
    try:
        array = make_np(value)
    except NotImplementedError:
        array = np.empty(0)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"hparam_dict[{name}] should be an int, float, str, bool or a tensor of one element, "
            f"was given {value!r}"
        )
    return float(array.reshape(()))


def mesh(
    tag: str,
    vertices: Any,
    colors: Any,
    faces: Any,
    config_dict: dict[str, Any] | None,
    display_name: str | None = None,
    description: str | None = None,
) -> Any:
    """Points, faces (indices of points) and colours, each of shape (batch, n, 3).

    Raises: ``ValueError`` for another number of dimensions.
    """
    messages = proto("summary")
    kinds = proto("plugin_mesh").MeshPluginData.ContentType
    given = [("VERTEX", vertices), ("FACE", faces), ("COLOR", colors)]
    there = [(kind, np.asarray(_listed(x))) for kind, x in given if x is not None]
    components = sum(1 << kinds.Value(kind) for kind, _ in there)
    values = []
    for kind, array in there:
        if array.ndim != 3:
            raise ValueError(f"{kind} should be of shape (batch, n, 3), not {list(array.shape)}")
        data = proto("plugin_mesh").MeshPluginData(
            version=0,
            name=tag,
            content_type=kinds.Value(kind),
            json_config="{}" if config_dict is None else json.dumps(config_dict, sort_keys=True),
            shape=array.shape,
        )
        # tensorboardX's message lacks field 7, `components`, which TensorBoard goes by: a varint
        # after its key.
        content = data.SerializeToString() + bytes([7 << 3, components])
        metadata = _metadata("mesh", content)
        metadata.display_name = display_name or ""
        metadata.summary_description = description or ""
        held = _tensor("DT_FLOAT", array.shape, float_val=array.reshape(-1).tolist())
        value = messages.Summary.Value(tag=f"{tag}_{kind}", tensor=held, metadata=metadata)
        values.append(value)
    return messages.Summary(value=values)
