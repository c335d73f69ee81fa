"""``torch._dynamo``: the settings that scripts write to before ``torch.compile``."""

from __future__ import annotations

from types import SimpleNamespace

from flambeau.compiler import allow_in_graph, disable, is_compiling, list_backends, reset
from flambeau.optimized import OptimizedModule

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "config",
    "disable",
    "is_compiling",
    "list_backends",
    "reset",
]

# Any attribute can be set; there is no such compiler for it to reach.
config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False)
