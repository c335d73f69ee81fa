"""``flambeau info``: what is in a checkpoint, without running anything of it."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from flambeau.commands import restoring, typed
from flambeau.commands.typed import typer

__all__ = ["main"]

# Where files of PyTorch users keep the weights.
_WEIGHTS = ("state_dict", "model", "model_state_dict", "net", "weights")
# Tensors of the library's own layers that are not learned.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_PARTS = ("optimizer_states", "lr_schedulers", "callbacks", "loops", "flambeau", "flambeau_run")


def main(arguments: list[str]) -> int:
    """Prints it; returns the exit status."""
    return typed.run("info", _info, arguments)


def _info(
    checkpoint: restoring.Checkpoint,
    json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
) -> None:
    """Prints the layers, shapes and parameters of a checkpoint, and where its training stood."""
    from flambeau.serialization import load

    path = restoring.checkpoint_file(checkpoint)
    facts = described(load(path, weights_only=True))
    facts = {"file": str(path), "bytes": path.stat().st_size, **facts}
    if json:
        print(json_format.dumps(facts, indent=1))
    else:
        print("\n".join(_lines(facts)))


def described(found: Any) -> dict[str, Any]:
    """What a checkpoint holds, as plain values.

    Raises: ``ValueError`` if it holds no tensors by name.
    """
    key, weights = _weights(found)
    tensors = [
        {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
        for name, t in weights.items()
    ]
    buffers = sum(t.numel() for name, t in weights.items() if name.endswith(_BUFFERS))
    facts: dict[str, Any] = {
        "parameters": sum(t.numel() for t in weights.values()) - buffers,
        "running statistics": buffers,
    }
    if key is not None:
        facts |= _training(found, key)
    return {**facts, "tensors": tensors}


def _weights(found: Any) -> tuple[str | None, dict[str, Any]]:
    if _is_weights(found):
        return None, dict(found)
    if isinstance(found, Mapping):
        for key in (*_WEIGHTS, *found):
            if _is_weights(found.get(key)):
                return key, dict(found[key])
    kind = type(found).__name__
    inside = f" with {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
    raise ValueError(f"no tensors by name in it: it is a {kind}{inside}")


def _is_weights(value: Any) -> bool:
    import flambeau

    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(v, flambeau.Tensor) for v in value.values())
    )


def _training(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Where training stood, and with which settings."""
    facts: dict[str, Any] = {}
    record = found.get("flambeau_run") or {}
    for name in ("target", "datamodule", "classes", "versions"):
        if record.get(name):
            facts[name] = record[name]
    if "pytorch-lightning_version" in found:
        facts["format of Lightning"] = found["pytorch-lightning_version"]
    for name in ("epoch", "global_step"):
        if name in found:
            facts[name] = found[name]
    ours = found.get("flambeau") or {}
    facts["metrics"] = _plain(ours.get("metrics") or {})
    facts["hyper_parameters"] = _plain(found.get("hyper_parameters") or {})
    optimizers = [
        {k: _plain(v) for k, v in group.items() if k not in ("params", "param_names")}
        for state in found.get("optimizer_states") or ()
        for group in state["param_groups"]
    ]
    facts["optimizer groups"] = optimizers
    known = {key, "epoch", "global_step", "hyper_parameters", "pytorch-lightning_version"}
    others = {k: v for k, v in found.items() if k not in known and k not in _PARTS}
    facts["other"] = {
        k: _plain(v) for k, v in others.items() if k not in ("hparams_name", "hparams_type")
    }
    facts["can be resumed"] = "optimizer_states" in found
    return {k: v for k, v in facts.items() if v not in ({}, [])}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if hasattr(value, "shape"):
        return value.item() if not value.shape else f"tensor of shape {list(value.shape)}"
    return str(value)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    tensors = facts["tensors"]
    for name, value in facts.items():
        if name == "tensors":
            continue
        if name in ("bytes", "parameters", "running statistics"):
            value = f"{value:,}"
        if isinstance(value, Mapping):
            yield f"{name}:"
            yield from (f"  {k}: {v}" for k, v in value.items())
        elif name == "optimizer groups":
            yield f"{name}:"
            yield from ("  " + ", ".join(f"{k} {v}" for k, v in one.items()) for one in value)
        elif isinstance(value, list):
            yield f"{name}: {', '.join(map(str, value))}"
        else:
            yield f"{name}: {'yes' if value is True else 'no' if value is False else value}"
    shapes = ["x".join(map(str, t["shape"])) or "scalar" for t in tensors]
    names, wide = max(len(t["name"]) for t in tensors), max(map(len, shapes))
    yield "tensors:"
    for t, shape in zip(tensors, shapes):
        yield f"  {t['name']:<{names}}  {shape:>{wide}}  {t['dtype']}"
