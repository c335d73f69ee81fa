"""Writes docs/coverage.md: which public names of PyTorch Flambeau has, and why it lacks the others.

Needs PyTorch (the `test` extra). A name that is there is not yet a promise that every option of
it works: the generated tests and the probe say that. `--missing NAMES` checks a file of dotted
names instead, one a line after any numbers (`12 34 torch.nn.Linear`), and lists what is missing.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import textwrap
import warnings
from pathlib import Path
from types import ModuleType

import torch

import flambeau

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"
SPACES = (
    "", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.parametrizations",
    "nn.utils.parametrize", "nn.utils.prune", "nn.utils.rnn", "nn.parallel", "nn.attention",
    "optim", "optim.lr_scheduler", "optim.swa_utils", "utils.data", "utils.checkpoint", "autograd",
    "autograd.functional", "linalg", "fft", "special", "func", "distributions",
    "distributions.constraints", "distributions.transforms", "amp", "random", "hub", "jit",
)  # fmt: skip


# What PyTorch's modules import for themselves: no names of its interface.
FOREIGN = (
    "_bisect", "abc", "bisect", "builtins", "collections", "contextlib", "enum", "functools",
    "typing", "typing_extensions", "warnings", "weakref",
)  # fmt: skip
# Of the C++ core's classes only these are documented; the others belong to TorchScript and tools.
CORE = {
    "DeviceObjType", "Event", "Generator", "Size", "Stream", "SymBool", "SymFloat", "SymInt", "Tag",
    "Tensor", "device", "dtype", "finfo", "iinfo", "layout", "memory_format",
}  # fmt: skip

# Direct calls of other libraries' kernels.
OTHER_KERNELS = ("cudnn_", "fbgemm_", "miopen_", "mkldnn_", "quantized_", "q_")

# Why a name is missing, by a pattern of `namespace.name`; the first that fits says it.
REASONS = {
    "Removed: PyTorch's raises, and says what replaces it.": (
        r"(torch|Tensor)\.(eig|lstsq|matrix_rank|solve|symeig|reinforce)"
    ),
    "Deprecated by PyTorch for years: `reshape`, `requires_grad`, `linalg.norm` replace them.": (
        r"Tensor\.(resize|resize_as|volatile)|torch\.(frobenius|nuclear)_norm"
    ),
    "Quantization, and dtypes of few bits, are not planned: weights are floats of 16 to 64 bits.": (
        r".*(quant|qint|quint|qscheme|qparams|int_repr|float4|float8|bits\d|int[1-7]$|QInt|QUInt)"
        r".*|torch\.bit|.*scaled_(grouped_)?mm|.*grouped_mm|.*ScalingType|.*SwizzleType"
    ),
    "Half-precision complex numbers: NumPy and LLVM have none.": r".*(complex32|chalf)",
    "Classes of storages for a dtype each: `TypedStorage` and `UntypedStorage` are there.": (
        r"torch\.\w*Storage"
    ),
    "There is one device that computes, the CPU: no memory, queues or settings of others.": (
        r".*(record_stream|mtia|ipu|autocast_ipu\w*|\.xpu|DeviceObjType"
        r"|is_distributed|.*_xla_.*)$|Tensor\.to_mkldnn"
    ),
    "Training runs in one process: nothing gathers or scatters between devices.": (
        r"nn\.parallel\..*"
    ),
    "TorchScript, FX and the symbols of PyTorch's compiler: Flambeau compiles what it records.": (
        r"torch\.(Sym(Bool|Float|Int)|Tag|sym_.*|import_ir.*|parse_.*|merge_type.*|cond|while_loop"
        r"|classproperty|fork|wait|typed|vitals.*|read_vitals|set_vital|compiled_with.*)|jit\..*"
    ),
    "The profiler has its own events: see `torch.profiler`.": (
        r".*(Profiler\w+|kineto_available|profiler_.*|DeviceType)"
    ),
    "Fixed kernels behind a layer or a loss; call the function without the prefix or suffix.": (
        r"torch\.(batch_norm_.*|native_.*|affine_grid_generator|embedding_renorm_|convolution"
        r"|.*_copy$|(feature_)?(alpha_)?dropout_|lstm|gru|rnn_\w+|\w+_cell|norm_except_dim"
        r"|fused_.*|grid_sampler_.*|slice_inverse)"
        r"|Tensor\.slice_inverse"
    ),
    "Data pipes: their library, torchdata, has dropped them; datasets and samplers are there.": (
        r"utils\.data\.(\w*DataPipe|DataChunk|argument_validation|functional_datapipe"
        r"|guaranteed_\w+|non_deterministic|runtime_validation\w*)"
    ),
    "Internals that PyTorch happens to show.": (
        r"torch\.(get_file_path|init_num_threads|prepare_multiprocessing_environment|unify_type.*"
        r"|get_device|is_vulkan.*|autocast_.*|import_.*)|nn\.utils\.rnn\..*|.*NestedIOFunction"
        r"|.*boolean_dispatch|.*assert_int_or_pair|.*factory_kwargs"
        r"|optim\.swap_in_.*|Tensor\.(name|storage_type|index|map2_|module_load|const_data_ptr)|.*SavedTensor"
        r"|.*enforce_grad_layout_policy|.*is_(multithreading|view_replay)_enabled"
        r"|utils\.checkpoint\..*|amp\..*|hub\..*"
    ),
    "Products of sparse matrices: `torch.sparse.addmm` computes it.": (r".*\.saddmm"),
    "Rows of sparse tensors cannot be resized in place.": r".*sparse_resize.*|.*resize_as_sparse_",
    "One attention kernel: there is none to register or to choose.": r"nn\.attention\..*",
    "Nested tensors are not there.": r".*(padded_tensor|nested)",
}
LATER = "Not there yet."


def space(root: ModuleType, path: str) -> object | None:
    """The module or class ``root.path``; None if it is missing."""
    found: object = root
    for part in filter(None, path.split(".")):
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                return None
        found = getattr(found, part)
    return found


def public(owner: object) -> set[str]:
    """The names of PyTorch that a user may call."""
    found = set()
    listed = getattr(owner, "__all__", None) if owner is not torch else None
    for n in dir(owner):
        if n.startswith(("_", *OTHER_KERNELS)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = getattr(owner, n)
            except (AttributeError, RuntimeError):
                # A property of the class that only instances have.
                continue
        home = str(getattr(value, "__module__", None))
        if isinstance(owner, ModuleType):
            if home.partition(".")[0] in FOREIGN and type(value).__module__ != "torch":
                continue
            if isinstance(value, type) and getattr(torch._C, n, None) is value and n not in CORE:
                continue
            if n == "Tensor" and owner is not torch:
                continue
            # Names that a module imports from elsewhere, and does not list.
            if listed is not None and n not in listed and not home.startswith(owner.__name__):
                continue
        if callable(value) or inspect.isdatadescriptor(value) or isinstance(value, torch.dtype):
            found.add(n)
    return found


def reason(path: str, name: str) -> str:
    """Why a name of a namespace is missing."""
    dotted = f"{path or 'torch'}.{name}"
    return next((why for why, what in REASONS.items() if re.fullmatch(what, dotted)), LATER)


INTRO = """# What is supported

Public names of PyTorch 2.13 by namespace: those Flambeau has, and why it lacks the others. A name
that is there is no promise yet that every option of it works: the tests say that. TorchScript's
classes, names that PyTorch's modules import for themselves, and direct calls of cuDNN's and the
like's kernels are not counted. `tools/coverage.py` writes this page.
"""


def names(found: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in found)


def section(path: str) -> tuple[str, list[str]]:
    """A row for the table, and the lines about one namespace."""
    theirs, ours = space(torch, path), space(flambeau, path)
    wanted = public(theirs)
    have = set() if ours is None else {n for n in wanted if hasattr(ours, n)}
    title = f"torch.{path}".rstrip(".")
    row = f"| [{title}](#{title.replace('.', '').lower()}) | {len(have)} | {len(wanted)} |"
    lines = [f"## {title}", ""]
    if have:
        lines += [f"Supported: {names(sorted(have))}.", ""]
    why: dict[str, list[str]] = {}
    for n in sorted(wanted - have):
        why.setdefault(reason(path, n), []).append(n)
    lines += [f"- {text} {names(missing)}" for text, missing in sorted(why.items())]
    return row, [*lines, ""] if why else lines


def missing_of(path: Path) -> list[str]:
    """The names of a file that Flambeau lacks; a name's first part says where it is looked for."""
    roots = {
        "torch": flambeau,
        "Tensor": flambeau.Tensor,
        "Module": flambeau.nn.Module,
        "Optimizer": flambeau.optim.Optimizer,
    }
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        first, _, rest = words[-1].partition(".") if words else ("", "", "")
        if first in roots and not _there(roots[first], rest):
            found.append(line)
    return found


def _there(root: object, path: str) -> bool:
    *parents, last = path.split(".")
    owner = space(root, ".".join(parents)) if isinstance(root, ModuleType) else root
    return owner is not None and (hasattr(owner, last) or _is_module(owner, last))


def _is_module(owner: object, name: str) -> bool:
    return isinstance(owner, ModuleType) and space(owner, name) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--missing", type=Path, help="a file of names to look for instead")
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    options = parser.parse_args()
    if options.missing:
        print("\n".join(missing_of(options.missing)))
        return
    rows, body = [], []
    for path in SPACES:
        row, lines = section(path)
        rows.append(row)
        body += lines
    table = ["| namespace | supported | of |", "| --- | ---: | ---: |", *rows, ""]
    text = "\n".join([INTRO, *table, *body]).rstrip("\n") + "\n"
    wrapped = [
        textwrap.fill(
            line, 120, subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False, break_on_hyphens=False,
        )
        if line.startswith(("Supported", "- "))
        else line
        for line in text.split("\n")
    ]  # fmt: skip
    page = "\n".join(wrapped)
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        raise SystemExit(f"{PAGE} is out of date: run python tools/coverage.py")


if __name__ == "__main__":
    main()
