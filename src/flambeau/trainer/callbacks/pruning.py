"""ModelPruning: sets weights to zero, again and again while training goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau.nn import Module, Parameter
from flambeau.nn.utils import prune
from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["ModelPruning"]

Places = Sequence[tuple[Module, str]]

# Name: the class that does it in many tensors at once, or None, and the function for one.
_METHODS: dict[str, tuple[Any, Callable]] = {
    "l1_unstructured": (prune.L1Unstructured, prune.l1_unstructured),
    "random_unstructured": (prune.RandomUnstructured, prune.random_unstructured),
    "ln_structured": (None, prune.ln_structured),
    "random_structured": (None, prune.random_structured),
}


class ModelPruning(Callback):
    """Prunes weights at the end of epochs, by :mod:`flambeau.nn.utils.prune`.

    Args:
        pruning_fn: "l1_unstructured", "random_unstructured", "ln_structured", "random_structured",
            or a subclass of ``BasePruningMethod``.
        parameters_to_prune: pairs (module, name); by default all ``parameter_names``.
        parameter_names: "weight" and "bias" by default.
        use_global_unstructured: the smallest of all tensors together, not of each.
        amount: a share of what is left, a number, or a function of the epoch that gives one.
        apply_pruning: whether to prune, or a function of the epoch.
        make_pruning_permanent: takes the masks away when training ends, and in checkpoints.
        use_lottery_ticket_hypothesis: sets what is left back to what it was at the beginning
            [Frankle, Carbin 2019]; or a function of the epoch.
        resample_parameters: draws it anew instead.
        pruning_dim, pruning_norm: of the structured methods.
        verbose: 1 reports the share of zeros, 2 that of each tensor.
        prune_on_train_epoch_end: at the end of training epochs, else of validations.

    Raises: ``MisconfigurationException`` for arguments that make no sense.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import ModelPruning
    >>> pruning = ModelPruning("l1_unstructured", amount=lambda epoch: 0.5 if epoch == 3 else 0.1)
    """

    PARAMETER_NAMES = ("weight", "bias")

    def __init__(
        self,
        pruning_fn: type[prune.BasePruningMethod] | str,
        parameters_to_prune: Places = (),
        parameter_names: list[str] | None = None,
        use_global_unstructured: bool = True,
        amount: int | float | Callable[[int], int | float] = 0.5,
        apply_pruning: bool | Callable[[int], bool] = True,
        make_pruning_permanent: bool = True,
        use_lottery_ticket_hypothesis: bool | Callable[[int], bool] = True,
        resample_parameters: bool = False,
        pruning_dim: int | None = None,
        pruning_norm: int | None = None,
        verbose: int = 0,
        prune_on_train_epoch_end: bool = True,
    ) -> None:
        self._names = tuple(parameter_names or self.PARAMETER_NAMES)
        if not set(self._names) <= set(self.PARAMETER_NAMES):
            raise MisconfigurationException(
                f"The provided `parameter_names` name: {self._names} isn't in "
                f"{self.PARAMETER_NAMES}"
            )
        if not isinstance(amount, (int, float)) and not callable(amount):
            raise MisconfigurationException(
                "`amount` should be provided and be either an int, a float or Callable function."
            )
        if verbose not in (0, 1, 2):
            raise MisconfigurationException("`verbose` must be any of (0, 1, 2)")
        self._global = use_global_unstructured
        self._options: dict[str, Any] = {}
        self._method, self._function = self._resolve(pruning_fn, pruning_dim, pruning_norm)
        self._given = parameters_to_prune
        self._places: Places = ()
        self._originals: list[tuple[Module, Module]] = []
        self._amount = amount
        self._apply = apply_pruning
        self._permanent = make_pruning_permanent
        self._lottery = use_lottery_ticket_hypothesis
        self._resample = resample_parameters
        self._verbose = verbose
        self._on_train_epoch_end = prune_on_train_epoch_end

    def _resolve(self, given: Any, dim: int | None, norm: int | None) -> tuple[Any, Any]:
        """The class for many tensors, or None, and the function for one."""
        if isinstance(given, str):
            name = given.lower()
            if name not in _METHODS:
                raise MisconfigurationException(
                    f"The provided `pruning_fn` {given} isn't available in PyTorch's built-in "
                    f"functions: {list(_METHODS)}"
                )
            if name.endswith("_structured"):
                if dim is None:
                    raise MisconfigurationException(
                        "When requesting `structured` pruning, the `pruning_dim` should be "
                        "provided."
                    )
                self._options["dim"] = dim
                if name == "ln_structured":
                    if norm is None:
                        raise MisconfigurationException(
                            "When requesting `ln_structured` pruning, the `pruning_norm` should be "
                            "provided."
                        )
                    self._options["n"] = norm
            method, function = _METHODS[name]
        elif isinstance(given, type) and issubclass(given, prune.BasePruningMethod):
            method, function = given, given.apply
            if getattr(given, "PRUNING_TYPE", "unstructured") != "unstructured":
                method = None
        else:
            raise MisconfigurationException(
                "`pruning_fn` is expected to be a str in "
                f"{list(_METHODS)} or a PyTorch `BasePruningMethod`. Found: {given}"
            )
        if self._global and method is None:
            raise MisconfigurationException(
                'Only the "unstructured" PRUNING_TYPE is supported with '
                f"`use_global_unstructured=True`. Found method {given}"
            )
        return method, function

    # --- what is pruned ---------------------------------------------------------------------

    def filter_parameters_to_prune(self, parameters_to_prune: Places = ()) -> Places:
        """What of ``(module, name)`` is pruned: everything; to be overridden."""
        return parameters_to_prune

    @staticmethod
    def sanitize_parameters_to_prune(
        pl_module: LightningModule,
        parameters_to_prune: Places = (),
        parameter_names: Sequence[str] = (),
    ) -> Places:
        """The pairs that were given; all of the module by default.

        Raises: ``MisconfigurationException`` if one is not there.
        """
        names = tuple(parameter_names or ModelPruning.PARAMETER_NAMES)
        if not parameters_to_prune:
            return [
                (module, name)
                for module in pl_module.modules()
                if module is not pl_module
                for name in names
                if isinstance(getattr(module, name, None), Parameter)
            ]
        if not isinstance(parameters_to_prune, (list, tuple)):
            raise MisconfigurationException(
                "The provided `parameters_to_prune` should either be list of tuple with 2 "
                "elements: (nn.Module, parameter name) or None. Found "
                f"{parameters_to_prune}"
            )
        missing = [
            (type(module).__name__, name)
            for module, name in parameters_to_prune
            if not any(module is part for part in pl_module.modules())
            or not isinstance(getattr(module, name, None), flambeau.Tensor)
        ]
        if missing:
            raise MisconfigurationException(
                f"Some provided `parameters_to_prune` don't exist in the model: {missing}"
            )
        return parameters_to_prune

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the tensors, and keeps how they began."""
        if stage != "fit":
            return
        found = self.sanitize_parameters_to_prune(pl_module, self._given, self._names)
        self._places = self.filter_parameters_to_prune(found)
        self._originals = []
        if self._lottery:
            for module in {id(module): module for module, _ in self._places}.values():
                self._originals.append((module, copy.deepcopy(module)))

    # --- pruning ----------------------------------------------------------------------------

    def apply_pruning(self, amount: int | float) -> None:
        """Prunes a share of what is left, or so many."""
        before = self._zeros()
        if self._global:
            prune.global_unstructured(
                list(self._places), pruning_method=self._method, amount=amount, **self._options
            )
        else:
            for module, name in self._places:
                self._function(module, name=name, amount=amount, **self._options)
        if self._verbose:
            self._report(before, self._zeros(), amount)

    def apply_lottery_ticket_hypothesis(self) -> None:
        """Sets what is left of the tensors back to how they began, or draws it anew."""
        for module, original in self._originals:
            if self._resample and hasattr(original, "reset_parameters"):
                original = copy.deepcopy(original)
                original.reset_parameters()
            for mine, name in self._places:
                if mine is module:
                    target = getattr(module, f"{name}_orig", getattr(module, name))
                    with flambeau.no_grad():
                        target.copy_(getattr(original, name))

    def make_pruning_permanent(self, module: Module) -> None:
        """Makes pruned tensors parameters again, with their zeros."""
        for part in module.modules():
            for name in list(part._parameters):
                if name.endswith("_orig") and prune.is_pruned(part):
                    prune.remove(part, name.removesuffix("_orig"))

    def _zeros(self) -> list[tuple[int, int]]:
        masks = [
            getattr(module, f"{name}_mask", flambeau.ones(())) for module, name in self._places
        ]
        return [(int((mask == 0).sum()), mask.numel()) for mask in masks]

    def _report(
        self, before: list[tuple[int, int]], now: list[tuple[int, int]], amount: Any
    ) -> None:
        whole = sum(module.get_parameter(name + "_orig").numel() for module, name in self._places)
        old, new = sum(zeros for zeros, _ in before), sum(zeros for zeros, _ in now)
        rank_zero_info(
            f"Applied `{getattr(self._function, '__name__', self._function)}`. Pruned: "
            f"{old}/{whole} ({old / whole:.2%}) -> {new}/{whole} ({new / whole:.2%})"
        )
        if self._verbose == 2:
            for (module, name), (was, _), (zeros, size) in zip(
                self._places, before, now, strict=True
            ):
                rank_zero_info(
                    f"Applied to `{module!r}.{name}` with amount={amount}. Pruned: {was} "
                    f"({was / size:.2%}) -> {zeros} ({zeros / size:.2%})"
                )

    def _run(self, epoch: int) -> None:
        if not (self._apply(epoch) if callable(self._apply) else self._apply):
            return
        amount = self._amount(epoch) if callable(self._amount) else self._amount
        if not amount:
            return
        self.apply_pruning(amount)
        if self._lottery(epoch) if callable(self._lottery) else self._lottery:
            self.apply_lottery_ticket_hypothesis()

    # --- hooks ------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prunes."""
        if self._on_train_epoch_end:
            self._run(trainer.current_epoch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prunes, if that is the time."""
        if not trainer.sanity_checking and not self._on_train_epoch_end:
            self._run(trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the masks away."""
        if self._permanent:
            self.make_pruning_permanent(pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The checkpoint holds plain weights, with zeros."""
        if not self._permanent:
            return
        state = checkpoint["state_dict"]
        if trainer.state.fn == "fit" and any(name.endswith("_mask") for name in state):
            rank_zero_warn(
                "ModelPruning: the checkpoint holds the pruned weights without their masks; a run "
                "that is resumed from it prunes anew."
            )
        plain = {}
        for name, value in state.items():
            if name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state:
                continue
            mask = state.get(f"{name.removesuffix('_orig')}_mask")
            if name.endswith("_orig") and mask is not None:
                plain[name.removesuffix("_orig")] = value * mask
            else:
                plain[name] = value
        checkpoint["state_dict"] = plain
