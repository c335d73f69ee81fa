"""Hyper-parameters: the arguments a module was made with, kept in its checkpoints."""

from __future__ import annotations

import copy
import inspect
from argparse import Namespace
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

__all__ = ["AttributeDict", "HyperparametersMixin"]


class AttributeDict(dict[str, Any]):
    """A dictionary whose entries are attributes as well.

    >>> hparams = AttributeDict(lr=0.1)
    >>> hparams.width = 3
    >>> hparams.lr, hparams["width"]
    (0.1, 3)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"Missing attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        if not self:
            return ""
        width = max(len(str(k)) for k in self)
        return "\n".join(f'"{k}":{"":{width - len(str(k)) + 1}}{v}' for k, v in self.items())


class HyperparametersMixin:
    """``save_hyperparameters``, ``hparams`` and ``hparams_initial``."""

    _log_hyperparams = False

    def save_hyperparameters(
        self,
        *args: Any,
        ignore: Iterable[str] | str | None = None,
        frame: FrameType | None = None,
        logger: bool = True,
    ) -> None:
        """Keeps the arguments of the ``__init__`` that calls it in ``self.hparams``.

        With names as ``args``, only those; with one dictionary or namespace, its entries.
        ``ignore`` names arguments to leave out (modules ought to be: their weights are in
        checkpoints anyway). With ``logger``, they go to the loggers as well.

        >>> from flambeau.trainer import LightningModule
        >>> class Net(LightningModule):
        ...     def __init__(self, width, lr=0.1):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        >>> dict(Net(3).hparams)
        {'width': 3, 'lr': 0.1}
        """
        self._log_hyperparams = logger
        if len(args) == 1 and isinstance(args[0], (Mapping, Namespace)):
            given, names = _entries(args[0]), None
        else:
            current = inspect.currentframe()
            given = _arguments(frame or (current.f_back if current is not None else None), self)
            names = args or None
        left_out = {ignore} if isinstance(ignore, str) else set(ignore or ())
        kept = {k: v for k, v in given.items() if k not in left_out}
        if names is not None:
            if not all(name in kept for name in names):
                raise ValueError(
                    "save_hyperparameters(): expected names of arguments of __init__ "
                    f"({', '.join(kept) or 'none'}) or one dictionary, got {args!r}"
                )
            kept = {name: kept[name] for name in names}
        kept = {
            k: AttributeDict(vars(v)) if isinstance(v, Namespace) else v for k, v in kept.items()
        }
        # What the ``__init__`` of a base kept can be left out, too.
        merged = {**self.hparams, **kept}
        self._hparams = AttributeDict({k: v for k, v in merged.items() if k not in left_out})
        self._hparams_initial = copy.deepcopy(self._hparams)

    def remove_ignored_hparams(self, ignore_list: list[str]) -> None:
        """Takes names out of ``hparams`` that the ``__init__`` of a base kept."""
        for name in ignore_list:
            self.hparams.pop(name, None)

    @property
    def hparams(self) -> AttributeDict:
        """What :meth:`save_hyperparameters` kept."""
        if "_hparams" not in self.__dict__:
            self._hparams = AttributeDict()
        return self.__dict__["_hparams"]

    @property
    def hparams_initial(self) -> AttributeDict:
        """A copy of the hyper-parameters as they were when they were kept."""
        return copy.deepcopy(self.__dict__.get("_hparams_initial", AttributeDict()))


def _entries(given: Mapping[str, Any] | Namespace) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else dict(vars(given))


def _arguments(frame: FrameType | None, owner: object) -> dict[str, Any]:
    """The arguments of the ``__init__`` frames of ``owner`` that are being run, innermost wins.

    A subclass whose ``__init__`` calls a base's that keeps its arguments gets its own kept, too.
    """
    found: dict[str, Any] = {}
    frames = []
    while frame is not None:
        if frame.f_code.co_name == "__init__" and _owner(frame) is owner:
            frames.append(frame)
        elif frames:
            break
        frame = frame.f_back
    # The outermost frame is the call the user wrote; those it calls only fill in.
    for inner in frames:
        found.update(_frame_arguments(inner))
    return found


def _owner(frame: FrameType) -> object:
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if names else None


def _frame_arguments(frame: FrameType) -> dict[str, Any]:
    positional, _, keywords, values = inspect.getargvalues(frame)
    code = frame.f_code
    names = [*positional[1:]]
    # getargvalues leaves out those that are keyword only in some versions.
    names += [
        n
        for n in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        if n not in names
    ]
    found = {n: values[n] for n in names if n in values}
    if keywords is not None:
        found.update(values.get(keywords, {}))
    return {k: v for k, v in found.items() if k not in ("self", "__class__")}
