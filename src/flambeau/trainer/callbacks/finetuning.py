"""BaseFinetuning: layers that are frozen at first, and trained from some epoch on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flambeau.nn import Module, Parameter
from flambeau.nn.batchnorm import _BatchNorm
from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException
from flambeau.trainer.utilities.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from flambeau.optim import Optimizer
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["BackboneFinetuning", "BaseFinetuning"]

Modules = Module | Iterable[Any]


class BaseFinetuning(Callback):
    """Base of callbacks that freeze layers before training and free them later.

    A subclass writes :meth:`freeze_before_training`, called before ``configure_optimizers``, and
    :meth:`finetune_function`, called for each optimizer when an epoch begins. The groups that it
    adds to an optimizer are made again when a run is taken up from a checkpoint.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import BaseFinetuning
    >>> class Later(BaseFinetuning):
    ...     def freeze_before_training(self, pl_module):
    ...         self.freeze(pl_module.features)
    ...     def finetune_function(self, pl_module, epoch, optimizer):
    ...         if epoch == 5:
    ...             self.unfreeze_and_add_param_group(pl_module.features, optimizer)
    """

    def __init__(self) -> None:
        # For each optimizer by its number, the groups that were added: names and options.
        self._added: dict[int, list[dict[str, Any]]] = {}
        self._loaded = False

    # --- what a subclass writes -------------------------------------------------------------

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freezes what is not trained from the start."""
        raise NotImplementedError

    def finetune_function(
        self, pl_module: LightningModule, epoch: int, optimizer: Optimizer
    ) -> None:
        """Frees what is trained from this epoch on."""
        raise NotImplementedError

    # --- what it calls ----------------------------------------------------------------------

    @staticmethod
    def flatten_modules(modules: Modules) -> list[Module]:
        """The modules within that have no children, or parameters of their own."""
        if not isinstance(modules, Module):
            return [part for one in modules for part in BaseFinetuning.flatten_modules(one)]
        return [
            part
            for part in modules.modules()
            if not list(part.children()) or any(True for _ in part.parameters(recurse=False))
        ]

    @staticmethod
    def filter_params(
        modules: Modules, train_bn: bool = True, requires_grad: bool = True
    ) -> Iterator[Parameter]:
        """The parameters that require gradients, or those that do not; without those of batch
        normalisation unless ``train_bn``.
        """
        for part in BaseFinetuning.flatten_modules(modules):
            if train_bn or not isinstance(part, _BatchNorm):
                for p in part.parameters(recurse=False):
                    if p.requires_grad == requires_grad:
                        yield p

    @staticmethod
    def make_trainable(modules: Modules) -> None:
        """All parameters require gradients; batch normalisation keeps statistics."""
        for part in BaseFinetuning.flatten_modules(modules):
            _set_trainable(part, True)

    @staticmethod
    def freeze_module(module: Module) -> None:
        """Its own parameters require no gradients; batch normalisation keeps no statistics."""
        _set_trainable(module, False)

    @staticmethod
    def freeze(modules: Modules, train_bn: bool = True) -> None:
        """Freezes all modules; batch normalisation goes on training with ``train_bn``."""
        for part in BaseFinetuning.flatten_modules(modules):
            _set_trainable(part, train_bn and isinstance(part, _BatchNorm))

    @staticmethod
    def filter_on_optimizer(optimizer: Optimizer, params: Iterable[Parameter]) -> list[Parameter]:
        """The parameters that the optimizer does not have yet; warns of those that it has."""
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        found = list(params)
        new = [p for p in found if id(p) not in known]
        if len(new) < len(found):
            rank_zero_warn(
                "The provided params to be frozen already exist within another group of this "
                "optimizer. Those parameters will be skipped. HINT: Did you init your optimizer in "
                "`configure_optimizer` as such: optim.SGD(filter(lambda p: p.requires_grad, "
                "self.parameters()), ...)"
            )
        return new

    @staticmethod
    def unfreeze_and_add_param_group(
        modules: Modules,
        optimizer: Optimizer,
        lr: float | None = None,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
    ) -> None:
        """Frees modules, and gives the optimizer their parameters as a group.

        Its rate is ``lr``, or that of the first group divided by ``initial_denom_lr``.
        """
        BaseFinetuning.make_trainable(modules)
        rate = optimizer.param_groups[0]["lr"] if lr is None else lr
        params = BaseFinetuning.filter_params(modules, train_bn=train_bn)
        new = BaseFinetuning.filter_on_optimizer(optimizer, params)
        if new:
            divided = rate / (initial_denom_lr if lr is None else 1.0)
            optimizer.add_param_group({"params": new, "lr": divided})

    # --- hooks ------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freezes, before optimizers are made."""
        self.freeze_before_training(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the groups of a run that is taken up; their states come afterwards."""
        if not self._loaded:
            return
        self._loaded = False
        parameters = dict(pl_module.named_parameters())
        for number, groups in self._added.items():
            for group in groups:
                params = [parameters[name] for name in group["params"]]
                for p in params:
                    p.requires_grad = True
                trainer.optimizers[number].add_param_group({**group, "params": params})

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """What an evaluation loaded is not for the next training."""
        self._loaded = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the subclass free layers."""
        for number, optimizer in enumerate(trainer.optimizers):
            before = len(optimizer.param_groups)
            self.finetune_function(pl_module, trainer.current_epoch, optimizer)
            names = {id(p): name for name, p in pl_module.named_parameters()}
            for group in optimizer.param_groups[before:]:
                kept = {k: v for k, v in group.items() if k != "params"}
                kept["params"] = [names[id(p)] for p in group["params"]]
                self._added.setdefault(number, []).append(kept)

    def state_dict(self) -> dict[str, Any]:
        """The groups that were added."""
        return {"added": {number: list(groups) for number, groups in self._added.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the groups until there are optimizers."""
        self._added = {number: list(groups) for number, groups in state_dict["added"].items()}
        self._loaded = True


def _set_trainable(part: Module, trains: bool) -> None:
    """Sets a module's own parameters, and whether batch normalisation keeps statistics."""
    if isinstance(part, _BatchNorm):
        part.track_running_stats = trains
    for p in part.parameters(recurse=False):
        p.requires_grad = trains


def multiplicative(epoch: int) -> float:
    """What a rate is multiplied by in each epoch: 2."""
    return 2.0


class BackboneFinetuning(BaseFinetuning):
    """Trains ``module.backbone`` from an epoch on, with a rate of its own that grows.

    Args:
        unfreeze_backbone_at_epoch: the epoch.
        lambda_func: what the backbone's rate is multiplied by at each epoch.
        backbone_initial_ratio_lr: its first rate, as a share of the rest's.
        backbone_initial_lr: or its first rate itself.
        should_align: it never exceeds the rest's.
        initial_denom_lr: accepted; the first rate is said by the two above.
        train_bn: whether batch normalisation in it trains from the start.
        verbose, rounding: whether the rates are reported, and to how many digits.

    Raises: ``MisconfigurationException`` if the module has no ``backbone``.

    Reference: Lightning's callback of this name.

    >>> from flambeau.trainer.callbacks import BackboneFinetuning
    >>> callback = BackboneFinetuning(unfreeze_backbone_at_epoch=2, lambda_func=lambda epoch: 1.5)
    """

    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = multiplicative,
        backbone_initial_ratio_lr: float = 10e-2,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
        verbose: bool = False,
        rounding: int = 12,
    ) -> None:
        super().__init__()
        self.unfreeze_backbone_at_epoch = unfreeze_backbone_at_epoch
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr = backbone_initial_ratio_lr
        self.backbone_initial_lr = backbone_initial_lr
        self.should_align = should_align
        self.initial_denom_lr = initial_denom_lr
        self.train_bn = train_bn
        self.verbose = verbose
        self.rounding = rounding
        self.previous_backbone_lr: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that there is a backbone."""
        if not isinstance(getattr(pl_module, "backbone", None), Module):
            raise MisconfigurationException(
                "The LightningModule should have a nn.Module `backbone` attribute"
            )
        super().on_fit_start(trainer, pl_module)

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freezes the backbone."""
        self.freeze(pl_module.backbone)

    def finetune_function(
        self, pl_module: LightningModule, epoch: int, optimizer: Optimizer
    ) -> None:
        """Frees the backbone in its epoch; later, raises its rate."""
        rate = optimizer.param_groups[0]["lr"]
        if epoch == self.unfreeze_backbone_at_epoch:
            first = self.backbone_initial_lr
            if first is None:
                first = rate * self.backbone_initial_ratio_lr
            self.unfreeze_and_add_param_group(
                pl_module.backbone, optimizer, first, self.initial_denom_lr, self.train_bn
            )
        elif epoch > self.unfreeze_backbone_at_epoch and self.previous_backbone_lr is not None:
            first = self.lambda_func(epoch + 1) * self.previous_backbone_lr
            if self.should_align and first > rate:
                first = rate
            optimizer.param_groups[-1]["lr"] = first
        else:
            return
        self.previous_backbone_lr = first
        if self.verbose:
            rank_zero_info(
                f"Current lr: {round(rate, self.rounding)}, "
                f"Backbone lr: {round(first, self.rounding)}"
            )

    def state_dict(self) -> dict[str, Any]:
        """The groups that were added, and the backbone's rate."""
        return {**super().state_dict(), "previous_backbone_lr": self.previous_backbone_lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the backbone's rate."""
        super().load_state_dict(state_dict)
        self.previous_backbone_lr = state_dict["previous_backbone_lr"]
