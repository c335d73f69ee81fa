"""Which public names must have samples, and which of those have."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import flambeau
from generated.kinds import kind
from generated.samples import tables
from generated.sides import find  # noqa: F401  (the tests look names up as samples do)
from generated.variants import guises

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "tools" / "coverage.py"

# Of these namespaces each supported name has samples.
SPACES = (
    "", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils.rnn", "optim", "optim.lr_scheduler",
    "autograd.functional", "linalg", "fft", "special", "func", "distributions",
)  # fmt: skip
# Of the others none: they act on modules, on data sets or on the process, or describe something.
OTHERS = {
    "nn.utils": "acts on modules: test_nn_utils.py",
    "nn.utils.parametrizations": "acts on modules: test_nn_utils.py",
    "nn.utils.parametrize": "acts on modules: test_nn_utils.py",
    "nn.utils.prune": "acts on modules: test_nn_utils_prune.py",
    "nn.parallel": "acts on modules: test_parallel.py",
    "nn.attention": "chooses among kernels, of which there is one",
    "optim.swa_utils": "acts on modules: test_lr_scheduler.py",
    "utils.data": "data sets and loaders: test_data.py",
    "utils.checkpoint": "the way that gradients are computed: test_autograd.py",
    "autograd": "the way that gradients are computed: test_autograd.py, test_autograd_graph.py",
    "distributions.constraints": "describes parameters: test_distributions.py",
    "distributions.transforms": "objects made of others: test_distributions_more.py",
    "amp": "modes: test_amp.py",
    "random": "the generator's state: test_random_engine.py",
    "hub": "downloads: test_hub.py",
    "jit": "does nothing to functions: test_compat.py",
}
# Names that no sample fits, by a pattern of whole names, and why.
EXEMPT = {
    "a dtype or a type, no function": (
        r"(b?float|complex|u?int)\d+|bool|double|float|half|short|int|long|cdouble|cfloat"
        r"|(BFloat16|Bool|Byte|Char|Double|Float|Half|Int|Long|Short)Tensor"
        r"|(Typed|Untyped)Storage|dtype|device|layout|memory_format|Generator|Tensor|finfo|iinfo"
        r"|Stream|Event"
        r"|linalg\.LinAlgError"
    ),
    "a mode, or a setting of the process: test_switches.py and others": (
        r"(set|get)_\w+|autocast\w*|(enable|no)_grad|inference_mode|use_deterministic_algorithms"
        r"|is_(deterministic|warn|autocast|grad|inference_mode)\w*enabled\w*|GradScaler"
        r"|are_deterministic_algorithms_enabled|clear_autocast_cache|\w*_grad_enabled"
    ),
    "the generator's state: test_random_engine.py": r"manual_seed|seed|initial_seed|thread_safe.*",
    "what PyTorch iterates to a tolerance: test_lobpcg.py": r"lobpcg",
    "files: test_serialization.py": r"load|save",
    "what subclasses of tensors use: test_overrides.py": r"nn\.functional\.\w+_torch_function\w*",
    "acts on modules: test_parallel.py, test_compat.py": r"nn\.DataParallel|compile",
    "without memory until a lazy layer is called: test_modules.py": r"nn\.Uninitialized\w+",
    "hooks and graphs: test_autograd_graph.py": (
        r"Tensor\.(register_\w*hook|backward|grad_fn|retain_grad|retains_grad|grad|grad_dtype"
        r"|output_nr)"
    ),
    "the base of other classes: test_module_class.py, test_optim.py, test_distributions.py": (
        r"nn\.Module|optim\.Optimizer|optim\.lr_scheduler\.LRScheduler"
        r"|distributions\.(Distribution|ExponentialFamily|Transform)"
    ),
    "a registry, or a transform: test_distributions.py, test_distributions_more.py": (
        r"distributions\.(\w*Transform|\w+_transform|\w+_to|register_kl|kl_divergence)"
    ),
}


@lru_cache(None)
def coverage() -> Any:
    """``tools/coverage.py``, which says what is supported."""
    spec = importlib.util.spec_from_file_location("coverage_page", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def supported() -> list[str]:
    """The names that must have samples."""
    page = coverage()
    found = []
    for path in SPACES:
        theirs, ours = page.space(torch, path), page.space(flambeau, path)
        names = (f"{path}.{n}".lstrip(".") for n in page.public(theirs) if hasattr(ours, n))
        found += [n for n in names if not exempt(n)]
    return sorted(found)


def exempt(name: str) -> str | None:
    """Why a name needs no samples."""
    return next((why for why, names in EXEMPT.items() if re.fullmatch(names, name)), None)


@lru_cache(None)
def covered() -> frozenset[str]:
    """The names that some sample calls, by themselves or as a guise of another."""
    found = set(tables())
    for name, samples in tables().items():
        if kind(name) == "function":
            found.update(path for s in samples if not s.refused for path in guises(s))
    return frozenset(found)
