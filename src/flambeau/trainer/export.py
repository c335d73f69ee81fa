"""What a module may be turned into for use elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import flambeau
from flambeau import jit, onnx
from flambeau.errors import NotSupportedError
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from pathlib import Path

    from flambeau.nn import Module

__all__ = ["Exports"]


class Exports:
    """``to_torchscript``, ``to_onnx`` and ``to_tensorrt`` of a module."""

    example_input_array: Any
    """An input of ``forward``, for summaries, exports and pictures of the graph."""

    def to_torchscript(
        self,
        file_path: str | Path | None = None,
        method: str | None = "script",
        example_inputs: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The module in evaluation mode, run once with "trace".

        What is recorded is compiled anyway: there is no other form of a program, and none that can
        be written to a file.

        Args:
            method: "script", or "trace", which needs ``example_inputs`` or ``example_input_array``.

        Raises: ``ValueError`` for another method, or a trace without inputs;
        ``NotSupportedError`` with ``file_path``.
        """
        if method not in ("script", "trace"):
            raise ValueError(f"The 'method' parameter only supports 'script' or 'trace': {method}")
        module = cast("Module", self)
        if file_path is not None:
            jit.save(module, str(file_path))
        if method == "script":
            return jit.script(module, **kwargs)
        given = self.example_input_array if example_inputs is None else example_inputs
        if given is None:
            raise ValueError(
                "Choosing method=`trace` requires either `example_inputs` or "
                "`model.example_input_array` to be defined."
            )
        modes = [(m, m.training) for m in module.modules()]
        module.eval()
        try:
            with flambeau.no_grad():
                module(*given) if isinstance(given, (tuple, list)) else module(given)
        finally:
            for part, mode in modes:
                part.training = mode
        return jit.trace(module, given, **kwargs)

    def to_onnx(
        self, file_path: Any = None, input_sample: Tensor | Any = None, **kwargs: Any
    ) -> NoReturn:
        """Raises: ``NotSupportedError``: Flambeau does not write ONNX files."""
        onnx.export(self, input_sample, file_path, **kwargs)

    def to_tensorrt(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises: ``NotSupportedError``: TensorRT is one vendor's; kernels are compiled by LLVM."""
        raise NotSupportedError(
            "to_tensorrt: TensorRT is a compiler for one vendor's devices; Flambeau compiles what "
            "it records by LLVM, with nothing to call"
        )
