"""SummaryWriter: writes what TensorBoard shows, with PyTorch's interface."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime
from typing import Any, NoReturn

from flambeau.errors import NotSupportedError
from flambeau.utils.tensorboard import summary
from flambeau.utils.tensorboard._arrays import make_np
from flambeau.utils.tensorboard._embedding import write_embedding
from flambeau.utils.tensorboard._package import part, proto
from flambeau.utils.tensorboard.event_file import FileWriter
from flambeau.utils.tensorboard.graph import graph

__all__ = ["FileWriter", "SummaryWriter"]


class SummaryWriter:
    """Writes event files to ``log_dir``, by default ``runs/<date>_<host><comment>``.

    ``purge_step`` is the step at which a run that crashed goes on: TensorBoard hides what it logged
    from that step on. For ``max_queue``, ``flush_secs`` and ``filename_suffix`` see
    :class:`~flambeau.utils.tensorboard.FileWriter`.

    Wherever a value is wanted it may be a tensor (pending, requiring a gradient, of any dtype) or
    an array. ``global_step`` is the place on the horizontal axis, ``walltime`` the time in seconds
    since the epoch (default: now).

    Differs from PyTorch: bfloat16 is shown as float32 (there: rounded to float16), videos need
    Pillow (there: moviepy).

    Raises: ``MissingExtraError`` if ``tensorboardX`` is not installed.

    >>> import tempfile
    >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
    ...     for step in range(3):
    ...         writer.add_scalar("loss", 1 / (step + 1), step)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = log_dir
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.default_bins = _default_bins()
        self._projector: list[str] = []
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self._get_file_writer()

    def _get_file_writer(self) -> FileWriter:
        """The writer of ``log_dir``; after :meth:`close`, one of a new file."""
        if self.file_writer is None or self.all_writers is None:
            self.file_writer = self._file_writer(self.log_dir)
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                events = proto("event")
                start = events.SessionLog(status=events.SessionLog.START)
                for event in (
                    events.Event(file_version="brain.Event:2"),
                    events.Event(session_log=start),
                ):
                    self.file_writer.add_event(event, self.purge_step)
                self.purge_step = None
        return self.file_writer

    def _file_writer(self, log_dir: str | os.PathLike[str]) -> FileWriter:
        return FileWriter(log_dir, self.max_queue, self.flush_secs, self.filename_suffix)

    def _add(self, made: Any, global_step: int | None, walltime: float | None) -> None:
        self._get_file_writer().add_summary(made, global_step, walltime)

    def get_logdir(self) -> str | os.PathLike[str]:
        """The directory of the event files."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Adds a number to the curve ``tag``.

        Raises: ``AssertionError`` for more than one element.
        """
        made = summary.scalar(
            tag, scalar_value, new_style=new_style, double_precision=double_precision
        )
        self._add(made, global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds numbers to several curves of one chart: each is a run of its own, in a folder."""
        walltime = time.time() if walltime is None else walltime
        folder = self._get_file_writer().get_logdir()
        assert self.all_writers is not None
        for tag, value in tag_scalar_dict.items():
            name = f"{folder}/{main_tag.replace('/', '_')}_{tag}"
            writer = self.all_writers.get(name)
            if writer is None:
                writer = self.all_writers[name] = self._file_writer(name)
            writer.add_summary(summary.scalar(main_tag, value), global_step, walltime)

    def add_tensor(
        self,
        tag: str,
        tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds a whole tensor, for programs that read the event file."""
        self._add(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Adds a histogram of ``values``; ``bins`` is "tensorflow" (exponential), or as for
        ``numpy.histogram``.

        Raises: ``ValueError`` if there are no values.
        """
        if isinstance(bins, str) and bins == "tensorflow":
            bins = self.default_bins
        self._add(summary.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds a histogram that was made already: upper limits and counts of its buckets.

        Raises: ``ValueError`` if there are not as many limits as counts.
        """
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError(
                f"{len(bucket_limits)} bucket_limits for {len(bucket_counts)} bucket_counts: there "
                "should be an upper limit for every count"
            )
        made = summary.histogram_raw(
            tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts
        )
        self._add(made, global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Adds a picture: uint8, or values in [0, 1]; ``dataformats`` names its dimensions.

        Raises: ``AssertionError`` if ``dataformats`` does not fit the shape.
        """
        made = summary.image(tag, img_tensor, dataformats=dataformats)
        self._add(made, global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Adds a batch of pictures as a grid of eight columns."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: list[str] | str | None = None,
    ) -> None:
        """Adds a picture with boxes (N, 4) of (xmin, ymin, xmax, ymax) drawn into it; labels are
        shown if there is one for each box.
        """
        names = [labels] if isinstance(labels, str) else labels
        if names is not None and len(names) != box_tensor.shape[0]:
            names = None
        made = summary.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, names)
        self._add(made, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Adds a matplotlib figure, or a list of them as a grid, and closes it."""
        pixels = part("utils").figure_to_image(figure, close)
        formats = "NCHW" if isinstance(figure, list) else "CHW"
        self.add_image(tag, pixels, global_step, walltime, dataformats=formats)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Adds videos (N, T, C, H, W), uint8 or in [0, 1], side by side as an animated GIF."""
        self._add(summary.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Adds a sound (1, L) in [-1, 1]."""
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds a text in Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,
        use_strict_trace: bool = True,
    ) -> None:
        """Adds the graph of what ``model(*input_to_model)`` computes, grouped by module.

        The model is called once, in evaluation mode, without gradients; ``verbose`` prints the
        nodes. ``use_strict_trace`` is for ``torch.jit`` and does nothing here.
        """
        self._get_file_writer().add_graph(graph(model, input_to_model, verbose))

    def add_onnx_graph(self, prototxt: Any) -> NoReturn:
        """Raises: ``NotSupportedError``; :meth:`add_graph` draws the model itself."""
        raise NotSupportedError(
            "SummaryWriter.add_onnx_graph: Flambeau does not read ONNX files; "
            "add_graph(model, inputs) draws the model itself"
        )

    def add_embedding(
        self,
        mat: Any,
        metadata: list | None = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: list[str] | None = None,
    ) -> None:
        """Adds vectors (N, D) to the projector, with labels and square pictures (N, C, H, H).

        With ``metadata_header``, the names of columns, a label is a list of as many values.

        Raises: ``AssertionError`` if the counts differ.
        """
        folder = os.fspath(self._get_file_writer().get_logdir())
        entry = write_embedding(
            folder, make_np(mat), metadata, label_img, global_step or 0, tag, metadata_header
        )
        self._projector.append(entry)
        with open(os.path.join(folder, "projector_config.pbtxt"), "w", encoding="utf-8") as file:
            file.write("".join(self._projector))

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Adds the precision-recall curve of predictions in [0, 1] for binary labels."""
        made = summary.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._add(made, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Adds a precision-recall curve that was worked out already: a value each threshold."""
        made = summary.pr_curve_raw(
            tag,
            true_positive_counts,
            false_positive_counts,
            true_negative_counts,
            false_negative_counts,
            precision,
            recall,
            num_thresholds,
            weights,
        )
        self._add(made, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Adds hyperparameters with the metrics they led to, as a run ``run_name`` (default: the
        time) in a folder of its own.

        Raises: ``TypeError`` if something is no dictionary; ``ValueError`` for a value that is no
        number or string.
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        parts = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(folder) as writer:
            for made in parts:
                writer._add(made, global_step, None)
            for tag, value in metric_dict.items():
                writer.add_scalar(tag, value, global_step)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: dict[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds points (B, N, 3), their colours (B, N, 3) in [0, 255], faces (B, M, 3) of indices;
        ``config_dict`` configures three.js.
        """
        made = summary.mesh(tag, vertices, colors, faces, config_dict)
        self._add(made, global_step, walltime)

    def add_custom_scalars(self, layout: dict[str, dict[str, list]]) -> None:
        """Says which scalars make a chart: {category: {chart: ["Multiline" or "Margin", tags]}}.

        To be called once a writer.
        """
        self._add(summary.custom_scalars(layout), None, None)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Makes a chart of the scalars ``tags``."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Makes a chart of a scalar between its bounds: ``tags`` are value, lower, upper.

        Raises: ``AssertionError`` unless there are three.
        """
        if len(tags) != 3:
            raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def flush(self) -> None:
        """Writes everything that waits; afterwards a reader sees it, and a kill cannot take it."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Writes everything that waits and closes the files; what is added later goes to others."""
        for writer in (self.all_writers or {}).values():
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _default_bins() -> list[float]:
    """TensorBoard's buckets: from 1e-12 to 1e20 by factors of 1.1, their negatives, and zero."""
    positive = []
    edge = 1e-12
    while edge < 1e20:
        positive.append(edge)
        edge *= 1.1
    return [-x for x in reversed(positive)] + [0.0] + positive
