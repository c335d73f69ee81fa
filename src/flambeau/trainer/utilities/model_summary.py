"""What a module is made of: its layers, their parameters, shapes and floating-point operations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.autograd.profiler import settle
from flambeau.ir.flops import flops, products
from flambeau.nn import Module
from flambeau.nn.parameter import UninitializedParameter
from flambeau.profiler import watch
from flambeau.tensor import Tensor
from flambeau.trainer.seeding import isolate_rng
from flambeau.trainer.utilities.transfer import move_data_to_device

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule

__all__ = ["LayerSummary", "ModelSummary", "human", "measured", "summarize"]

UNKNOWN = "?"


@dataclass
class LayerSummary:
    """One row: a module, what it has, and what it did when the example went through."""

    name: str
    module: Module
    in_size: Any = UNKNOWN
    out_size: Any = UNKNOWN
    flops: int = 0
    products: int = 0

    @property
    def layer_type(self) -> str:
        """The module's class."""
        return type(self.module).__name__

    @property
    def num_parameters(self) -> int:
        """How many numbers its parameters hold; of lazy ones nothing is known."""
        return sum(
            0 if isinstance(p, UninitializedParameter) else math.prod(p.shape)
            for p in self.module.parameters()
        )

    @property
    def training(self) -> bool:
        """Whether it is in training mode."""
        return self.module.training


class _Operations(watch.Listener):
    """Counts the operations of the programs that run."""

    def __init__(self) -> None:
        self.flops = 0
        self.products = 0

    def program(self, program: Any, start: float, end: float) -> None:
        entries = program.entries
        self.flops += sum(map(flops, entries))
        self.products += sum(map(products, entries))


@contextmanager
def measured(rows: list[LayerSummary]) -> Iterator[_Operations]:
    """Within, a call of a row's module fills in its shapes and operations.

    What a layer recorded is computed before it ends, so that it counts there.
    """
    count, handles = _Operations(), []

    def watched(row: LayerSummary) -> None:
        began: list[tuple[int, int]] = []

        def before(module: Module, inputs: Any) -> None:
            settle()
            began.append((count.flops, count.products))

        def after(module: Module, inputs: Any, output: Any) -> None:
            settle()
            flops_before, products_before = began.pop()
            row.flops += count.flops - flops_before
            row.products += count.products - products_before
            row.in_size = sizes(inputs)
            row.out_size = sizes(output)

        handles.append(row.module.register_forward_pre_hook(before))
        handles.append(row.module.register_forward_hook(after))

    for row in rows:
        watched(row)
    settle()
    watch.listen(count)
    try:
        yield count
    finally:
        watch.unlisten(count)
        for handle in handles:
            handle.remove()


def sizes(value: Any) -> Any:
    """The shapes of the tensors in a value; a list of them if there are several.

    >>> sizes((torch.ones(2, 3), [torch.ones(4), None]))
    [[2, 3], [[4], '?']]
    """
    if isinstance(value, Tensor):
        return list(value.shape)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        found = [sizes(part) for part in value]
        return found[0] if len(found) == 1 else found
    return UNKNOWN


class ModelSummary:
    """The layers of a module down to ``max_depth`` (-1: all), one row each.

    With ``example_input_array`` the module is called once, without gradients and in evaluation
    mode, to find shapes and FLOPs: two for each pair of numbers that a product, a convolution or a
    recurrent layer multiplies, one for each element of any other computation (moving values is
    free). Generators are where they were afterwards.

    Reference: Lightning's class of this name.

    >>> from flambeau.trainer.utilities.model_summary import ModelSummary
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> net.example_input_array = torch.ones(5, 4)
    >>> print(ModelSummary(net))
      | Name | Type   | Params | Mode  | FLOPs | In sizes | Out sizes
    -----------------------------------------------------------------
    0 | 0    | Linear | 15     | train | 135   | [5, 4]   | [5, 3]
    1 | 1    | ReLU   | 0      | train | 15    | [5, 3]   | [5, 3]
    -----------------------------------------------------------------
    15        Trainable params
    0         Non-trainable params
    15        Total params
    0.000     Total estimated model params size (MB)
    3         Modules in train mode
    0         Modules in eval mode
    150       Total FLOPs
    """

    def __init__(self, model: LightningModule | Module, max_depth: int = 1) -> None:
        if not isinstance(max_depth, int) or max_depth < -1:
            raise ValueError(f"`max_depth` can be -1, 0 or > 0, got {max_depth}.")
        self._model = model
        self._max_depth = max_depth
        modules = [(name, m) for name, m in model.named_modules() if name]
        if max_depth >= 0:
            modules = [(name, m) for name, m in modules if name.count(".") < max_depth]
        self.layers = [LayerSummary(name, module) for name, module in modules]
        self.total = LayerSummary("", model)
        self.has_example = getattr(model, "example_input_array", None) is not None
        if self.has_example:
            self._forward()

    def _forward(self) -> None:
        model = self._model
        device = next((p.device for p in model.parameters()), flambeau.device("cpu"))
        example = move_data_to_device(model.example_input_array, device)
        modes = [(m, m.training) for m in model.modules()]
        model.eval()
        try:
            with isolate_rng(), flambeau.no_grad(), measured([self.total, *self.layers]):
                if isinstance(example, (list, tuple)):
                    model(*example)
                elif isinstance(example, dict):
                    model(**example)
                else:
                    model(example)
        finally:
            for module, mode in modes:
                module.training = mode

    @property
    def layer_names(self) -> list[str]:
        """The names of the rows."""
        return [row.name for row in self.layers]

    @property
    def layer_types(self) -> list[str]:
        """The classes of the rows."""
        return [row.layer_type for row in self.layers]

    @property
    def in_sizes(self) -> list[Any]:
        """The shapes of what goes in."""
        return [row.in_size for row in self.layers]

    @property
    def out_sizes(self) -> list[Any]:
        """The shapes of what comes out."""
        return [row.out_size for row in self.layers]

    @property
    def param_nums(self) -> list[int]:
        """The parameters of the rows; shared ones are counted in each."""
        return [row.num_parameters for row in self.layers]

    @property
    def training_modes(self) -> list[bool]:
        """Whether the rows are in training mode."""
        return [row.training for row in self.layers]

    @property
    def total_training_modes(self) -> dict[str, int]:
        """How many modules are in either mode, at any depth."""
        modes = [m.training for m in self._model.modules()]
        return {"train": sum(modes), "eval": len(modes) - sum(modes)}

    @property
    def total_parameters(self) -> int:
        """How many numbers all parameters hold."""
        return self.total.num_parameters

    @property
    def trainable_parameters(self) -> int:
        """How many of these get gradients."""
        return sum(
            0 if isinstance(p, UninitializedParameter) or not p.requires_grad
            else math.prod(p.shape)
            for p in self._model.parameters()
        )  # fmt: skip

    @property
    def total_layer_params(self) -> int:
        """The parameters of the rows together."""
        return sum(self.param_nums)

    @property
    def total_flops(self) -> int:
        """The operations of a forward pass."""
        return self.total.flops

    @property
    def model_size(self) -> float:
        """The megabytes that the parameters take."""
        return (
            sum(
                math.prod(p.shape) * p.element_size()
                for p in self._model.parameters()
                if not isinstance(p, UninitializedParameter)
            )
            / 1e6
        )

    def columns(self) -> tuple[list[str], list[list[str]]]:
        """The heads, and a row of texts for each layer."""
        heads = ["", "Name", "Type", "Params", "Mode"]
        rows = [
            [str(i), row.name, row.layer_type, human(row.num_parameters),
             "train" if row.training else "eval"]
            for i, row in enumerate(self.layers)
        ]  # fmt: skip
        if self.has_example:
            heads += ["FLOPs", "In sizes", "Out sizes"]
            for cells, row in zip(rows, self.layers, strict=True):
                cells += [human(row.flops), str(row.in_size), str(row.out_size)]
        return heads, rows

    def totals(self) -> list[tuple[str, str]]:
        """The numbers below the table, with their names."""
        trainable, modes = self.trainable_parameters, self.total_training_modes
        found = [
            (human(trainable), "Trainable params"),
            (human(self.total_parameters - trainable), "Non-trainable params"),
            (human(self.total_parameters), "Total params"),
            (f"{self.model_size:,.3f}", "Total estimated model params size (MB)"),
            (str(modes["train"]), "Modules in train mode"),
            (str(modes["eval"]), "Modules in eval mode"),
        ]
        if self.has_example:
            found.append((human(self.total_flops), "Total FLOPs"))
        return found

    def __str__(self) -> str:
        heads, rows = self.columns()
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        lines = [
            " | ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()
            for cells in (heads, *rows)
        ]
        rule = "-" * (sum(widths) + 3 * (len(widths) - 1))
        totals = [f"{number:<9} {name}" for number, name in self.totals()]
        return "\n".join([lines[0], rule, *lines[1:], rule, *totals])


def summarize(model: LightningModule | Module, max_depth: int = 1) -> ModelSummary:
    """The summary of a module's layers down to ``max_depth``."""
    return ModelSummary(model, max_depth)


def human(number: int) -> str:
    """A count with three digits or so.

    >>> human(123), human(1234), human(2_000_000), human(3_000_000_000)
    ('123', '1.2 K', '2.0 M', '3.0 B')
    """
    if number < 1000:
        return str(number)
    for unit in ("K", "M", "B", "T"):
        number /= 1000  # type: ignore[assignment]
        if number < 999.95 or unit == "T":
            return f"{number:,.1f} {unit}"
    raise AssertionError
