"""``flambeau predict``: what a checkpoint makes of an image."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

from flambeau.commands import restoring, typed
from flambeau.commands.typed import typer

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Predicts; returns the exit status."""
    return typed.run("predict", _predict, arguments)


def _predict(
    checkpoint: restoring.Checkpoint,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="a picture, or an array (.npy)")],
    top: Annotated[int, typer.Option(min=1, help="so many classes")] = 3,
    invert: Annotated[
        bool, typer.Option("--invert", help="exchange dark and light (digits are light on dark)")
    ] = False,
    module: restoring.Module = None,
    json: Annotated[bool, typer.Option("--json", help="print them as JSON")] = False,
) -> None:
    """Prints the most probable classes of an image."""
    found = restoring.restored(checkpoint, module, None, None)
    import flambeau
    from flambeau.trainer.recipes.pictures import read_picture

    picture = read_picture(image, found.shape, invert).to(found.module.dtype)
    found.module.eval()
    with flambeau.no_grad():
        output = found.module.predict_step(picture, 0)
    rows = _rows(output, found.classes, top)
    if rows is None:
        print(output)
    elif json:
        print(json_format.dumps([{"class": name, kind: value} for name, kind, value in rows]))
    else:
        width = max(len(name) for name, _, _ in rows)
        for name, kind, value in rows:
            shown = f"{value:7.2%}" if kind == "probability" else f"{value:10.4f}"
            print(f"{name:<{width}}  {shown}")


def _rows(output: Any, classes: tuple[str, ...], top: int) -> list[tuple[str, str, float]] | None:
    """(class, "probability" or "score", value), the greatest first; None if it is no such thing."""
    import flambeau

    if not isinstance(output, flambeau.Tensor) or output.ndim != 2 or len(output) != 1:
        return None
    values = output[0].float().numpy()
    names = classes if len(classes) == len(values) else tuple(map(str, range(len(values))))
    sums_to_one = values.min() >= 0 and abs(float(values.sum()) - 1) < 1e-3
    kind = "probability" if sums_to_one else "score"
    return [(names[i], kind, float(values[i])) for i in (-values).argsort(kind="stable")[:top]]
