"""Profiler: times the hooks, steps and kernels of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flambeau.profiler import watch
from flambeau.trainer.callback import Callback
from flambeau.trainer.connecting import Moments
from flambeau.trainer.profilers import AdvancedProfiler, KernelProfiler, SimpleProfiler
from flambeau.trainer.profilers import Profiler as Times

if TYPE_CHECKING:
    from flambeau.trainer.module import LightningModule
    from flambeau.trainer.trainer import Trainer

__all__ = ["Profiler"]


class _Programs(watch.Listener):
    """Adds the time that programs run to a profiler's rows."""

    def __init__(self, times: SimpleProfiler) -> None:
        self.times = times

    def program(self, program: Any, start: float, end: float) -> None:
        self.times.add("programs", end - start)


class _TimedMoments(Moments):
    """Moments whose functions are timed."""

    def __init__(self, trainer: Trainer, module: LightningModule, times: Times) -> None:
        super().__init__(trainer, module)
        self.times = times

    def own(self, name: str) -> Callable | None:
        own = super().own(name)
        if own is None:
            return None
        return self._timed(own, f"[LightningModule]{type(self.owner).__name__}.{name}")

    def of_callbacks(self, name: str, wanted: Callable[[Callback], bool]) -> list[Callable]:
        return [
            self._timed(f, f"[Callback]{_owner(f.func)}{name}")
            for f in super().of_callbacks(name, wanted)
        ]

    def _timed(self, function: Callable, action: str) -> Callable:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.times.profile(action):
                return function(*args, **kwargs)

        return timed


def _owner(hook: Callable) -> str:
    """The class of a hook's callback, and a dot; nothing for a function set on one."""
    owner = getattr(hook, "__self__", None)
    return "" if owner is None else f"{type(owner).__name__}."


class Profiler(Callback):
    """Says where the time of a run goes, when it is over.

    ``profiler`` is "simple" (:class:`~flambeau.trainer.profilers.SimpleProfiler`: every hook of
    callbacks and module, steps, waiting for data), "kernels"
    (:class:`~flambeau.trainer.profilers.KernelProfiler`: every kernel and line, of some steps, with
    a Chrome trace; "pytorch" means the same), "advanced"
    (:class:`~flambeau.trainer.profilers.AdvancedProfiler`: every Python function of each hook), or
    a profiler of one's own.

    Raises: ``ValueError`` for another name.

    >>> from flambeau.trainer.callbacks import Profiler
    >>> type(Profiler("kernels").profiler).__name__
    'KernelProfiler'
    """

    def __init__(self, profiler: str | Times = "simple") -> None:
        if isinstance(profiler, str):
            kinds = {
                "simple": SimpleProfiler, "advanced": AdvancedProfiler,
                "kernels": KernelProfiler, "pytorch": KernelProfiler,
            }  # fmt: skip
            if profiler not in kinds:
                raise ValueError(
                    f"Profiler: got {profiler!r}; known are {', '.join(map(repr, kinds))}"
                )
            profiler = kinds[profiler]()
        self.profiler = profiler
        self._programs: _Programs | None = None
        self._handles: list[Any] = []
        self._open: list[str] = []
        self._batch_ended: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """From here on what is called is timed."""
        self.profiler.setup(stage, trainer.local_rank, trainer.log_directory)
        self._batch_ended = None
        if isinstance(self.profiler, (SimpleProfiler, AdvancedProfiler)):
            trainer.moments = _TimedMoments(trainer, pl_module, self.profiler)
        if isinstance(self.profiler, SimpleProfiler):
            self._programs = _Programs(self.profiler)
            watch.listen(self._programs)

    def _begin(self, action: str) -> None:
        self._open.append(action)
        self.profiler.start(action)

    def _end(self, action: str) -> None:
        if action in self._open:
            self._open.remove(action)
            self.profiler.stop(action)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Times the optimizers' steps, the gradients' computation within them."""
        for i, optimizer in enumerate(trainer.optimizers):
            action = f"optimizer_step [{type(optimizer).__name__}{f' {i}' if i else ''}]"
            self._handles += [
                optimizer.register_step_pre_hook(lambda *_, a=action: self._begin(a)),
                optimizer.register_step_post_hook(lambda *_, a=action: self._end(a)),
            ]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins."""
        self._begin("run_training_epoch")
        self._batch_ended = perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch is over."""
        self._end("run_training_epoch")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        if self._batch_ended is not None and isinstance(self.profiler, SimpleProfiler):
            self.profiler.add("train_dataloader_next", perf_counter() - self._batch_ended)
        self._begin("run_training_batch")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The batch is done."""
        self._end("run_training_batch")
        self._batch_ended = perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""
        self._begin("run_validation")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation is over; the time until the next batch is not the loader's."""
        self._end("run_validation")
        self._batch_ended = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prints or writes what was found."""
        self._close(stage)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Prints or writes what was found until the run stopped."""
        self._close(trainer.state.fn)

    def _close(self, stage: str | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._programs is not None:
            watch.unlisten(self._programs)
            self._programs = None
        for action in reversed(self._open.copy()):
            self._end(action)
        self.profiler.teardown(stage)
        self.profiler.describe()
