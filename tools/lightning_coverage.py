"""Writes docs/lightning.md: which names of Lightning the trainer has, and why it lacks others.

tools/lightning_names.json holds Lightning's names; `--record` writes it anew, where Lightning is
installed. tests/test_trainer_names.py and its neighbours try every supported name.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = Path(__file__).parent / "lightning_names.json"
PAGE = Path(__file__).parent.parent / "docs" / "lightning.md"
CLASSES = ("LightningModule", "Trainer", "Callback", "LightningDataModule")
PACKAGES = ("callbacks", "loggers", "profilers", "utilities")
METHODS = ("fit", "validate", "test", "predict", "save_checkpoint")

# Reasons that do not count against what should work: a vendor's, or a service's.
FOREIGN = {
    "A vendor's compiler or device.": (
        r"LightningModule\.to_tensorrt|profilers\.XLAProfiler|PyTorchProfiler\(emit_nvtx\)"
    ),
    "A remote service's.": (r"Trainer\(model_registry\)|loggers\.(LitLogger|CometLogger)"),
}
REASONS = {
    "Flambeau writes no ONNX files; the method says so.": r"LightningModule\.to_onnx",
    "Precision, devices and checkpoints have one way each: there is nothing to plug in.": (
        r"Trainer\(plugins\)"
    ),
    "Its tables are Flambeau's own.": r"PyTorchProfiler\(\w+\)",
}
# There, but only to say that it is not supported.
REFUSING = ("LightningModule.to_onnx", "LightningModule.to_tensorrt")


def record() -> dict[str, list[str]]:
    """Lightning's public names by section."""
    import lightning.pytorch as pl
    import torch

    def public(owner: Any) -> list[str]:
        return sorted(n for n in dir(owner) if not n.startswith("_"))

    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    found = {
        "LightningModule": [
            n
            for n in public(pl.LightningModule)
            if n in vars(pl.LightningModule) or not hasattr(torch.nn.Module, n)
        ],
        "Trainer": sorted({*public(pl.Trainer), *(n for n in vars(trainer) if n[0] != "_")}),
        "Trainer()": parameters(pl.Trainer),
        "Callback": public(pl.Callback),
        "LightningDataModule": public(pl.LightningDataModule),
    }
    for method in METHODS:
        found[f"Trainer.{method}()"] = parameters(getattr(pl.Trainer, method))
    for package in PACKAGES:
        module = importlib.import_module(f"lightning.pytorch.{package}")
        found[package] = sorted(module.__all__)
        for name in module.__all__:
            if isinstance(getattr(module, name), type):
                found[f"{package}.{name}()"] = parameters(getattr(module, name))
    found["lightning.pytorch"] = sorted(pl.__all__)
    return {"version": [pl.__version__], **found}


def parameters(function: Any) -> list[str]:
    """The names of a function's parameters, or of those that make an object of a class."""
    function = function.__init__ if isinstance(function, type) else function
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return [p.name for p in found if p.kind not in kinds and p.name != "self"]


def names() -> dict[str, list[str]]:
    """Lightning's names, as they were recorded."""
    return json.loads(NAMES.read_text(encoding="utf-8"))


def dotted(section: str, name: str) -> str:
    """How a name is called in the page and in tests: ``Trainer.fit``, ``Trainer(max_epochs)``."""
    return f"{section[:-2]}({name})" if section.endswith("()") else f"{section}.{name}"


def has(section: str, name: str) -> bool:
    """Whether Flambeau has a name of a section."""
    from flambeau import trainer

    if dotted(section, name) in REFUSING:
        return False
    if section == "Trainer":
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        made = trainer.Trainer(max_epochs=1, **dict.fromkeys(quiet, False))
        return hasattr(trainer.Trainer, name) or hasattr(made, name)
    owner: Any = trainer
    for part in section.removesuffix("()").removeprefix("lightning.pytorch").split("."):
        owner = getattr(owner, part, None) if part else owner
    if not section.endswith("()"):
        return hasattr(owner, name)
    if owner is None:
        return False
    function = owner.__init__ if isinstance(owner, type) else owner
    found = inspect.signature(function).parameters
    open_ended = section == "callbacks.LambdaCallback()"
    return name in found or (open_ended and hasattr(trainer.Callback, name))


def missing() -> dict[str, str]:
    """Every name that Flambeau lacks, with the reason."""
    return {name: reason(name) for section, name in everything() if not has(*section)}


def supported() -> list[str]:
    """Every name that Flambeau has."""
    return [name for section, name in everything() if has(*section)]


def everything() -> Iterator[tuple[tuple[str, str], str]]:
    """((section, name), how it is called) of all names; arguments of a class that is not there are
    not counted apart from it.
    """
    known = names()
    for section, found in known.items():
        if section == "version":
            continue
        package, _, owner = section.removesuffix("()").partition(".")
        if section.endswith("()") and package in PACKAGES and not has(package, owner):
            continue
        for name in found:
            yield (section, name), dotted(section, name)


def reason(name: str) -> str:
    """Why a name is missing."""
    for why, what in (FOREIGN | REASONS).items():
        if re.search(f"(^|\\.)({what})$", name):
            return why
    return "Not there yet."


INTRO = """# What of Lightning is supported

Public names of Lightning {version} (`lightning.pytorch`) that `flambeau.trainer` has, and why it
lacks the others. Each supported name of a class or a package, and each argument of `Trainer`, is
tried in `tests/test_trainer_names*.py` and `tests/test_callbacks_names.py`;
`tests/test_trainer_hooks.py` compares the order of hooks, their arguments and the state of the run
with what Lightning did. `tools/lightning_coverage.py` writes this page.
"""
DIFFERS = """## What differs

- A run that is resumed does not check sanity again: what was restored must be what was saved.
- `fit` stops at a loss that is NaN or infinite, and says which step, batch and layer it came from.
- A checkpoint in the middle of an epoch goes on with the next batch, to the bit. Lightning's own
  checkpoints are read as well: they say which epoch and step, so training goes on with the epoch
  that follows.
- `ModelPruning`: after the lottery's first reset Lightning's kept weights share memory with those
  that are trained; here they stay what they were.
- `CombinedLoader(mode="max_size")` for validation counts as one loader in `num_val_batches`.
- `validate`, `test` and `predict` with `ckpt_path` restore callbacks as in Lightning, but for those
  that write checkpoints: of an older file they would learn less than they know.
- `min_steps` within the first epoch: a run that is asked to stop does so at that step; Lightning
  ends the epoch first.
- `inference_mode` is `no_grad`: there is no other mode.
- Bars are drawn through `begin`, `draw` and `finish` of `ProgressBar`: there are no `init_*_tqdm`.
"""


def page() -> str:
    """The page."""
    lacking = missing()
    rows = ["| | supported | of | without vendors and services |", "| --- | ---: | ---: | ---: |"]
    body: list[str] = []
    sums = [0, 0, 0]
    known = names()
    sections = [s for s in known if s != "version"]
    main = [s for s in sections if s.rpartition(".")[0] not in PACKAGES]
    of_classes = [s for s in sections if s not in main]
    for title, members in [(s, [s]) for s in main] + [("arguments in packages", of_classes)]:
        found = [n for (s, _), n in everything() if s in members]
        own = [n for n in found if lacking.get(n) not in FOREIGN]
        have = [n for n in found if n not in lacking]
        for i, count in enumerate((len(have), len(found), len(own))):
            sums[i] += count
        rows.append(f"| {title} | {len(have)} | {len(found)} | {len(own)} |")
        body += [f"## {title}", ""]
        if title in main:
            plain = [re.split(r"[.(]", n)[-1].rstrip(")") for n in have]
            body += [f"Supported: {listed(plain)}.", ""]
        else:
            body += ["Those of the constructors of what is in `callbacks`, `loggers`, `profilers` "
                     "and `utilities`: all but the following.", ""]  # fmt: skip
        why: dict[str, list[str]] = {}
        for name in found:
            if name in lacking:
                why.setdefault(lacking[name], []).append(name.removeprefix(f"{title}."))
        body += [f"- {text} {listed(some)}" for text, some in why.items()]
        body += [""] if why else []
    rows.append(f"| together | {sums[0]} | {sums[1]} | {sums[2]} |")
    text = [INTRO.format(version=known["version"][0]), *rows, "", *body, DIFFERS]
    lines = [
        textwrap.fill(line, 120, subsequent_indent="  " if line[0] == "-" else "",
                      break_long_words=False, break_on_hyphens=False)
        if line.startswith(("Supported", "- ", "Those")) and "\n" not in line
        else line
        for line in text
    ]  # fmt: skip
    return "\n".join(lines).rstrip("\n") + "\n"


def listed(found: list[str]) -> str:
    """Names, one after another."""
    return ", ".join(f"`{name}`" for name in found)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="write Lightning's names anew")
    if parser.parse_args().record:
        text = json.dumps(record(), indent=1)
        # A section a line.
        text = re.sub(r'",\n  "', '", "', text)
        text = re.sub(r"\[\n  ", "[", re.sub(r"\n \]", "]", text))
        NAMES.write_text(text + "\n", encoding="utf-8")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
