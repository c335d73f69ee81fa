"""The handle that removes a registered hook."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """Removes the hook it was returned for; usable in a ``with`` statement."""

    def __init__(self, hooks: Any) -> None:
        self.hooks_ref = weakref.ref(hooks)
        self.id = next(_ids)

    def remove(self) -> None:
        """Forgets the hook; does nothing the second time."""
        hooks = self.hooks_ref()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()
