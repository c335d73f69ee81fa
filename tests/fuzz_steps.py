"""The steps of the compiler's fuzzer: each adds a line or two to a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz_programs import Generator

STEPS: dict[str, tuple[Callable[[Generator], Any], float]] = {}


def step(weight: float) -> Any:
    def add(f: Any) -> Any:
        STEPS[f.__name__] = (f, weight)
        return f

    return add


UNARY = (
    "{x}.tanh()",
    "{x}.sigmoid()",
    "F.relu({x})",
    "F.gelu({x})",
    "F.silu({x})",
    "F.softplus({x})",
    "{x}.sin()",
    "{x}.cos()",
    "{x}.abs()",
    "{x}.square()",
    "({x}.abs() + 0.1).sqrt()",
    "({x}.abs() + 0.5).log()",
    "({x}.abs() + 0.5).rsqrt()",
    "({x}.abs() + 0.5).reciprocal()",
    "{x}.erf()",
    "{x}.abs().log1p()",
    "{x}.tanh().expm1()",
    "{x}.clamp(-2, 2).exp()",
    "-{x}",
    "{x}.sign()",
    "{x}.floor()",
    "{x}.round()",
    "{x}.trunc()",
    "{x}.ceil()",
    "{x}.clone()",
    "F.leaky_relu({x}, 0.1)",
    "F.elu({x})",
    "F.hardtanh({x})",
    "{x}.clamp(-1.0, 0.5)",
    "{x}.clamp(min=0.0)",
    "{x}.clamp(max=0.5)",
    "{x} ** 2",
    "{x} ** 3",
    "({x}.abs() + 0.1) ** 0.5",
    "({x}.abs() + 0.5) ** -1.5",
    "F.relu6({x})",
    "F.selu({x})",
    "F.mish({x})",
    "F.hardswish({x})",
    "F.logsigmoid({x})",
    "{x}.atan()",
    "({x}.tanh() * 0.9).asin()",
    "{x}.clamp(-2, 2).sinh()",
    "{x}.isnan()",
    "{x}.isfinite()",
    "{x}.isinf()",
    "f.nan_to_num({x}, 0.5)",
    "f.ones_like({x}) * {x}",
    "{x}.frac()",
    "({x}.abs() + 0.2).log2()",
    "{x}.tanh().exp2()",
    "{x}.asinh()",
)
SMOOTH = UNARY[:6] + UNARY[8:10]
BINARY = (
    "{x} + {y}",
    "{x} * {y}",
    "{x} - {y}",
    "{y} - {x}",
    "{x} * {y} + {x}",
    "{x} / ({y}.abs() + 0.5)",
    "f.maximum({x}, {y})",
    "f.minimum({x}, {y})",
    "f.where({x} > {y}, {x}, {y})",
    "f.where({x} < 0.1, {x}, 0.5)",
    "f.where({y} >= 0.1, -1.0, {x})",
    "{x}.add({y}, alpha={n})",
    "{x} - {y} * {n}",
    "f.lerp({x}, {y}, {n})",
    "f.addcmul({x}, {y}, {x}, value={n})",
    "f.atan2({x}, {y}.abs() + 0.5)",
    "f.fmax({x}, {y})",
    "f.fmin({x}, {y})",
    "f.hypot({x}, {y} + 9.0)",
    "f.logaddexp({x}, {y})",
    "f.copysign({x}, {y} + 0.03)",
    "{x}.masked_fill({y} > 0.3, {n})",
    "f.addcdiv({x}, {y}, {x}.abs() + 1)",
)
COMPARE = ("{x} > {y}", "{x} <= {y}", "{x} == {y}", "{x} != {y}", "{x} < {n}", "{x} >= 0")
WHOLE = (
    "{x} + {y}",
    "{x} * {y}",
    "{x} - {y}",
    "{x} & {y}",
    "{x} | {y}",
    "{x} ^ {y}",
    "{x} * 100003",
    "{x} + 200",
    "-{x}",
    "{x}.abs()",
    "{x} // 3",
    "{x} % 7",
    "{x} * t",
    "f.maximum({x}, {y})",
    "f.minimum({x}, {y})",
    "{x}.clamp(-3, 2)",
    "{x} == {y}",
    "{x} < {y}",
    "~{x}",
    "{x}.square()",
    "f.where({x} > {y}, {x}, {y})",
    "{x}.sign()",
    "{x}.float() * {n}",
    "{x}.bool()",
    "{x} * {n}",
    "{x} + {n}",
    "{x}.to(f.uint8)",
    "{x}.int()",
    "{x}.long()",
    "{x}.double() / 3",
    "{x} - t",
    "3 - {x}",
)
CASTS = ("float()", "double()", "half()", "bfloat16()", "to(f.float32)", "type_as({y})")


@step(5)
def unary(g: Generator) -> None:
    x = g.floating()
    form = g.one(SMOOTH if g.chance(0.4) else UNARY)
    if g.special and "gelu" in form:
        # PyTorch gives inf or nan for inf, whether it computes by vectors or one by one.
        x = f"{x}.clamp(-50, 50)"
    g.let(form.format(x=x, n=g.number()))


@step(2)
def scaled(g: Generator) -> None:
    x, n = g.floating(), g.number()
    g.let(g.one((f"{x} * {n}", f"{x} + {n}", f"{n} - {x}", f"{x} / {n}", f"{n} / ({x}.abs() + 1)")))


@step(6)
def binary(g: Generator) -> None:
    x = g.floating()
    g.let(g.one(BINARY).format(x=x, y=g.partner(x), n=g.number()))


@step(1.2)
def compare(g: Generator) -> None:
    x = g.any()
    g.let(g.one(COMPARE).format(x=x, y=g.partner(x), n=g.number()))


def whole_name(g: Generator) -> str:
    found = g.pick(lambda t: not t.is_floating_point() and t.dtype != torch.bool)
    if found and g.chance(0.8):
        return found
    return g.input(
        g.shape(), g.one(("int64", "int64", "int32", "uint8", "int16", "int8")), role="x"
    )


@step(2.5)
def whole(g: Generator) -> None:
    x = whole_name(g)
    kind = g.get(x).dtype
    shape = g.get(x).shape
    y = g.pick(lambda t: t.dtype == kind and t.shape == shape) if g.chance(0.6) else g.partner(x)
    g.let(g.one(WHOLE).format(x=x, y=y or x, n=g.number()))


@step(0.8)
def truth(g: Generator) -> None:
    x = g.pick(lambda t: t.dtype == torch.bool) or g.input(g.shape(), "bool", role="x")
    y = g.pick(lambda t: t.dtype == torch.bool and t.shape == g.get(x).shape) or x
    forms = (
        "{x} & {y}",
        "{x} | {y}",
        "{x} ^ {y}",
        "~{x}",
        "{x}.sum()",
        "{x}.any()",
        "{x}.all()",
        "{x}.float()",
        "{x}.long() + 1",
        "{x}.any(-1)",
        "{x}.all(0)",
        "{x}.sum(0)",
        "{x} * 1.5",
        "f.where({x}, 1.0, 2.0)",
        "{x}.logical_not()",
        "{x} + {y}",
    )
    g.let(g.one(forms).format(x=x, y=y))


@step(1)
def cast(g: Generator) -> None:
    x = g.any()
    # The two 16-bit types together are nobody's use, and promoted each to its own.
    other = {"float16": "bfloat16()", "bfloat16": "half()"}.get(
        g.main, CASTS[2 + g.program.seed % 2]
    )
    forms = [c for c in (*CASTS, "bool()") if c != other]
    if g.get(x).is_floating_point() and not g.special:
        forms += ["long()", "int()", "clamp(0, 100).to(f.uint8)"]
    g.let(f"{x}.{g.one(forms).format(y=g.any())}")


# ------------------------------------------------------------------------------- views


def view_of(g: Generator, x: str, writable: bool = False) -> str:
    """A view's expression, of a kind that is a view in both frameworks."""
    t = g.get(x)
    d = t.dim()
    dim = g.rng.randrange(d) if d else 0
    forms = []
    if d:
        n = t.shape[dim]
        forms += [f"{x}[{g.slices(t, writable)}]"] * 4
        forms += [f"{x}.unsqueeze({dim})", f"{x}.select({dim}, {g.rng.randrange(max(n, 1))})"]
        if n > 1:
            a = g.rng.randrange(n - 1)
            forms += [f"{x}.narrow({dim}, {a}, {g.rng.randint(1, n - a)})"]
            forms += [f"{x}.chunk({g.one((2, 3))}, {dim})[{g.one((0, -1))}]"]
            forms += [f"{x}.split({g.rng.randint(1, n)}, {dim})[-1]"]
            forms += [f"{x}.unbind({dim})[{g.rng.randrange(n)}]"]
            size = g.rng.randint(1, min(n, 4))
            if not writable:
                forms += [f"{x}.unfold({dim}, {size}, {g.one((1, 2))})"]
    if d >= 2:
        a, b = g.rng.sample(range(d), 2)
        forms += [f"{x}.transpose({a}, {b})"] * 2 + [f"{x}.mT", f"{x}.movedim({a}, {b})"]
        order = g.rng.sample(range(d), d)
        forms += [f"{x}.permute({', '.join(map(str, order))})"]
        forms += [f"{x}.diagonal(0, {a}, {b})", f"{x}.diagonal({g.one((1, -1))}, {a}, {b})"]
    if d == 2:
        forms += [f"{x}.t()"] * 3
    base = t._base if t._base is not None else t
    if t.is_contiguous() and base.is_contiguous() and t.numel():
        flat = t.numel()
        forms += [f"{x}.reshape(-1)", f"{x}.view({flat})"]
        for k in (2, 3, 4, 5, 8, 16):
            if flat % k == 0:
                forms += [f"{x}.view({k}, -1)"] if g.chance(0.5) else [f"{x}.reshape(-1, {k})"]
        if d > 1:
            forms += [f"{x}.flatten({g.rng.randrange(d - 1)})"]
    forms += [f"{x}.squeeze()", f"{x}.view_as({x})"]
    return g.one(forms)


@step(6)
def view(g: Generator) -> None:
    x = g.any() if g.chance(0.3) else g.floating(1)
    g.let(view_of(g, x))


@step(3)
def rearranged(g: Generator) -> None:
    """What copies, or may: nothing writes to it through another name."""
    x = g.floating(1)
    t = g.get(x)
    d = g.rng.randrange(t.dim())
    forms = [
        f"{x}.flip({d})",
        f"{x}.roll({g.one((1, -1, 2))}, {d})",
        f"{x}.flip(-1).clone()",
        f"{x}.reshape(-1).clone()",
        f"f.cat([{x}, {x}], {d})",
        f"f.stack([{x}, {x} * 2], {d})",
        f"F.pad({x}, ({g.one((0, 1, 2))}, {g.one((0, 1, 3))}))",
        f"F.pad({x}, ({g.one((-1, 1))}, {g.one((0, 1))}), value=0.5)",
        f"{x}.expand(2, {', '.join(['-1'] * t.dim())}) * 1.5",
        f"{x}.repeat({', '.join(['2'] + ['1'] * (t.dim() - 1))})",
        f"{x}.repeat_interleave(2, {d})",
        f"f.tril({x})" if t.dim() > 1 else f"{x}.clone()",
        f"f.triu({x}, 1)" if t.dim() > 1 else f"f.diag({x})",
        f"{x}.contiguous() * 2",
        f"{x}.unflatten(-1, (1, -1)).clone()",
    ]
    g.let(g.one(forms))


@step(2)
def joined(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    d = g.rng.randrange(t.dim())
    y = (
        g.pick(
            lambda o: (
                o.dtype == t.dtype
                and o.dim() == t.dim()
                and all(
                    a == b for k, (a, b) in enumerate(zip(o.shape, t.shape, strict=True)) if k != d
                )
            ),
            recent=False,
        )
        or x
    )
    g.let(g.one((f"f.cat([{x}, {y}], {d})", f"f.cat([{y}, {x}, {y} * 0.5], {d})")))


# ------------------------------------------------------------------------------- writes


def overlaps(t: Any) -> bool:
    """Whether elements share memory: what a write does is then nobody's business."""
    at = np.zeros((), np.int64)
    for n, s in zip(t.shape, t.stride(), strict=True):
        at = at[..., None] + np.arange(n) * s
    return len(np.unique(at)) < t.numel()


def writing(g: Generator, target: str, t: Any) -> str:
    """A statement that writes to the expression ``target``, whose value is ``t``."""
    if overlaps(t) or t.untyped_storage().data_ptr() in g.sealed:
        return "pass"
    n = g.number()
    y = None
    if t.is_floating_point():
        y = g.pick(
            lambda o: o.is_floating_point() and expands(o.shape, t.shape) and apart(o, t),
            recent=False,
        ) or g.input(tuple([m for m in t.shape][g.rng.randint(0, t.dim()) :]), role="x")
        forms = [
            f"{target}.mul_({n})",
            f"{target}.add_({y}, alpha=0.3)",
            f"{target}.mul_(0.5).add_({y})",
            f"{target}.copy_({y})",
            f"{target}.tanh_()",
            f"{target}.zero_()",
            f"{target}.fill_({n})",
            f"{target}.clamp_(-1, 1)",
            f"{target}.sub_({y})",
            f"{target}.masked_fill_({y} > 0.2, 0.25)",
            f"{target}.neg_()",
            f"{target}.relu_()",
            f"{target}.sigmoid_()",
            f"{target}.lerp_({y}, 0.3)",
            f"{target}.addcmul_({y}, {y}, value=0.1)",
            f"{target}.mul_({y}.tanh())",
        ]
    elif t.dtype == torch.bool:
        forms = [f"{target}.logical_not_()", f"{target}.fill_(True)", f"{target}.zero_()"]
    else:
        forms = [
            f"{target}.add_(3)",
            f"{target}.mul_(5)",
            f"{target}.zero_()",
            f"{target}.fill_(t)",
            f"{target}.sub_(t)",
            f"{target}.clamp_(-2, 3)",
        ]
    return g.one(forms)


def apart(a: Any, b: Any) -> bool:
    """Whether two tensors share no memory: PyTorch reads what it has written already."""
    return a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr() or not a.numel()


def expands(shape: Any, to: Any) -> bool:
    try:
        return tuple(torch.broadcast_shapes(shape, to)) == tuple(to)
    except RuntimeError:
        return False


def guarded(g: Generator, name: str, line: str) -> str:
    """Under no_grad where it must be, or may."""
    t = g.get(name)
    leaf = t.requires_grad and (t.is_leaf or (t._base is not None and t._base.is_leaf))
    return f"with f.no_grad(): {line}" if leaf or g.chance(0.1) else line


def victim(g: Generator) -> str:
    """A tensor to write to: often a state or a leaf."""
    if g.chance(0.3):
        found = g.pick(lambda t: t._base is not None)
        if found:
            return found
    if g.chance(0.35):
        found = [i.name for i in g.program.inputs if i.role == "s" and i.name in g.tensors]
        if found:
            return g.one(found)
        if g.chance(0.5):
            return g.input(g.shape(), role="s")
    return g.any()


@step(5)
def write(g: Generator) -> None:
    x = victim(g)
    g.emit(
        guarded(g, x, writing(g, x, g.get(x))),
        kinds="view write" if is_shared(g, x) else "in place",
    )


def is_shared(g: Generator, name: str) -> bool:
    """Whether another tensor of the program sees the same memory."""
    t = g.get(name)
    if not t.numel():
        return False
    place = t.untyped_storage().data_ptr()
    return any(
        o is not t and o.numel() and o.untyped_storage().data_ptr() == place
        for o in g.tensors.values()
    )


@step(5)
def view_write(g: Generator) -> None:
    x = victim(g)
    target = view_of(g, x, writable=True)
    try:
        t = eval(target, dict(g.env))
    except (RuntimeError, IndexError, TypeError):
        return
    if not t.numel() and g.chance(0.8):
        return
    g.emit(guarded(g, x, writing(g, target, t)), kinds="view write")


@step(3)
def item_write(g: Generator) -> None:
    x = victim(g)
    t = g.get(x)
    if not t.dim():
        return
    where = g.slices(t)
    part = eval(f"{x}[{where}]", dict(g.env)) if t.numel() else None
    if part is None:
        return
    if overlaps(t) or t.untyped_storage().data_ptr() in g.sealed:
        return
    y = g.pick(lambda o: expands(o.shape, part.shape) and apart(o, t), recent=False)
    forms = [f"{x}[{where}] = {g.number()}", f"{x}[{where}] *= 2"]
    if y:
        forms += [f"{x}[{where}] = {y}"] * 3 + [f"{x}[{where}] += {y}"] * 2
    g.emit(guarded(g, x, g.one(forms)), kinds="view write")


@step(2.5)
def alias(g: Generator) -> None:
    x = g.any()
    g.let(
        g.one(
            (
                f"{x}",
                f"{x}.detach()",
                f"{x}.detach()",
                f"{x}.view_as({x})",
                f"{x}[...]",
                f"{x}.expand_as({x})",
            )
        ),
        "alias",
    )


@step(1)
def forget(g: Generator) -> None:
    x = g.pick(recent=False)
    if x and x.startswith("v") and len(g.tensors) > 4:
        del g.tensors[x]
        g.env.pop(x)
        g.program.lines.append(f"del {x}")


# -------------------------------------------------------------- what stays, is seen, is told


@step(2)
def state(g: Generator) -> None:
    """A state is bound anew: what was computed is the next iteration's input."""
    x = g.floating()
    t = g.get(x)
    found = [
        i.name
        for i in g.program.inputs
        if i.role == "s"
        and i.name not in g.stats
        and tuple(i.shape) == tuple(t.shape)
        and getattr(torch, i.dtype) == t.dtype
        and not i.foreign
    ]
    if not found:
        if g.main != str(t.dtype).split(".")[1]:
            return
        found = [g.input(tuple(t.shape), role="s")]
        if g.program.inputs[-1].foreign:
            return
    s = g.one(found)
    form = g.one((f"{x}.detach() * 0.5", f"{x}.detach()", f"({s} * 0.9 + {x} * 0.1).detach()"))
    g.emit(f"S['{s}'] = {form}", kinds="alias" if form == f"{x}.detach()" else "")


@step(2)
def look(g: Generator) -> None:
    x = g.any()
    g.emit(f"look({x}.{g.one(('tolist()', 'sum().item()', 'detach().clone()'))})", kinds="look")


@step(2.2)
def export(g: Generator) -> None:
    x = g.pick(lambda t: t.dtype != torch.bfloat16)
    if x is None:
        return
    name = g.name()
    g.emit(f"{name} = {x}.detach().numpy(); hold({name})", kinds="export")
    if g.chance(0.4):
        if g.let(f"f.from_numpy({name})", "export"):
            g.sealed.add(g.get(x).untyped_storage().data_ptr())
    elif g.chance(0.5):
        g.emit(guarded(g, x, writing(g, x, g.get(x))), kinds="export")
    elif g.numpy_writes and g.get(x).dim() and g.get(x).numel() and g.get(x).is_floating_point():
        g.emit(f"{name}[...] = {name} * 0.5", kinds="export")


@step(0.5)
def branch(g: Generator) -> None:
    x, y = g.floating(), g.floating()
    name = g.name()
    test = g.one((f"t % 2", f"t < 6", f"{x}.sum() > 0"))  # noqa: F541
    g.emit(f"{name} = {x} * 2 if {test} else {y} + 1", name, "mid-flush" if "sum" in test else "")
