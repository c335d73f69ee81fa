"""The modules of a PyTorch user's first day, beside PyTorch on a machine without a GPU."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch

import flambeau
from flambeau import amp, backends, compiler, jit, testing
from flambeau.errors import NotSupportedError
from flambeau.utils import checkpoint as ckpt


def outcome(call):
    """A call's value, or the type of what it raises."""
    try:
        return call()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    "question",
    [
        "cuda.is_available()",
        "cuda.device_count()",
        "cuda.is_initialized()",
        "cuda.is_bf16_supported()",
        "cuda.current_device()",
        "cuda.get_device_name()",
        "cuda.get_device_properties(0)",
        "cuda.synchronize()",
        "cuda.empty_cache()",
        "cuda.memory_allocated()",
        "cuda.memory_reserved()",
        "cuda.max_memory_allocated()",
        "cuda.manual_seed(0)",
        "cuda.manual_seed_all(0)",
        "cuda.initial_seed()",
        "cuda.get_rng_state()",
        "cuda.get_rng_state_all()",
        "cuda.get_arch_list()",
        "cuda.mem_get_info()",
        "cuda.Stream()",
        "cuda.Event()",
        "cuda.CUDAGraph()",
        "cuda.current_stream()",
        "cuda.stream(None).__enter__()",
        "cuda.device(0).__enter__()",
        "mps.device_count()",
        "mps.synchronize()",
        "mps.manual_seed(0)",
        "xpu.is_available()",
        "xpu.device_count()",
        "xpu.current_device()",
        "xpu.memory_allocated()",
        "cpu.is_available()",
        "cpu.device_count()",
        "cpu.current_device()",
        "accelerator.is_available()",
        "accelerator.device_count()",
        "accelerator.current_accelerator()",
        "accelerator.current_device_index()",
        "accelerator.synchronize()",
        "backends.mps.is_available()",
        "backends.mps.is_built()",
        "backends.cuda.is_built()",
        "backends.cuda.matmul.allow_tf32",
        "backends.cuda.flash_sdp_enabled()",
        "backends.cudnn.is_available()",
        "backends.cudnn.version()",
        "backends.cudnn.enabled",
        "backends.cudnn.benchmark",
        "backends.cudnn.deterministic",
        "backends.cudnn.allow_tf32",
        "backends.opt_einsum.is_available()",
        "jit.is_scripting()",
        "jit.is_tracing()",
        "compiler.is_compiling()",
        "distributed.is_initialized()",
        "distributed.get_rank()",
        "distributed.get_world_size()",
        "version.cuda",
        "version.hip",
        "amp.GradScaler('cpu').get_scale()",
        "amp.autocast('cpu')._enabled",
        "amp.autocast('nothing')",
        "amp.autocast(3)",
        "amp.is_autocast_available('cpu')",
        "compiler.compile(3)",
        "compile(len, mode='fastest')",
        "compile(len, mode='default', options={})",
    ],
)
def test_answers_are_those_of_pytorch(question):
    names = [
        {"compile": library.compile, **{m: getattr(library, m) for m in MODULES}}
        for library in (LIBRARY, torch)
    ]
    ours, theirs = (outcome(lambda n=n: eval(question, {}, n)) for n in names)
    assert ours == theirs


MODULES = ("accelerator", "amp", "backends", "compiler", "cpu", "cuda", "distributed", "jit")
MODULES += ("mps", "version", "xpu")


class LIBRARY:
    """Flambeau's modules under their names; the package need not import all of them."""

    compile = staticmethod(compiler.compile)


def _fill() -> None:
    import importlib

    for name in MODULES:
        setattr(LIBRARY, name, importlib.import_module(f"flambeau.{name}"))


_fill()


def test_switches_can_be_set_and_are_put_back():
    with backends.cudnn.flags(enabled=False, benchmark=True):
        assert not backends.cudnn.enabled and backends.cudnn.benchmark
    assert backends.cudnn.enabled and not backends.cudnn.benchmark
    with backends.cuda.sdp_kernel(enable_flash=False):
        assert not backends.cuda.flash_sdp_enabled()
    assert backends.cuda.flash_sdp_enabled()


def test_compile_and_script_give_the_object_back():
    def double(x):
        return x * 2

    assert compiler.compile(double, mode="max-autotune", fullgraph=True) is double
    assert compiler.compile(dynamic=True)(double) is double
    for mark in (jit.script, jit.export, jit.unused, jit.ignore, jit.ignore(drop=True)):
        assert mark(double) is double
    assert jit.trace(double, (1,)) is double
    with pytest.raises(NotSupportedError, match="state_dict"):
        jit.save(double, "x")


def _in_a_shell(lib):
    module = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.Dropout())
    compiled = lib.compile(module, backend="eager")
    found = [repr(compiled), list(compiled.state_dict()), compiled._orig_mod is module]
    compiled.note = 3
    compiled.lin = lib.nn.Linear(1, 1)
    found += [module.note, compiled.training, [n for n, _ in compiled.named_modules()]]
    module.eval()
    found += [compiled.training, len(compiled), list(compiled._modules), list(module._modules)]
    del compiled.lin, compiled.note
    found += [hasattr(module, "note"), [n for n, _ in compiled.named_parameters()]]
    twin = copy.deepcopy(compiled.train())
    found += [twin._orig_mod is module, module.training, type(twin).__name__]
    found.append(repr(compiled.load_state_dict(twin.state_dict())))
    for p in compiled.parameters():
        lib.nn.init.constant_(p, 0.5)
    compiled.eval().register_forward_hook(lambda m, i, o: found.append(type(m).__name__))
    found.append(compiled(lib.ones(1, 2)).tolist())
    for wrong in (lambda: compiled[0], lambda: compiled.nothing):
        with pytest.raises((TypeError, AttributeError)) as raised:
            wrong()
        found.append((raised.type, str(raised.value)))
    return found


def test_a_compiled_module_is_in_a_shell_as_in_pytorch():
    assert _in_a_shell(flambeau) == _in_a_shell(torch)
    module = torch.nn.Linear(1, 1)
    again = flambeau.compile(flambeau.nn.Linear(1, 1))
    assert flambeau.compile(again) is again
    assert flambeau.compile(module, disable=True) is torch.compile(module, disable=True) is module


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("name", ["float32", "bfloat16", "int64", "bool", "complex64"])
def test_storages_are_the_memory_itself(name, tmp_path):
    def run(lib):
        x = lib.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(lib, name))
        row, pending = x[1], x.clone()
        typed, raw = row.storage(), row.untyped_storage()
        found = [str(typed), repr(raw), len(typed), len(raw), typed.nbytes(), typed.element_size()]
        found += [typed.size(), raw.size(), typed.tolist(), raw.tolist(), typed[2], raw[1]]
        found += [str(typed.dtype), str(raw.device), raw.is_cuda, typed.is_shared()]
        found += [raw.data_ptr() == x.data_ptr(), raw._cdata == x.untyped_storage()._cdata]
        found += [len((pending * 2).storage()), raw[4:8].tolist()]
        typed[0] = 7
        found.append(x.tolist())
        raw.fill_(0)
        found.append(x.tolist())
        raw.copy_(pending.untyped_storage())
        found.append((x.tolist(), raw.clone().tolist() == raw.tolist(), row.storage_offset()))
        (tmp_path / "raw").write_bytes(bytes(range(8)))
        mapped = lib.UntypedStorage.from_file(str(tmp_path / "raw"), False, 8)
        found.append((mapped.tolist(), lib.asarray(mapped[2:4], dtype=lib.uint8).tolist()))
        return found

    assert run(flambeau) == run(torch)


def test_names_that_are_not_there_say_so():
    from flambeau import distributed, hub, onnx

    for call in (onnx.export, hub.load, distributed.init_process_group):
        with pytest.raises(NotSupportedError, match="Flambeau"):
            call("a", "b")


# --------------------------------------------------------------------------- random


def test_the_generator_forks_and_comes_back():
    flambeau.random.manual_seed(3)
    torch.manual_seed(3)
    with flambeau.random.fork_rng():
        inside = flambeau.rand(4).tolist()
    after = flambeau.rand(4).tolist()
    assert inside == after == torch.rand(4).tolist()
    assert flambeau.random.initial_seed() == 3
    state = flambeau.random.get_rng_state()
    first = flambeau.rand(3).tolist()
    flambeau.random.set_rng_state(state)
    assert flambeau.rand(3).tolist() == first


# --------------------------------------------------------------------------- amp


def test_autocast_nests_and_ends():
    assert amp.state.active() is None
    with amp.autocast("cpu"):
        assert amp.state.active() is flambeau.bfloat16
        with amp.autocast("cpu", enabled=False):
            assert amp.state.active() is None
        with amp.autocast("cpu", dtype=flambeau.float16):
            assert amp.state.get_autocast_dtype("cpu") is flambeau.float16
        assert amp.state.is_autocast_enabled("cpu")
    assert amp.state.active() is None


# Which functions compute in the dtype of autocast, which in float32, which in their inputs'.
AUTOCAST = {
    "mm": lambda m, x: m.mm(x, x),
    "mv": lambda m, x: m.mv(x, x[0]),
    "dot": lambda m, x: m.dot(x[0], x[0]),
    "matmul of vectors": lambda m, x: x[0] @ x[0],
    "bmm": lambda m, x: m.bmm(x[None], x[None]),
    "addmm": lambda m, x: m.addmm(x, x, x),
    "addbmm": lambda m, x: m.addbmm(x, x[None], x[None]),
    "baddbmm": lambda m, x: m.baddbmm(x[None], x[None], x[None]),
    "outer": lambda m, x: m.outer(x[0], x[0]),
    "inner": lambda m, x: m.inner(x, x),
    "einsum": lambda m, x: m.einsum("ij,jk->ik", x, x),
    "tensordot": lambda m, x: m.tensordot(x, x, 1),
    "multi_dot": lambda m, x: m.linalg.multi_dot([x, x, x]),
    "vecdot": lambda m, x: m.linalg.vecdot(x, x),
    "linear": lambda m, x: m.nn.functional.linear(x, x, x[0]),
    "prelu": lambda m, x: m.nn.functional.prelu(x, x[0, :1]),
    "conv1d": lambda m, x: m.nn.functional.conv1d(x[None], x[:, :, None], x[0]),
    "conv_transpose1d": lambda m, x: m.nn.functional.conv_transpose1d(x[None], x[:, :, None]),
    "attention": lambda m, x: m.nn.functional.scaled_dot_product_attention(*[x[None]] * 3),
    "softmax": lambda m, x: x.softmax(-1),
    "layer_norm": lambda m, x: m.nn.functional.layer_norm(x, (4,)),
    "sum": lambda m, x: x.sum(),
    "prod": lambda m, x: x.prod(),
    "mse_loss": lambda m, x: m.nn.functional.mse_loss(x, x + 1),
    "huber_loss": lambda m, x: m.nn.functional.huber_loss(x, x + 1),
    "cross_entropy": lambda m, x: m.nn.functional.cross_entropy(x, m.arange(4)),
    "soft cross_entropy": lambda m, x: m.nn.functional.cross_entropy(x, x.softmax(-1)),
    "nll_loss": lambda m, x: m.nn.functional.nll_loss(x, m.arange(4)),
    "bce": lambda m, x: m.nn.functional.binary_cross_entropy(x.sigmoid(), x.sigmoid()),
    "bce of logits": lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(x, x),
    "kl_div": lambda m, x: m.nn.functional.kl_div(x, x.softmax(-1)),
    "triplet": lambda m, x: m.nn.functional.triplet_margin_loss(x, x + 1, x - 1),
    "multi_margin": lambda m, x: m.nn.functional.multi_margin_loss(x, m.arange(4)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("name", AUTOCAST)
def test_autocast_chooses_the_dtype_as_pytorch_does(name, dtype):
    x = np.random.default_rng(0).standard_normal((4, 4))

    def run(library):
        leaf = library.tensor(x.tolist(), dtype=getattr(library, dtype), requires_grad=True)
        with library.autocast("cpu"):
            result = AUTOCAST[name](library, leaf)
        result.float().sum().backward()
        values = [result.detach().float().tolist(), leaf.grad.float().tolist()]
        return str(result.dtype), str(leaf.grad.dtype), values

    ours, theirs = run(flambeau), run(torch)
    assert ours[:2] == theirs[:2]
    for mine, their in zip(ours[2], theirs[2], strict=True):
        # Two bits of bfloat16: what is summed in which order is free.
        np.testing.assert_allclose(mine, their, rtol=0.04, atol=0.04)


def test_autocast_computes_products_in_bfloat16():
    x, w = np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float32)

    def train(library):
        a, b = library.from_numpy(x.copy()), library.from_numpy(w.copy()).requires_grad_()
        with library.autocast("cpu", dtype=library.bfloat16):
            product = a @ b
            total = product.float().sum()
        total.backward()
        return str(product.dtype), product.detach().float().tolist(), b.grad.tolist()

    ours, theirs = train(flambeau), train(torch)
    assert ours[0] == theirs[0] == "torch.bfloat16"
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-2)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-2)


def test_autocast_of_a_device_that_is_not_there_warns():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        region = amp.autocast("cuda")
    with region:
        assert amp.state.active() is None
    with pytest.warns(UserWarning, match="not supported"):
        assert not amp.autocast("cpu", dtype=flambeau.float32)._enabled


def steps_of(library, losses):
    p = library.ones(2, requires_grad=True)
    optimizer = library.optim.SGD([p], lr=0.5)
    scaler = library.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    seen = []
    for factor in losses:
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        seen.append((scaler.get_scale(), p.tolist()))
    return seen, scaler.state_dict()


def test_grad_scaler_follows_pytorch():
    losses = [1.0, 2.0, math.inf, 3.0, math.nan, 1.0, 1.0]
    assert steps_of(flambeau, losses) == steps_of(torch, losses)


@pytest.mark.parametrize("wrong", ["unscale twice", "step twice", "no gradients", "no checks"])
def test_grad_scaler_refuses_what_pytorch_refuses(wrong):
    def attempt(library):
        p = library.ones(2, requires_grad=True)
        optimizer = library.optim.SGD([p], lr=0.5)
        scaler = library.amp.GradScaler("cpu")
        scaler.scale(p.sum())
        if wrong != "no gradients":
            scaler.scale(p.sum()).backward()
        if wrong == "unscale twice":
            scaler.unscale_(optimizer), scaler.unscale_(optimizer)
        elif wrong == "no checks":
            scaler.update()
        else:
            scaler.step(optimizer), scaler.step(optimizer)

    ours, theirs = (outcome(lambda n=n: attempt(n)) for n in (flambeau, torch))
    assert ours is theirs and issubclass(ours, Exception)


# --------------------------------------------------------------------------- checkpoint


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_gradients_are_the_same(reentrant):
    def train(wrap):
        flambeau.manual_seed(0)
        first, second = flambeau.nn.Linear(4, 8), flambeau.nn.Linear(8, 2)
        x = flambeau.ones(3, 4).requires_grad_()

        def part(value):
            return flambeau.nn.functional.dropout(flambeau.relu(first(value)), 0.5)

        loss = (second(wrap(part, x)) ** 2).sum()
        loss.backward()
        parameters = [*first.parameters(), *second.parameters()]
        return loss.item(), x.grad.tolist(), [p.grad.tolist() for p in parameters]

    plain = train(lambda function, value: function(value))
    again = train(lambda f, value: ckpt.checkpoint(f, value, use_reentrant=reentrant))
    assert plain == again


def test_a_checkpoint_reaches_captured_parameters_without_reentry():
    layer = flambeau.nn.Linear(2, 2)
    x = flambeau.ones(1, 2)
    out = ckpt.checkpoint(
        lambda value, *, scale: layer(value) * scale, x, use_reentrant=False, scale=3
    )
    (found,) = flambeau.autograd.grad(out.sum(), [layer.bias])
    assert found.tolist() == [3.0, 3.0] and layer.bias.grad is None


def test_a_checkpoint_that_differs_the_second_time_says_so():
    sizes = iter([2, 3])
    x = flambeau.ones(1, requires_grad=True)
    out = ckpt.checkpoint(lambda value: value.expand(next(sizes)) * 2, x, use_reentrant=False)
    with pytest.raises(ckpt.CheckpointError, match="different metadata"):
        out.sum().backward()


def test_checkpoint_sequential_runs_all_parts():
    layers = flambeau.nn.Sequential(*(flambeau.nn.Linear(3, 3) for _ in range(5)))
    x = flambeau.ones(2, 3, requires_grad=True)
    out = ckpt.checkpoint_sequential(layers, 2, x, use_reentrant=False)
    assert out.tolist() == layers(x).tolist()
    out.sum().backward()
    assert all(p.grad is not None for p in layers.parameters())


@pytest.mark.parametrize(
    ("options", "error"),
    [({"use_reentrant": True, "k": 1}, ValueError), ({"determinism_check": "x"}, ValueError)],
)
def test_checkpoint_refuses(options, error):
    with pytest.raises(error):
        ckpt.checkpoint(lambda x: x, 1, **{"use_reentrant": False, **options})


# --------------------------------------------------------------------------- testing


@pytest.mark.parametrize(
    ("actual", "expected", "options"),
    [
        ("tensor([1., 1.])", "tensor([1., 2.])", {}),
        ("tensor([1., 1.])", "tensor([1., 1., 1.])", {}),
        ("tensor([1., 1.])", "tensor([1., 1.]).double()", {}),
        ("1.0", "1.5", {}),
        ("1", "1.0", {}),
        ("True", "False", {}),
        ("[1, tensor([1., 2.])]", "[1, tensor([0., 0.])]", {}),
        ("{'a': 1}", "{'b': 1}", {}),
        ("[1]", "[1, 2]", {}),
        ("tensor(1)", "tensor(2)", {}),
        ("'a'", "'b'", {}),
        ("tensor([1., 1.])", "1.0", {}),
        ("tensor([1.0])", "tensor([1.0])", {"rtol": 1.0}),
        ("tensor([float('nan')])", "tensor([float('nan')])", {}),
        ("tensor([float('nan')])", "tensor([float('nan')])", {"equal_nan": True}),
        ("tensor([1.0])", "tensor([1.1])", {"rtol": 0.2, "atol": 0.0}),
        ("tensor([[1., 2.], [3., 4.]])", "tensor([[1., 2.], [3., 5.]])", {"rtol": 0.1, "atol": 0}),
        ("tensor([1, 2, 3])", "tensor([1, 3, 5])", {}),
        ("tensor([float('inf'), 1.0])", "tensor([1.0, 1.0])", {}),
        ("tensor([0.0])", "tensor([1.0])", {"msg": "mine"}),
        ("tensor([0.0])", "tensor([1.0])", {"msg": lambda text: "more " + text}),
    ],
)
def test_assert_close_says_what_pytorch_says(actual, expected, options):
    def said(library, close):
        names = {"tensor": library.tensor}
        try:
            close(eval(actual, names), eval(expected, names), **options)
        except Exception as error:
            # The classes of tensors have different homes.
            return type(error), re.sub(r"<class '[\w.]*Tensor'>", "<tensor>", str(error))
        return None

    assert said(flambeau, testing.assert_close) == said(torch, torch.testing.assert_close)


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "uint8", "bool", "complex64"])
def test_make_tensor_fills_the_range(name):
    kind = getattr(flambeau, name)
    made = testing.make_tensor((50, 3), dtype=kind, device="cpu", noncontiguous=True)
    assert made.dtype is kind and tuple(made.shape) == (50, 3) and not made.is_contiguous()
    values = made.numpy()
    parts = np.stack([values.real, values.imag]) if name == "complex64" else values
    low, high = {"uint8": (0, 9), "bool": (0, 1)}.get(name, (-9, 9))
    assert low <= parts.min() < parts.max() <= high


@pytest.mark.parametrize("given", [{}, {"low": -1, "high": 1}, {"noncontiguous": True}], ids=str)
@pytest.mark.parametrize("name", ["float64", "bfloat16", "int64", "uint8", "complex128"])
def test_make_tensor_draws_pytorchs_numbers(name, given):
    def drawn(m, testing):
        m.manual_seed(1)
        made = testing.make_tensor((3, 2), dtype=getattr(m, name), device="cpu", **given)
        return made.tolist(), m.rand(1).item()

    assert drawn(flambeau, testing) == drawn(torch, torch.testing)


def test_the_timer_times():
    from flambeau.utils.benchmark import Timer

    slow = Timer("time.sleep(0.002)", "import time", label="sleep").timeit(5)
    assert 0.002 <= slow.median < 0.2 and "sleep" in repr(slow)
    quick = Timer("x + 1", globals={"x": 1}).blocked_autorange(min_run_time=0.01)
    assert quick.median < slow.median and len(quick.raw_times) >= 1


def _tables(m, label="Batched dot"):
    """What PyTorch's or Flambeau's tables of the same times look like."""

    def measured(threads, sub, description, seconds):
        task = m.TaskSpec("f(x)", "y = 1", "", label, sub, description, None, threads)
        return m.Measurement(10, [10 * t for t in seconds], task)

    taken = [
        measured(threads, f"[{n}]", name, [1.37e-6 * n * factor / threads])
        for n in (1, 16, 300)
        for threads in (1, 2)
        for name, factor in (("mul", 1), ("a long description", 3))
    ]
    steady = measured(1, "[16]", "mul", [1e-3, 1.01e-3, 1.02e-3, 1.03e-3, 1.04e-3])
    plain = m.Compare(taken)
    trimmed = m.Compare(taken)
    trimmed.trim_significant_figures()
    shown = [
        repr(one).split("\n", 1)[1]
        for one in (taken[0], steady, measured(2, None, None, [1, 2, 3, 4, 9]))
    ]
    return [str(plain), str(trimmed), *shown, m.select_unit(3e-5), m.unit_to_english("ns")]


def test_tables_of_times_are_pytorchs():
    import torch.utils.benchmark

    import flambeau.utils.benchmark

    ours, theirs = _tables(flambeau.utils.benchmark), _tables(torch.utils.benchmark)
    assert ours == theirs
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`"):
        flambeau.utils.benchmark.Compare([1.0])
