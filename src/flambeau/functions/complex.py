"""Complex numbers: making them, their parts, conjugates."""

from __future__ import annotations

import math

from flambeau import dtypes
from flambeau.functions.checks import _need_tensor
from flambeau.functions.inplace import inplace, title
from flambeau.functions.pointwise import _in_floats
from flambeau.ir import numeric as _numeric  # noqa: F401  declares primitives used here
from flambeau.ir.primitive import PRIMITIVES
from flambeau.record import alias
from flambeau.record.macro import function, ops
from flambeau.record.storage import parts
from flambeau.record.trace import open_
from flambeau.tensor import Tensor


def _check_parts(name: str, first: Tensor, second: Tensor, allowed: tuple[str, ...]) -> None:
    if first.dtype.name not in allowed or second.dtype.name not in allowed:
        words = "Half, Float or Double" if "float16" in allowed else "Float or Double"
        raise RuntimeError(
            f"Expected both inputs to be {words} tensors but got {title(first.dtype)} and "
            f"{title(second.dtype)}"
        )
    if first.dtype is not second.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {title(first.dtype)} but got scalar type "
            f"{title(second.dtype)} for second argument"
        )


@function
def complex(real: Tensor, imag: Tensor) -> Tensor:
    r"""Complex numbers from their parts: :math:`a + i b`.

    Shapes broadcast. Raises ``RuntimeError`` unless both are floating of one dtype.

    >>> complex(tensor([1.0]), tensor([2.0]))
    tensor([1.+2.j])
    """
    _need_tensor("complex", real, "real")
    _need_tensor("complex", imag, "imag", 2)
    _check_parts("complex", real, imag, ("float16", "float32", "float64"))
    return ops.complex(real, imag)


@function
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    r"""Complex numbers from size and angle: :math:`r (\cos t + i \sin t)`.

    Raises ``RuntimeError`` unless both are floating of one dtype.

    >>> polar(tensor([2.0]), tensor([0.0]))
    tensor([2.+0.j])
    """
    _need_tensor("polar", abs, "abs")
    _need_tensor("polar", angle, "angle", 2)
    _check_parts("polar", abs, angle, ("float32", "float64"))
    return ops.complex(ops.mul(abs, ops.cos(angle)), ops.mul(abs, ops.sin(angle)))


def _argument(x: Tensor) -> Tensor:
    return ops.atan2(ops.imag(x), ops.real(x))


@function
def angle(input: Tensor) -> Tensor:
    r"""The argument of a number in :math:`[-\pi, \pi]`; of a real number 0 or :math:`\pi`.

    >>> angle(tensor([-1.0, 1.0]))
    tensor([3.1416, 0.0000])
    """
    _need_tensor("angle", input)
    if input.dtype.is_complex:
        made = _argument(ops.detach(input))
        if not input._meta.requires_grad:
            return made
        # The gradient at 0 is 0.
        some = ops.where(ops.eq(input, 0), ops.full(1, shape=(), dtype=input.dtype), input)
        return ops.rebase(made, _argument(some))
    x = _in_floats(input)
    zero = ops.full(0.0, shape=(), dtype=x.dtype)
    made = ops.where(ops.lt(x, 0.0), math.pi, ops.where(ops.isnan(x), math.nan, zero))
    # Its gradient is zero, but there.
    return ops.rebase(made, ops.sign(x)) if x._meta.requires_grad else made


def _parts_of(input: Tensor, first: int, prim: str, grad: str) -> Tensor:
    """A view of the real numbers that complex ones are made of."""
    shape, strides, offset = alias.spec_of(input)
    steps = tuple(2 * s for s in strides)
    if prim == "complex_to_pairs":
        shape, steps = (*shape, 2), (*steps, 1)
    turn = alias.turn_of(input)
    if turn == "conj":
        turn = "neg" if prim == "imag" else None
    spec = parts((shape, steps, 2 * offset + first), None, turn)
    return alias.view(input, spec, PRIMITIVES[prim], grad=grad)


def view_as_real(input: Tensor) -> Tensor:
    """Real and imaginary parts along a new last dimension, as a view.

    Raises ``RuntimeError`` for real tensors.

    >>> view_as_real(tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    _need_tensor("view_as_real", input)
    if not input.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if alias.turn_of(input) == "conj" and open_.trace.builder is None:
        raise RuntimeError(
            "view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate "
            "tensor so you can view it as real, use self.resolve_conj(); however, be warned that "
            "the resulting tensor will NOT alias the original."
        )
    return _parts_of(input, 0, "complex_to_pairs", "ViewAsRealBackward0")


def view_as_complex(input: Tensor) -> Tensor:
    """Complex numbers from a last dimension of size 2, the inverse of ``view_as_real``.

    The result shares the memory of ``input``; not with history, which makes it one of its own.
    Raises ``RuntimeError`` for other dtypes, shapes and strides.

    >>> view_as_complex(tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    _need_tensor("view_as_complex", input)
    if input.dtype.name not in ("float16", "float32", "float64"):
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {title(input.dtype)}"
        )
    shape, strides, offset = alias.spec_of(input)
    if not shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % 2 for s in strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    aliases = input.dtype is not dtypes.float16 and alias.turn_of(input) is None
    if aliases and open_.trace.builder is None and not (open_.state.grad and input.requires_grad):
        # What is pending has no memory that could be shared.
        input._value()
    if aliases and open_.trace.builder is None and alias.immediate(input):
        spec = (shape[:-1], tuple(s // 2 for s in strides[:-1]), offset // 2)
        return alias.bits(input, spec, input.dtype.to_complex())
    return _joined(input)


@function(grad="ViewAsComplexBackward0")
def _joined(input: Tensor) -> Tensor:
    return ops.pairs_to_complex(input)


@function(grad="ConjPhysicalBackward0")
def _conj(input: Tensor) -> Tensor:
    return ops.conj(input)


def _part(tensor: Tensor) -> Tensor:
    """The real parts; a real tensor itself."""
    return _parts_of(tensor, 0, "real", "RealBackward0") if tensor.dtype.is_complex else tensor


def _imaginary(tensor: Tensor) -> Tensor:
    """The imaginary parts; ``RuntimeError`` for a real tensor."""
    if not tensor.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _parts_of(tensor, 1, "imag", "ImagBackward0")


def real(input: Tensor) -> Tensor:
    """The real parts, as a view; a real tensor itself.

    >>> real(tensor([1 + 2j]))
    tensor([1.])
    """
    _need_tensor("real", input)
    return _part(input)


def imag(input: Tensor) -> Tensor:
    """The imaginary parts, as a view. ``RuntimeError`` for a real tensor.

    >>> imag(tensor([1 + 2j]))
    tensor([2.])
    """
    _need_tensor("imag", input)
    return _imaginary(input)


def conj(input: Tensor) -> Tensor:
    """The complex conjugates, as a view; a real tensor itself.

    The numbers are conjugated where they are read: what is written to either is seen through the
    other. ``is_conj`` tells such a view, ``resolve_conj`` gives its values memory of their own.

    >>> z = tensor([1 + 2j])
    >>> z.conj()
    tensor([1.-2.j])
    >>> z.conj().imag.fill_(5.0), z
    (tensor([5.]), tensor([1.-5.j]))
    """
    if not isinstance(input, Tensor):
        _need_tensor("conj", input)
    if not input._meta.dtype.is_complex:
        return input
    if input._is_sparse_layout:
        return _conj(input)
    return alias.turn(input, "conj", "ConjBackward0")


def _neg_view(input: Tensor) -> Tensor:
    """The negatives, as a view like that of :func:`conj`."""
    return alias.turn(input, "neg", "NegViewBackward0")


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex conjugates, computed at once; a real tensor itself."""
    _need_tensor("conj_physical", input)
    result = _conj(input) if input.dtype.is_complex else input
    if out is not None:
        from flambeau.functions.inplace import write_out

        return write_out(out, result, "conj_physical")
    return result


_conj_into = inplace(_conj)


def conj_physical_(input: Tensor) -> Tensor:
    """In-place ``conj_physical``."""
    return _conj_into(input) if input.dtype.is_complex else input


@function(grad="CloneBackward0")
def _of_its_own(input: Tensor) -> Tensor:
    return ops.clone(input)


def resolve_conj(input: Tensor) -> Tensor:
    """The values of a conjugate (``is_conj``) in memory of their own; another tensor itself."""
    _need_tensor("resolve_conj", input)
    return _of_its_own(input) if input.is_conj() else input


def resolve_neg(input: Tensor) -> Tensor:
    """The values of a negative (``is_neg``) in memory of their own; another tensor itself."""
    _need_tensor("resolve_neg", input)
    return _of_its_own(input) if input.is_neg() else input


SAMPLES = {
    "complex": "x, y; x, row; x.double(), y.double(); s, s; empty, empty; !i, j; !x, y.double();"
    "!half, half; !x, 1.0",
    "polar": "positive, y; positive, row; positive.double(), y.double(); !i, j; !x, y.double();"
    "!x, 1.0",
    "angle": "c; c * truth; x; special; i; truth; torch.zeros(2, dtype=torch.complex64); !2.0",
    "view_as_real": "c; cv; cm.t(); cv[::2]; !x; !1j",
    "view_as_complex": "torch.view_as_real(c); x[:, :2]; m[:, 2:]; !x; !i; !s; !x[:, ::2]",
    "real": "c; cm.t(); x; i; !1j",
    "imag": "c; cm.t(); cv[::2]; !x; !i; !1j",
    "conj": "c; x; i; cm.t(); !1j",
    "conj_physical": "c; x; i; cm.t(); !1j",
    "conj_physical_": "c; x; i",
    "resolve_conj": "c.conj(); c; x; cm.t().conj(); !1j",
    "resolve_neg": "c.conj().imag; x; c; !1j",
}
