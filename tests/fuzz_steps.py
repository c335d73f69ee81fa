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
    "{x}.tanh()", "{x}.sigmoid()", "F.relu({x})", "F.gelu({x})", "F.silu({x})", "F.softplus({x})",
    "{x}.sin()", "{x}.cos()", "{x}.abs()", "{x}.square()", "({x}.abs() + 0.1).sqrt()",
    "({x}.abs() + 0.5).log()", "({x}.abs() + 0.5).rsqrt()", "({x}.abs() + 0.5).reciprocal()",
    "{x}.erf()", "{x}.abs().log1p()", "{x}.tanh().expm1()", "{x}.clamp(-2, 2).exp()", "-{x}",
    "{x}.sign()", "{x}.floor()", "{x}.round()", "{x}.trunc()", "{x}.ceil()", "{x}.clone()",
    "F.leaky_relu({x}, 0.1)", "F.elu({x})", "F.hardtanh({x})", "{x}.clamp(-1.0, 0.5)",
    "{x}.clamp(min=0.0)", "{x}.clamp(max=0.5)", "{x} ** 2", "{x} ** 3", "({x}.abs() + 0.1) ** 0.5",
    "({x}.abs() + 0.5) ** -1.5", "F.relu6({x})", "F.selu({x})", "F.mish({x})", "F.hardswish({x})",
    "F.logsigmoid({x})", "{x}.atan()", "{x}.tanh().asin()", "{x}.clamp(-2, 2).sinh()",
    "{x}.isnan()", "{x}.isfinite()", "{x}.isinf()", "f.nan_to_num({x}, 0.5)", "f.ones_like({x}) * {x}",
    "{x}.frac()", "({x}.abs() + 0.2).log2()", "{x}.tanh().exp2()", "{x}.asinh()",
)  # fmt: skip
SMOOTH = UNARY[:6] + UNARY[8:10]
BINARY = (
    "{x} + {y}", "{x} * {y}", "{x} - {y}", "{y} - {x}", "{x} * {y} + {x}", "{x} / ({y}.abs() + 0.5)",
    "f.maximum({x}, {y})", "f.minimum({x}, {y})", "f.where({x} > {y}, {x}, {y})",
    "f.where({x} < 0.1, {x}, 0.5)", "f.where({y} >= 0.1, -1.0, {x})", "{x}.add({y}, alpha={n})",
    "{x} - {y} * {n}", "f.lerp({x}, {y}, {n})", "f.addcmul({x}, {y}, {x}, value={n})",
    "f.atan2({x}, {y})", "f.fmax({x}, {y})", "f.fmin({x}, {y})", "f.hypot({x}, {y} + 9.0)",
    "f.logaddexp({x}, {y})", "f.copysign({x}, {y})", "{x}.masked_fill({y} > 0.3, {n})",
    "f.addcdiv({x}, {y}, {x}.abs() + 1)",
)  # fmt: skip
COMPARE = ("{x} > {y}", "{x} <= {y}", "{x} == {y}", "{x} != {y}", "{x} < {n}", "{x} >= 0")
WHOLE = (
    "{x} + {y}", "{x} * {y}", "{x} - {y}", "{x} & {y}", "{x} | {y}", "{x} ^ {y}", "{x} * 100003",
    "{x} + 200", "-{x}", "{x}.abs()", "{x} // 3", "{x} % 7", "{x} * t", "f.maximum({x}, {y})",
    "f.minimum({x}, {y})", "{x}.clamp(-3, 2)", "{x} == {y}", "{x} < {y}", "~{x}", "{x}.square()",
    "f.where({x} > {y}, {x}, {y})", "{x}.sign()", "{x}.float() * {n}", "{x}.bool()", "{x} * {n}",
    "{x} + {n}", "{x}.to(f.uint8)", "{x}.int()", "{x}.long()", "{x}.double() / 3", "{x} - t", "3 - {x}",
)  # fmt: skip
CASTS = ("float()", "double()", "half()", "bfloat16()", "to(f.float32)", "type_as({y})")


@step(5)
def unary(g: Generator) -> None:
    x = g.floating()
    form = g.one(SMOOTH if g.chance(0.4) else UNARY)
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
    return g.input(g.shape(), g.one(("int64", "int64", "int32", "uint8", "int16", "int8")), role="x")


@step(2.5)
def whole(g: Generator) -> None:
    x = whole_name(g)
    kind = g.get(x).dtype
    shape = g.get(x).shape
    y = g.pick(
        lambda t: t.dtype == kind and t.shape == shape
    ) if g.chance(0.6) else g.partner(x)  # fmt: skip
    g.let(g.one(WHOLE).format(x=x, y=y or x, n=g.number()))


@step(0.8)
def truth(g: Generator) -> None:
    x = g.pick(lambda t: t.dtype == torch.bool) or g.input(g.shape(), "bool", role="x")
    y = g.pick(lambda t: t.dtype == torch.bool and t.shape == g.get(x).shape) or x
    forms = ("{x} & {y}", "{x} | {y}", "{x} ^ {y}", "~{x}", "{x}.sum()", "{x}.any()", "{x}.all()",
             "{x}.float()", "{x}.long() + 1", "{x}.any(-1)", "{x}.all(0)", "{x}.sum(0)", "{x} * 1.5",
             "f.where({x}, 1.0, 2.0)", "{x}.logical_not()", "{x} + {y}")  # fmt: skip
    g.let(g.one(forms).format(x=x, y=y))


@step(1)
def cast(g: Generator) -> None:
    x = g.any()
    forms = [*CASTS, "bool()"]
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
        f"{x}.flip({d})", f"{x}.roll({g.one((1, -1, 2))}, {d})", f"{x}.flip(-1).clone()",
        f"{x}.reshape(-1).clone()", f"f.cat([{x}, {x}], {d})", f"f.stack([{x}, {x} * 2], {d})",
        f"F.pad({x}, ({g.one((0, 1, 2))}, {g.one((0, 1, 3))}))",
        f"F.pad({x}, ({g.one((-1, 1))}, {g.one((0, 1))}), value=0.5)",
        f"{x}.expand(2, {', '.join(['-1'] * t.dim())}) * 1.5",
        f"{x}.repeat({', '.join(['2'] + ['1'] * (t.dim() - 1))})", f"{x}.repeat_interleave(2, {d})",
        f"f.tril({x})" if t.dim() > 1 else f"{x}.clone()",
        f"f.triu({x}, 1)" if t.dim() > 1 else f"f.diag({x})",
        f"{x}.contiguous() * 2", f"{x}.unflatten(-1, (1, -1)).clone()",
    ]  # fmt: skip
    g.let(g.one(forms))


@step(2)
def joined(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    d = g.rng.randrange(t.dim())
    y = g.pick(
        lambda o: o.dtype == t.dtype and o.dim() == t.dim()
        and all(a == b for k, (a, b) in enumerate(zip(o.shape, t.shape, strict=True)) if k != d),
        recent=False,
    ) or x  # fmt: skip
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
    if overlaps(t):
        return "pass"
    n = g.number()
    y = None
    if t.is_floating_point():
        y = g.pick(
            lambda o: o.is_floating_point() and expands(o.shape, t.shape), recent=False
        ) or g.input(tuple([m for m in t.shape][g.rng.randint(0, t.dim()) :]), role="x")  # fmt: skip
        forms = [
            f"{target}.mul_({n})", f"{target}.add_({y}, alpha=0.3)", f"{target}.mul_(0.5).add_({y})",
            f"{target}.copy_({y})", f"{target}.tanh_()", f"{target}.zero_()", f"{target}.fill_({n})",
            f"{target}.clamp_(-1, 1)", f"{target}.sub_({y})", f"{target}.masked_fill_({y} > 0.2, 0.25)",
            f"{target}.neg_()", f"{target}.relu_()", f"{target}.sigmoid_()", f"{target}.lerp_({y}, 0.3)",
            f"{target}.addcmul_({y}, {y}, value=0.1)", f"{target}.mul_({y}.tanh())",
        ]  # fmt: skip
    elif t.dtype == torch.bool:
        forms = [f"{target}.logical_not_()", f"{target}.fill_(True)", f"{target}.zero_()"]
    else:
        forms = [
            f"{target}.add_(3)", f"{target}.mul_(5)", f"{target}.zero_()", f"{target}.fill_(t)",
            f"{target}.sub_(t)", f"{target}.clamp_(-2, 3)",
        ]  # fmt: skip
    return g.one(forms)


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
    g.emit(guarded(g, x, writing(g, x, g.get(x))), kinds="view write" if is_shared(g, x) else "in place")


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
    y = g.pick(lambda o: expands(o.shape, part.shape), recent=False)
    forms = [f"{x}[{where}] = {g.number()}", f"{x}[{where}] *= 2"]
    if y:
        forms += [f"{x}[{where}] = {y}"] * 3 + [f"{x}[{where}] += {y}"] * 2
    g.emit(guarded(g, x, g.one(forms)), kinds="view write")


@step(2.5)
def alias(g: Generator) -> None:
    x = g.any()
    g.let(g.one((f"{x}", f"{x}.detach()", f"{x}.detach()", f"{x}.view_as({x})", f"{x}.data",
                 f"{x}[...]", f"{x}.expand_as({x})")), "alias")  # fmt: skip


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
        i.name for i in g.program.inputs
        if i.role == "s" and tuple(i.shape) == tuple(t.shape)
        and getattr(torch, i.dtype) == t.dtype and not i.foreign
    ]  # fmt: skip
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
        g.let(f"f.from_numpy({name})", "export")
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


# ------------------------------------------------------------------------------- reductions


@step(5)
def reduction(g: Generator) -> None:
    x = g.floating(1) if g.chance(0.85) else g.any()
    t = g.get(x)
    dims = g.rng.sample(range(t.dim()), g.rng.randint(1, t.dim())) if t.dim() else []
    keep = g.one(("", ", keepdim=True"))
    over = f"{tuple(dims)!r}{keep}" if dims else ""
    one = f"{dims[0]}{keep}" if dims else ""
    forms = [f"{x}.sum({over})", f"{x}.mean({over})", f"{x}.sum()", f"{x}.mean()", f"{x}.amax({over})",
             f"{x}.amin({over})", f"{x}.tanh().prod({one})", f"{x}.max()", f"{x}.min()",
             f"({x} > 0).any({one})", f"({x} > 0).all({one})", f"({x} > 0).sum({over})"]  # fmt: skip
    if dims:
        forms += [f"{x}.max({one}).values", f"{x}.min({one})[0]", f"{x}.std({over})", f"{x}.var({over})",
                  f"{x}.logsumexp({over})", f"{x}.norm(dim={dims[0]})", f"{x}.cumsum({dims[0]})",
                  f"{x} - {x}.mean({dims[0]}, keepdim=True)", f"{x}.argmax({one})", f"{x}.sum({one}).tanh()",
                  f"{x}.tanh().cumprod({dims[0]})", f"{x}.square().mean({over}).sqrt()",
                  f"{x} / ({x}.abs().amax({dims[0]}, keepdim=True) + 1)", f"{x}.aminmax(dim={dims[0]}).max",
                  f"{x}.sort({dims[0]}).values", f"{x}.sum({over}) * {x}.amax({over})"]  # fmt: skip
    g.let(g.one(forms))


@step(2)
def whole_reduction(g: Generator) -> None:
    x = whole_name(g)
    d = g.rng.randrange(max(1, g.get(x).dim()))
    forms = [f"{x}.sum()", f"{x}.sum({d})", f"{x}.amax({d})", f"{x}.amin({d})", f"{x}.prod({d})",
             f"{x}.any()", f"{x}.all()", f"{x}.cumsum({d})", f"{x}.max()", f"{x}.float().mean({d})",
             f"{x}.any({d})", f"{x}.argmax({d})", f"{x}.prod()", f"{x}.min()"]  # fmt: skip
    g.let(g.one(forms))


@step(3)
def rows(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    d = g.one((-1, -1, g.rng.randrange(t.dim())))
    n = t.shape[-1]
    forms = [f"F.softmax({x}, {d})", f"F.log_softmax({x}, {d})", f"F.layer_norm({x}, ({n},))",
             f"F.normalize({x}, dim={d})", f"F.softmax({x} * 0.5, {d}) * {x}", f"F.softmin({x}, {d})"]  # fmt: skip
    if n and g.chance(0.5):
        w, b = g.input((n,), role="w"), g.input((n,), role="w")
        forms = [f"F.layer_norm({x}, ({n},), {w}, {b})", f"F.rms_norm({x}, ({n},), {w})"]
        if t.dim() > 1 and t.shape[1]:
            c = t.shape[1]
            w, b = g.input((c,), role="w"), g.input((c,), role="w")
            m, v = g.input((c,), role="s", values="unit"), g.input((c,), role="s", values="unit")
            training = g.one(("training=True", "training=True, momentum=0.3", "training=False"))
            forms += [f"F.batch_norm({x}, {m}, {v}, {w}, {b}, {training})"] * 2
            if c % 2 == 0:
                forms += [f"F.group_norm({x}, 2, {w}, {b})"]
    g.let(g.one(forms))


# ------------------------------------------------------------------------------- products


@step(4)
def product(g: Generator) -> None:
    x = g.floating(1, 4)
    t = g.get(x)
    k = t.shape[-1]
    dtype = str(t.dtype).split(".")[1]
    n = g.one(g.dims)
    if not k or t.numel() * n > 400_000:
        return
    how = g.one(("linear", "mm", "mm", "mT", "bmm", "baddbmm", "addmm", "self", "outer", "mv", "scaled"))
    role = g.one(("w", "w", "x"))
    if how == "linear":
        w = g.input((n, k), dtype, role)
        b = f", {g.input((n,), dtype, 'w')}" if g.chance(0.7) else ""
        after = g.one(("{}", "F.relu({})", "{}.tanh()", "F.gelu({})"))
        g.let(after.format(f"F.linear({x}, {w}{b})"))
    elif how == "mm":
        w = g.input((k, n), dtype, role)
        g.let(g.one((f"{x} @ {w}", f"{x} @ {w} * 0.5", f"({x} @ {w}).relu() + 1")))
    elif how == "mT":
        w = g.input((n, k), dtype, role)
        g.let(g.one((f"{x} @ {w}.t()", f"{x} @ {w}.t().contiguous()")))
    elif how in ("bmm", "baddbmm") and t.dim() == 3:
        w = g.input((t.shape[0], k, n), dtype, role)
        if how == "bmm":
            g.let(g.one((f"f.bmm({x}, {w})", f"{x} @ {w}[:1]", f"{x} @ {w}[0]")))
        else:
            c = g.input((t.shape[0], t.shape[1], n), dtype, role)
            g.let(f"f.baddbmm({c}, {x}, {w}, beta=0.5, alpha={g.number()})")
    elif how == "addmm" and t.dim() == 2:
        w, c = g.input((k, n), dtype, role), g.input((n,), dtype, role)
        g.let(f"f.addmm({c}, {x}, {w}, beta={g.number()}, alpha=0.5)")
    elif how == "self" and t.dim() >= 2:
        g.let(g.one((f"{x} @ {x}.mT", f"{x}.mT @ {x}", f"f.einsum('...ij,...kj->...ik', {x}, {x})")))
    elif how == "outer" and t.dim() == 1:
        g.let(g.one((f"f.outer({x}, {x})", f"{x} @ {x}", f"{x}.dot({x}) * 0.1")))
    elif how == "mv":
        w = g.input((k,), dtype, role)
        g.let(f"{x} @ {w}")
    elif how == "scaled" and t.dim() >= 2:
        g.let(f"F.scaled_dot_product_attention({x}, {x}, {x})")


@step(1.5)
def convolution(g: Generator) -> None:
    r = g.rng
    dtype = g.main if g.main != "float64" or g.chance(0.5) else "float32"
    two = g.chance(0.75)
    size = [r.choice((3, 4, 5, 7, 8, 9, 12, 16, 17, 20)) for _ in range(2 if two else 1)]
    groups = g.one((1, 1, 1, 2))
    inputs, outputs = groups * r.choice((1, 2, 3, 4, 8)), groups * r.choice((1, 2, 3, 5, 8, 16, 17))
    if groups == 2 and g.chance(0.5):
        groups = inputs
        outputs = groups * r.choice((1, 2))
    kernel = [r.choice((1, 2, 3, 3, 3, 5)) for _ in size]
    stride, pad, dilation = r.choice((1, 1, 1, 2, 3)), r.choice((0, 0, 1, 1, 2)), r.choice((1, 1, 1, 2))
    x = g.input((r.choice((1, 2, 3)), inputs, *size), dtype, g.one("xxw"), values="normal")
    if g.chance(0.4):
        name = g.name()
        if g.emit(f"{name} = F.relu({x} * 0.5)", name):
            x = name
    how = f"stride={stride}, padding={pad}, dilation={dilation}, groups={groups}"
    b = f", {g.input((outputs,), dtype, 'w')}" if g.chance(0.6) else ", None"
    d = len(size)
    if g.chance(0.15):
        w = g.input((inputs, outputs // groups, *kernel), dtype, "w", values="unit")
        g.let(f"F.conv_transpose{d}d({x}, {w}{b}, stride={stride}, padding={pad}, groups={groups})")
        return
    w = g.input((outputs, inputs // groups, *kernel), dtype, "w")
    after = g.one(("{}", "F.relu({})", "{} * 0.5"))
    g.let(after.format(f"F.conv{d}d({x}, {w}{b}, {how})"))


@step(1.5)
def pooling(g: Generator) -> None:
    r = g.rng
    x = g.pick(lambda t: t.is_floating_point() and t.dim() in (3, 4) and t.shape[-1] > 2)
    if x is None or g.chance(0.3):
        size = (r.choice((1, 2)), r.choice((1, 3)), r.choice((4, 7, 9)), r.choice((5, 8, 16, 19)))
        x = g.input(size)
    d = 2 if g.get(x).dim() == 4 else 1
    k, s = r.choice((2, 2, 3)), r.choice((1, 2, 2, 3))
    p = r.choice((0, 0, 1))
    forms = [f"F.max_pool{d}d({x}, {k}, {s}, {p})", f"F.avg_pool{d}d({x}, {k}, {s}, {p})",
             f"F.adaptive_avg_pool{d}d({x}, {r.choice((1, 2, 3))})", f"F.max_pool{d}d({x}, {k})",
             f"F.adaptive_max_pool{d}d({x}, {r.choice((1, 2))})",
             f"F.max_pool{d}d({x}, {k}, {s}, {p}, ceil_mode=True)",
             f"F.avg_pool{d}d({x}, {k}, {s}, {p}, count_include_pad=False)"]  # fmt: skip
    g.let(g.one(forms))


# --------------------------------------------------------------------------- indices, losses


@step(2)
def indexed(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    d = g.rng.randrange(t.dim())
    n = t.shape[d]
    if not n:
        return
    count = g.rng.choice((1, 3, 5, 17))
    low = 0
    how = g.one(("select", "embedding", "gather", "scatter", "index", "index_add", "bad", "put", "onehot"))
    if how == "gather":
        i = g.input(tuple(t.shape), "int64", "x", values="index", low=0, high=n)
        g.let(f"{x}.gather({d}, {i})")
    elif how == "scatter":
        i = g.input(tuple(t.shape), "int64", "x", values="index", low=0, high=n)
        g.let(f"f.zeros_like({x}).scatter_add({d}, {i}, {x})")
    elif how == "select":
        i = g.input((count,), "int64", "x", values="index", low=low, high=n)
        g.let(f"{x}.index_select({d}, {i})")
    elif how == "index":
        i = g.input((count,), "int64", "x", values="index", low=-t.shape[0] or 0, high=max(t.shape[0], 1))
        g.let(f"{x}[{i}]")
    elif how == "index_add" and t.dim() == 1:
        i = g.input((n,), "int64", "x", values="index", low=0, high=n)
        g.let(f"{x}.index_add(0, {i}, {x})")
    elif how == "put":
        # Places that differ: the last write of equals is PyTorch's own affair.
        g.emit(guarded(g, x, f"{x}[f.tensor([0])] = {g.number()}"), kinds="in place")
    elif how == "onehot":
        i = g.input((count,), "int64", "x", values="index", low=0, high=5)
        g.let(f"F.one_hot({i}, 5)")
    elif how in ("embedding", "bad"):
        table = g.input((7, g.one((1, 3, 8, 16, 17))), role="w")
        # Sometimes an index is out of range in a later iteration.
        high = 7 if how == "embedding" else 8
        i = g.input((count,), g.one(("int64", "int64", "int32")), "x", values="index", low=0, high=high)
        padding = g.one(("", "", ", padding_idx=2"))
        if how == "bad":
            name = g.name()
            g.emit(
                f"try: {name} = F.embedding({i}, {table}).sum()\n"
                f"except (IndexError, RuntimeError): {name} = f.zeros(()); look('refused')",
                name,
                "refusal",
            )
        else:
            g.let(f"F.embedding({i}, {table}{padding})")


@step(3)
def loss(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    reduction = g.one(("", "", ", reduction='sum'", ", reduction='none'"))
    how = g.one(("cross", "cross", "mse", "bce", "logits", "smooth", "nll", "l1", "soft", "bad", "kl"))
    if how in ("cross", "nll", "bad") and t.dim() >= 2 and t.shape[1] > 1:
        shape = (t.shape[0], *t.shape[2:])
        high = t.shape[1] + (1 if how == "bad" else 0)
        low = -1 if how == "nll" else 0
        i = g.input(shape, "int64", "x", values="index", low=low, high=high)
        extra = ", ignore_index=-1" if how == "nll" else ""
        if how == "cross" and g.chance(0.25):
            extra += f", weight={g.input((t.shape[1],), str(t.dtype).split('.')[1], 'x', values='unit')}"
        if how == "cross" and g.chance(0.15):
            extra += ", label_smoothing=0.1"
        if how == "bad":
            name = g.name()
            g.emit(
                f"try: {name} = F.cross_entropy({x}, {i}); look({name}.item())\n"
                f"except (IndexError, RuntimeError): {name} = {x}.sum(); look('refused')",
                name,
                "refusal",
            )
        elif how == "nll" and g.chance(0.5):
            g.let(f"F.nll_loss(F.log_softmax({x}, 1), {i}{reduction}{extra})")
        else:
            g.let(f"F.cross_entropy({x}, {i}{reduction}{extra})")
    elif how in ("mse", "smooth", "l1"):
        y = g.input(tuple(t.shape), role="x")
        name = {"mse": "mse_loss", "smooth": g.one(("smooth_l1_loss", "huber_loss")), "l1": "l1_loss"}[how]
        g.let(f"F.{name}({x}, {y}{reduction})")
    elif how == "bce":
        y = g.input(tuple(t.shape), role="x", values="unit")
        g.let(f"F.binary_cross_entropy({x}.sigmoid(), {y}{reduction})")
    elif how == "logits":
        y = g.input(tuple(t.shape), role="x", values="unit")
        g.let(f"F.binary_cross_entropy_with_logits({x}, {y}{reduction})")
    elif how == "soft" and t.dim() == 2:
        y = g.input(tuple(t.shape), role="x", values="unit")
        g.let(f"-({y} * F.log_softmax({x}, 1)).sum(1).mean()")
    elif how == "kl" and t.dim() == 2:
        y = g.input(tuple(t.shape), role="x", values="unit")
        g.let(f"F.kl_div(F.log_softmax({x}, 1), {y}, reduction='sum')")


# ------------------------------------------------------------------------------- gradients


def total_of(g: Generator) -> str | None:
    """A scalar of some values with history."""
    found = [
        n for n, t in g.tensors.items() if t.requires_grad and t.is_floating_point() and n[0] == "v"
    ] or [n for n, t in g.tensors.items() if t.requires_grad]
    if not found:
        return None
    last = found[-1:] if g.chance(0.6) else []
    chosen = dict.fromkeys([*last, *[g.one(found) for _ in range(g.rng.randint(1, 3))]])
    parts = [
        g.one(("{}.sum()", "({0} * {0}).mean()", "{}.tanh().sum()", "({} * 0.3).sin().mean()"))
        .format(n) + g.one(("", "", ".float()"))
        for n in chosen
    ]  # fmt: skip
    return " + ".join(parts)


@step(1.6)
def backward(g: Generator) -> None:
    total = total_of(g)
    if total is None:
        return
    if g.chance(0.35):
        name = g.name()
        if g.emit(f"{name} = {total}", name):
            kinds = ""
            if g.chance(0.5):
                g.emit(f"look({name}.item())", kinds="mid-flush")
            more = g.one(("", "", "retain_graph=True"))
            g.emit(f"{name}.backward({more})", kinds=f"backward,{kinds}")
            if more and g.chance(0.6):
                g.emit(f"{name}.backward()", kinds="twice")
        return
    kinds = "backward"
    if g.chance(0.5):
        x = g.floating()
        g.emit(f"look({x}.detach().sum().item())", kinds="mid-flush")
    retain = g.one(("", "", "retain_graph=True"))
    g.emit(f"({total}).backward({retain})", kinds=kinds)


@step(1)
def gradient(g: Generator) -> None:
    total = total_of(g)
    leaves = [i.name for i in g.program.inputs if i.role == "w"]
    if total is None or not leaves:
        return
    leaf = g.one(leaves)
    name = g.name()
    create = g.chance(0.6)
    flags = "create_graph=True" if create else "retain_graph=True"
    g.emit(
        # Its elements may share memory in PyTorch.
        f"{name} = f.autograd.grad({total}, [{leaf}], {flags})[0].clone()",
        name,
        "nested" if create else "gradient",
    )


@step(0.7)
def leaf_grad(g: Generator) -> None:
    leaves = [i.name for i in g.program.inputs if i.role == "w" and g.env[i.name].grad is not None]
    if not leaves:
        return
    w = g.one(leaves)
    forms = (
        f"{w}.grad = None", f"{w}.grad.zero_()", f"{w}.grad.mul_(0.5)", f"look({w}.grad.sum().item())",
        f"with f.no_grad(): {w} -= 0.1 * {w}.grad", f"f.nn.utils.clip_grad_norm_([{w}], 1.0)",
        f"{w}.data.add_({w}.grad, alpha=-0.05)", f"hold({w}.grad)",
    )  # fmt: skip
    g.emit(g.one(forms), kinds="gradient")


@step(0.6)
def quiet(g: Generator) -> None:
    x = g.floating()
    name = g.name()
    g.emit(f"with f.no_grad(): {name} = {x} * {g.number()} + {g.partner(x)}", name)


@step(0.4)
def made(g: Generator) -> None:
    shape = g.shape()
    dtype = f"dtype=f.{g.main}"
    forms = (f"f.zeros({shape}, {dtype})", f"f.ones({shape}, {dtype})", f"f.full({shape}, {g.number()}, {dtype})",
             f"f.arange({shape[0] if shape else 3}) * 0.1", f"f.eye({g.one((2, 3, 5))}, {dtype})",
             f"f.linspace(0, 1, {shape[0] if shape else 3}, {dtype})")  # fmt: skip
    g.let(g.one(forms))


assert np and torch
