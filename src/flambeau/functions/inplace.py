"""Writing results into existing tensors: ``f_`` and ``out=``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.functions.out_dtypes import check_dtype
from flambeau.functions.promotion import cast
from flambeau.record import alias
from flambeau.record.builder import shared
from flambeau.record.macro import function, ops
from flambeau.record.overlap import refuse_overlap, refuse_repeated
from flambeau.record.trace import open_
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TITLES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip


def title(dtype: Any) -> str:
    """A dtype as PyTorch's messages call it."""
    return _TITLES[dtype.name]


def assign(target: Tensor, value: Tensor) -> Tensor:
    """Inside a body: ``target`` (an argument) takes ``value``, cast to its dtype; gives it back."""
    m = target._meta
    if value._meta.shape != m.shape:
        raise RuntimeError(
            f"output with shape {list(m.shape)} doesn't match the broadcast shape "
            f"{list(value._meta.shape)}"
        )
    if value._meta.dtype is not m.dtype:
        if value._meta.dtype.category > m.dtype.category:
            raise RuntimeError(
                f"result type {title(value._meta.dtype)} can't be cast to the desired output "
                f"type {title(m.dtype)}"
            )
        value = cast(value, m.dtype)
    open_.trace.builder.assign(target, value)
    return target


def inplace(f: Callable) -> Callable:
    """The variant of a function that writes its result to its first argument."""
    fn = f.__wrapped__  # type: ignore[attr-defined]
    recorded = f.__globals__.get("_fn")

    def body(*args: Any, **kwargs: Any) -> Tensor:
        target = args[0] if args else next(iter(kwargs.values()))
        return assign(target, fn(*args, **kwargs))

    body.signature_of = getattr(fn, "signature_of", fn)  # type: ignore[attr-defined]
    body.__name__ = body.__qualname__ = fn.__name__ + "_"
    body.__doc__ = f"In-place ``{fn.__name__}``."
    return function(body, whole=recorded is not None and recorded.whole)


def write_out(out: Any, result: Any, name: str, inputs: Sequence[Any] = ()) -> Any:
    """``out=``: copies results to the tensors given, which take their shape if it differs.

    ``inputs`` are the tensors that the results were computed from, which ``out`` must not overlap.
    """
    if isinstance(result, (tuple, list)):
        outs = tuple(write_out(o, r, name, inputs) for o, r in zip(out, result, strict=True))
        return type(result)._make(outs) if hasattr(result, "_make") else outs
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    refuse_overlap(out, [t for t in inputs if isinstance(t, Tensor)], name)
    if open_.state.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    if result._meta.dtype is not out._meta.dtype:
        check_dtype(name, result._meta.dtype, out._meta.dtype)
    if result._meta.dtype.category > out._meta.dtype.category:
        raise RuntimeError(
            f"result type {title(result._meta.dtype)} can't be cast to the desired output type "
            f"{title(out._meta.dtype)}"
        )
    if out._meta.shape != result._meta.shape:
        from flambeau.functions.restriding import resize

        resize(out, result._meta.shape)
    else:
        refuse_repeated(out)
    return out.copy_(result)


shared["write_out"] = write_out
__all__ = ["alias", "assign", "inplace", "ops", "title", "write_out"]
