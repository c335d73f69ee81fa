"""The files of TensorBoard's projector: vectors, their labels, their pictures."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from flambeau.utils.tensorboard._arrays import make_np, to_pixels
from flambeau.utils.tensorboard._package import part, pillow

__all__ = ["write_embedding"]


def write_embedding(
    log_dir: str,
    matrix: np.ndarray,
    metadata: list | None,
    label_img: Any,
    step: int,
    tag: str,
    header: list[str] | None,
) -> str:
    """Writes the vectors, and what is there of labels and pictures; their entry in the
    projector's configuration.

    Raises: ``AssertionError`` if the counts differ or ``matrix`` does not have two dimensions.
    """
    if matrix.ndim != 2:
        raise AssertionError(f"mat should have two dimensions, has shape {list(matrix.shape)}")
    if metadata is not None and len(metadata) != len(matrix):
        raise AssertionError(f"{len(metadata)} labels for {len(matrix)} data points")
    escaped = tag.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    folder = f"{step:05d}/{escaped}"
    path = os.path.join(log_dir, folder)
    os.makedirs(path, exist_ok=True)
    lines = [f'  tensor_name: "{_quoted(tag)}:{step:05d}"']
    lines.append(f'  tensor_path: "{_quoted(folder)}/tensors.tsv"')
    files = part("embedding")
    files.make_mat(matrix, path)
    if metadata is not None:
        files.make_tsv(metadata, path, metadata_header=header)
        lines.append(f'  metadata_path: "{_quoted(folder)}/metadata.tsv"')
    if label_img is not None:
        pictures = make_np(label_img)
        _write_sprite(pictures, len(matrix), os.path.join(path, "sprite.png"))
        height, width = pictures.shape[2:]
        lines.append(f'  sprite {{\n    image_path: "{_quoted(folder)}/sprite.png"')
        lines.append(f"    single_image_dim: {width}\n    single_image_dim: {height}\n  }}")
    return "embeddings {\n" + "\n".join(lines) + "\n}\n"


def _write_sprite(pictures: np.ndarray, count: int, path: str) -> None:
    """A square of square pictures, row by row; what is over stays black."""
    if len(pictures) != count:
        raise AssertionError(f"{len(pictures)} images for {count} data points")
    if pictures.ndim != 4 or pictures.shape[2] != pictures.shape[3]:
        raise AssertionError(
            f"label_img should be square pictures (N, C, H, H), has shape {list(pictures.shape)}"
        )
    grid = part("utils").make_grid(pictures, ncols=math.ceil(math.sqrt(count)))
    channels, height, width = grid.shape
    square = np.zeros((width, width, channels), grid.dtype)
    square[:height] = grid.transpose(1, 2, 0)
    pillow().fromarray(to_pixels(square)).save(path)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
