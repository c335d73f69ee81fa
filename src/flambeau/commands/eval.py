"""``flambeau eval``: a checkpoint measured on its data."""

from __future__ import annotations

import json as json_format
from typing import Annotated, Literal

from flambeau.commands import restoring, typed
from flambeau.commands.outcome import CommandError
from flambeau.commands.typed import typer

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Measures; returns the exit status."""
    return typed.run("eval", _eval, arguments)


def _eval(
    checkpoint: restoring.Checkpoint,
    split: Annotated[
        Literal["test", "validation"] | None,
        typer.Option(help="which data; by default test, if the module has a test_step"),
    ] = None,
    module: restoring.Module = None,
    datamodule: restoring.DataModule = None,
    data: restoring.Data = None,
    json: Annotated[bool, typer.Option("--json", help="print the values as JSON")] = False,
) -> None:
    """Prints what a checkpoint comes to on its test or validation data."""
    found = restoring.restored(checkpoint, module, datamodule, data)
    from flambeau.trainer.connecting import is_overridden
    from flambeau.trainer.trainer import Trainer

    if split is None:
        split = "test" if is_overridden("test_step", found.module) else "validation"
    trainer = Trainer(
        precision=found.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run = trainer.test if split == "test" else trainer.validate
    values = {
        k: v
        for one in run(found.module, datamodule=found.data, verbose=False)
        for k, v in one.items()
    }
    if not values:
        raise CommandError(f"the {split} data are empty, or {split}_step logs nothing")
    if json:
        print(json_format.dumps(values))
        return
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value:.6g}")
