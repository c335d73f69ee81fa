"""ModelSummary, RichModelSummary: print what the module is made of before training."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.model_summary import ModelSummary as Summary
from flambeau.utils.extras import require

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["ModelSummary", "RichModelSummary"]


class ModelSummary(Callback):
    """Prints the layers, their parameters and, with ``example_input_array``, shapes and FLOPs.

    ``max_depth`` is how deep layers in layers are shown: 1 those of the module itself, -1 all, 0
    none (nothing is printed).

    >>> from flambeau.trainer.callbacks import ModelSummary
    >>> ModelSummary(max_depth=-1).state_key
    'ModelSummary'
    """

    def __init__(self, max_depth: int = 1) -> None:
        self._max_depth = max_depth

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints."""
        if self._max_depth and trainer.is_global_zero:
            self.show(Summary(pl_module, max_depth=self._max_depth))

    def show(self, summary: Summary) -> None:
        """Prints a summary."""
        print(summary, flush=True)


class RichModelSummary(ModelSummary):
    """:class:`ModelSummary` as a table drawn by rich; plain where the output is no terminal.

    >>> from flambeau.trainer.callbacks import RichModelSummary
    >>> RichModelSummary().state_key
    'RichModelSummary'
    """

    def show(self, summary: Summary) -> None:
        """Prints a summary."""
        if not sys.stdout.isatty():
            super().show(summary)
            return
        tables = require("rich.table", "train", "the model summary")
        console = require("rich.console", "train", "the model summary").Console()
        heads, rows = summary.columns()
        table = tables.Table(header_style="bold")
        for i, head in enumerate(heads):
            number = head in ("Params", "FLOPs")
            table.add_column(head, justify="right" if number else "left", style="" if i else "dim")
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
        totals = tables.Table.grid(padding=(0, 2))
        for count, name in summary.totals():
            totals.add_row(count, name)
        console.print(totals)
