"""More steps of the compiler's fuzzer: reductions, layers, losses and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fuzz_steps import STEPS, guarded, step, whole_name

if TYPE_CHECKING:
    from fuzz_programs import Generator

__all__ = ["STEPS", "backward"]

# ------------------------------------------------------------------------------- reductions


@step(5)
def reduction(g: Generator) -> None:
    x = g.floating(1) if g.chance(0.85) else g.any()
    t = g.get(x)
    dims = g.rng.sample(range(t.dim()), g.rng.randint(1, t.dim())) if t.dim() else []
    keep = g.one(("", ", keepdim=True"))
    over = f"{tuple(dims)!r}{keep}" if dims else ""
    one = f"{dims[0]}{keep}" if dims else ""
    forms = [
        f"{x}.sum({over})",
        f"{x}.mean({over})",
        f"{x}.sum()",
        f"{x}.mean()",
        f"{x}.amax({over})",
        f"{x}.amin({over})",
        f"{x}.tanh().prod({one})",
        f"{x}.max()",
        f"{x}.min()",
        f"({x} > 0).any({one})",
        f"({x} > 0).all({one})",
        f"({x} > 0).sum({over})",
    ]
    if dims:
        forms += [
            f"{x}.max({one}).values",
            f"{x}.min({one})[0]",
            f"{x}.std({over})",
            f"{x}.var({over})",
            f"{x}.logsumexp({over})",
            f"{x}.norm(dim={dims[0]})",
            f"{x}.cumsum({dims[0]})",
            f"{x} - {x}.mean({dims[0]}, keepdim=True)",
            f"{x}.argmax({one})",
            f"{x}.sum({one}).tanh()",
            f"{x}.tanh().cumprod({dims[0]})",
            f"{x}.square().mean({over}).sqrt()",
            f"{x} / ({x}.abs().amax({dims[0]}, keepdim=True) + 1)",
            f"{x}.aminmax(dim={dims[0]}).max",
            f"{x}.sort({dims[0]}).values",
            f"{x}.sum({over}) * {x}.amax({over})",
            f"{x}.mean({dims[0]}, keepdim=True) * {x}.amax({t.dim() - 1}, keepdim=True)",
            f"{x}.mean(0, keepdim=True) - {x}.tanh().sum(-1, keepdim=True)",
        ]
    g.let(g.one(forms))


@step(2)
def whole_reduction(g: Generator) -> None:
    x = whole_name(g)
    d = g.rng.randrange(max(1, g.get(x).dim()))
    forms = [
        f"{x}.sum()",
        f"{x}.sum({d})",
        f"{x}.amax({d})",
        f"{x}.amin({d})",
        f"{x}.prod({d})",
        f"{x}.any()",
        f"{x}.all()",
        f"{x}.cumsum({d})",
        f"{x}.max()",
        f"{x}.float().mean({d})",
        f"{x}.any({d})",
        f"{x}.argmax({d})",
        f"{x}.prod()",
        f"{x}.min()",
    ]
    g.let(g.one(forms))


@step(3)
def rows(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    d = g.one((-1, -1, g.rng.randrange(t.dim())))
    n = t.shape[-1]
    forms = [
        f"F.softmax({x}, {d})",
        f"F.log_softmax({x}, {d})",
        f"F.layer_norm({x}, ({n},))",
        f"F.normalize({x}, dim={d})",
        f"F.softmax({x} * 0.5, {d}) * {x}",
        f"F.softmin({x}, {d})",
    ]
    if n and g.chance(0.5):
        w, b = g.input((n,), role="w"), g.input((n,), role="w")
        forms = [f"F.layer_norm({x}, ({n},), {w}, {b})", f"F.rms_norm({x}, ({n},), {w})"]
        if t.dim() > 1 and t.shape[1]:
            c = t.shape[1]
            w, b = g.input((c,), role="w"), g.input((c,), role="w")
            m, v = g.input((c,), role="s", values="unit"), g.input((c,), role="s", values="unit")
            g.stats |= {m, v}
            training = g.one(("training=True", "training=True, momentum=0.3", "training=False"))
            forms += [f"F.batch_norm({x}, {m}, {v}, {w}, {b}, {training})"] * 2
            if c % 2 == 0:
                forms += [f"F.group_norm({x}, 2, {w}, {b})"]
    form = g.one(forms)
    if "_norm" in form and n < 3:
        # One value less its mean is nothing but rounding, of two all gradients are.
        form = f"{x} * 2"
    g.let(form)


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
    how = g.one(
        ("linear", "mm", "part", "mT", "bmm", "baddbmm", "addmm", "self", "outer", "mv", "scaled")
    )
    role = g.one(("w", "w", "x"))
    if how == "linear":
        w = g.input((n, k), dtype, role)
        b = f", {g.input((n,), dtype, 'w')}" if g.chance(0.7) else ""
        after = g.one(("{}", "F.relu({})", "{}.tanh()", "F.gelu({}.clamp(-50, 50))"))
        g.let(after.format(f"F.linear({x}, {w}{b})"))
    elif how == "mm":
        w = g.input((k, n), dtype, role)
        g.let(g.one((f"{x} @ {w}", f"{x} @ {w} * 0.5", f"({x} @ {w}).relu() + 1")))
    elif how == "part" and t.dim() >= 2:
        # From the middle of memory that the program has made, or was given.
        w = g.input((k + 1, n), dtype, role)
        rows = g.one((f"{x}", f"{x}[..., 1:, :]", f"({x} * 1.5)[..., -1:, :]"))
        g.let(g.one((f"{rows} @ {w}[1:]", f"{rows} @ ({w} * 0.5)[1:]", f"{rows} @ {w}[:-1]")))
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
        g.let(
            g.one((f"{x} @ {x}.mT", f"{x}.mT @ {x}", f"f.einsum('...ij,...kj->...ik', {x}, {x})"))
        )
    elif how == "outer" and t.dim() == 1:
        g.let(g.one((f"f.outer({x}, {x})", f"{x} @ {x}", f"{x}.dot({x}) * 0.1")))
    elif how == "mv":
        w = g.input((k,), dtype, role)
        g.let(f"{x} @ {w}")
    elif how == "scaled" and t.dim() >= 2:
        g.let(f"F.scaled_dot_product_attention({x}, {x}, {x})")


def within(g: Generator, shape: tuple[int, ...], **more: Any) -> str:
    """An input of a shape, sometimes a part of a larger one: at an offset, perhaps a moving one."""
    if g.chance(0.6):
        return g.input(shape, **more)
    whole = g.input((shape[0] + 2, *shape[1:]), **more)
    name, n = g.name(), shape[0]
    at = g.one(("1", "2", "t % 3", "t // 6"))
    g.emit(f"{name} = {whole}[{at}:{at} + {n}]", name)
    return name if name in g.tensors else g.input(shape, **more)


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
    stride, pad, dilation = (
        r.choice((1, 1, 1, 2, 3)),
        r.choice((0, 0, 1, 1, 2)),
        r.choice((1, 1, 1, 2)),
    )
    x = within(
        g, (r.choice((1, 2, 3)), inputs, *size), dtype=dtype, role=g.one("xxw"), values="normal"
    )
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
        x = within(g, size)
    d = 2 if g.get(x).dim() == 4 else 1
    k, s = r.choice((2, 2, 3)), r.choice((1, 2, 2, 3))
    p = r.choice((0, 0, 1))
    forms = [
        f"F.max_pool{d}d({x}, {k}, {s}, {p})",
        f"F.avg_pool{d}d({x}, {k}, {s}, {p})",
        f"F.adaptive_avg_pool{d}d({x}, {r.choice((1, 2, 3))})",
        f"F.max_pool{d}d({x}, {k})",
        f"F.adaptive_max_pool{d}d({x}, {r.choice((1, 2))})",
        f"F.max_pool{d}d({x}, {k}, {s}, {p}, ceil_mode=True)",
        f"F.avg_pool{d}d({x}, {k}, {s}, {p}, count_include_pad=False)",
    ]
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
    how = g.one(("select", "embedding", "gather", "scatter", "index", "index_add", "put", "onehot"))
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
        i = g.input(
            (count,), "int64", "x", values="index", low=-t.shape[0] or 0, high=max(t.shape[0], 1)
        )
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
    elif how == "embedding":
        table = within(g, (7, g.one((1, 3, 8, 16, 17))), role="w")
        kind = g.one(("int64", "int64", "int32"))
        i = within(g, (count,), dtype=kind, role="x", values="index", low=0, high=7)
        g.let(f"F.embedding({i}, {table}{g.one(('', '', ', padding_idx=2'))})")


@step(1.2)
def refusal(g: Generator) -> None:
    """What refuses some values, which come in two of the iterations."""
    name = g.name()
    how = g.one(("embedding", "cross", "nll", "bce"))

    def at(given: str) -> str:
        # What is computed is not looked at before the program runs.
        return g.one((given, f"{given} * 1", f"({given} + {given}) - {given}"))

    if how == "embedding":
        table = g.input((7, g.one((1, 3, 8, 16, 17))), role="w")
        i = g.input((g.one((1, 3, 5, 17)),), "int64", "x", values="bad", low=0, high=7)
        call = f"F.embedding({at(i)}, {table}).sum()"
    elif how == "bce":
        x = g.input(g.shape(), "float32", "x", values="bad")
        y = g.input(g.get(x).shape, "float32", "x", values="unit")
        call = f"F.binary_cross_entropy({at(x)}, {y})"
    else:
        x = g.floating(2)
        shape = tuple(g.get(x).shape)
        i = g.input(
            (shape[0], *shape[2:]), "int64", "x", values="bad", low=0, high=max(shape[1], 1)
        )
        call = (
            f"F.cross_entropy({x}, {at(i)})"
            if how == "cross"
            else f"F.nll_loss(F.log_softmax({x}, 1), {at(i)}, reduction='sum')"
        )
    try:
        eval(call, dict(g.env))
    except (IndexError, RuntimeError):
        # Refused for something else than its values.
        return
    g.emit(
        f"try: {name} = {call}\n"
        f"except (IndexError, RuntimeError): {name} = f.ones(()); look('refused')",
        name,
        "refusal",
    )


@step(3)
def loss(g: Generator) -> None:
    x = g.floating(1)
    t = g.get(x)
    reduction = g.one(("", "", ", reduction='sum'", ", reduction='none'"))
    how = g.one(("cross", "cross", "mse", "bce", "logits", "smooth", "nll", "l1", "soft", "kl"))
    if how in ("cross", "nll") and t.dim() >= 2 and t.shape[1] > 1:
        shape = (t.shape[0], *t.shape[2:])
        high = t.shape[1]
        ignored = g.one((-1, 0))
        low = min(ignored, 0) if how == "nll" else 0
        i = g.input(shape, "int64", "x", values="index", low=low, high=high)
        extra = f", ignore_index={ignored}" if how == "nll" else ""
        if how == "cross" and g.chance(0.25):
            extra += (
                f", weight={g.input((t.shape[1],), str(t.dtype).split('.')[1], 'x', values='unit')}"
            )
        if how == "cross" and g.chance(0.15):
            extra += ", label_smoothing=0.1"
        if how == "nll" and g.chance(0.5):
            g.let(f"F.nll_loss(F.log_softmax({x}, 1), {i}{reduction}{extra})")
        else:
            g.let(f"F.cross_entropy({x}, {i}{reduction}{extra})")
    elif how in ("mse", "smooth", "l1"):
        y = g.input(tuple(t.shape), role="x")
        name = {
            "mse": "mse_loss",
            "smooth": g.one(("smooth_l1_loss", "huber_loss")),
            "l1": "l1_loss",
        }[how]
        g.let(f"F.{name}({x}, {y}{reduction})")
    elif how == "bce":
        y = g.input(tuple(t.shape), role="x", values="unit")
        # Where PyTorch's sigmoid underflows the logarithm is cut off at -100.
        g.let(f"F.binary_cross_entropy({x}.clamp(-50, 50).sigmoid(), {y}{reduction})")
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
        g.one(
            ("{}.sum()", "({0} * {0}).mean()", "{}.tanh().sum()", "({} * 0.3).sin().mean()")
        ).format(n)
        + g.one(("", "", ".float()"))
        for n in chosen
    ]
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
        f"{w}.grad = None",
        f"{w}.grad.zero_()",
        f"{w}.grad.mul_(0.5)",
        f"look({w}.grad.sum().item())",
        f"with f.no_grad(): {w} -= 0.1 * {w}.grad",
        f"f.nn.utils.clip_grad_norm_([{w}], 1.0)",
        f"{w}.data.add_({w}.grad, alpha=-0.05)",
        f"hold({w}.grad)",
    )
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
    forms = (
        f"f.zeros({shape}, {dtype})",
        f"f.ones({shape}, {dtype})",
        f"f.full({shape}, {g.number()}, {dtype})",
        f"f.arange({shape[0] if shape else 3}) * 0.1",
        f"f.eye({g.one((2, 3, 5))}, {dtype})",
        f"f.linspace(0, 1, {shape[0] if shape else 3}, {dtype})",
    )
    g.let(g.one(forms))
