"""LambdaCallback: a callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.trainer.callback import Callback
from flambeau.trainer.utilities.exceptions import MisconfigurationException

__all__ = ["LambdaCallback"]


class LambdaCallback(Callback):
    """A callback made of functions, one for each hook that is given by name.

    Raises: ``MisconfigurationException`` for a name that is no hook.

    >>> from flambeau.trainer.callbacks import LambdaCallback
    >>> LambdaCallback(on_fit_end=lambda trainer, module: print("done")).on_fit_end(None, None)
    done
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        known = [n for n in vars(Callback) if n.startswith("on_") or n in ("setup", "teardown")]
        for name, function in hooks.items():
            if name not in known:
                raise MisconfigurationException(
                    f"The event function: `{name}` doesn't exist in supported callbacks function: "
                    f"{known}"
                )
            if function is not None:
                setattr(self, name, function)
