"""Handles that take a hook away again."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook gives back: ``remove()`` takes the hook away; also a context.

    >>> hooks = {}
    >>> handle = RemovableHandle(hooks)
    >>> hooks[handle.id] = print
    >>> handle.remove()
    >>> hooks
    {}
    """

    next_id = 0

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        self._hooks = hooks_dict
        # Weak where it can be: a handle does not keep a module alive.
        try:
            self._ref: Any = weakref.ref(hooks_dict)
            self._hooks = None
        except TypeError:
            self._ref = None
        self.id = next(_ids)
        extras = extra_dict if isinstance(extra_dict, list) else [extra_dict]
        self._extras = tuple(d for d in extras if d is not None)

    @property
    def hooks_dict_ref(self) -> Any:
        """A callable that gives the dictionary of hooks, or None if it is gone."""
        return self._ref if self._ref is not None else lambda: self._hooks

    def remove(self) -> None:
        """Takes the hook away; a second time does nothing."""
        hooks = self.hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self.id, None)
        for d in self._extras:
            d.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
