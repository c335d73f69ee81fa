"""``vmap`` beside PyTorch's: values, gradients, dimensions, randomness, writes and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import flambeau
from flambeau.func import batching
from flambeau.ir.primitive import PRIMITIVES

SIZE = 3
rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal((SIZE, *shape)).astype(np.float32)


ARRAYS = {
    "s": normal(),
    "v": normal(4),
    "w": normal(4),
    "a": normal(3, 4),
    "b": normal(3, 4),
    "c": normal(4, 5),
    "q": normal(2, 3, 4),
    "x": normal(2, 4, 6, 6),
    "k": normal(3, 4, 2, 2),
    "t": normal(2, 4, 8),
    "p": normal(4, 4),
    "i": rng.integers(0, 3, (SIZE, 5)),
    "j": rng.integers(0, 3, (SIZE, 3, 4)),
    "n": rng.integers(0, 4, (SIZE, 3)),
    "o": rng.integers(0, 4, SIZE),
    "m": rng.random((SIZE, 3, 4)) < 0.5,
}

# T is the library, F its functional; every name that an expression uses is batched, unless it is
# among those after the bar.
EXPRESSIONS = """
a + b; a * v; v - a; a / 2; s * a; a ** 2; -a; T.exp(a); T.maximum(a, v); T.lerp(a, b, 0.3)
a > b; (a > 0) & (j > 0); ~m; T.where(m, a, b); T.where(m, a, 0.0); a.clamp(-1, 1)
T.clamp(a, min=v)
T.sigmoid(a); F.relu(a); F.gelu(a); F.silu(a); F.elu(a); F.softplus(a); F.leaky_relu(a, 0.1)
a.to(T.float64); a.long(); T.atan2(a, b); T.addcmul(a, b, v); a.detach(); a.double() + j
a + v | v; v + a | a; a @ v | a; s + 1.5; s + a | a; a * 2 + b | b
a.sum(); a.sum(0); a.sum(-1, keepdim=True); a.mean(1); a.amax(0); a.max(0)[0]; a.max(1)[1]
a.argmin(); a.std(0); a.var(1, correction=0); a.norm(); T.linalg.vector_norm(a, 3, 1); a.all(0)
T.logsumexp(a, 0); a.prod(1); (a > 0).any(1); a.median(1)[0]; a.min(); s.sum(); s.sum(0); s.max()
a.cumsum(0); a.cumprod(1); a.logcumsumexp(0); a.cummax(1)[0]; a.sort(1)[0]; a.sort(0)[1]
a.argsort(1); a.topk(2)[0]; a.topk(2, 0)[1]; v.kthvalue(2)[0]; a.flip(0, 1); a.roll(1, 0)
s.cumsum(0)
F.softmax(a, 0); F.log_softmax(a, -1); F.softmax(v, 0); F.layer_norm(a, (4,)); F.normalize(a)
F.layer_norm(a, (4,), v, w); F.group_norm(x, 2); F.instance_norm(x); F.rms_norm(a, (4,))
F.batch_norm(x, None, None, training=True); F.layer_norm(a, (4,), v, w | v w)
a.reshape(4, 3); a.reshape(-1); a.view(2, 6); a.t(); a.T; q.permute(2, 0, 1); q.transpose(0, 2)
a.unsqueeze(0); a.unsqueeze(-1); a.expand(2, 3, 4); v.expand(3, 4); q.movedim(0, -1); q.flatten()
a[0]; a[:, 1]; a[1:, ::2]; a[..., -1]; a[None]; a.diagonal(); a.tril(); T.triu(a, 1); s[None]
a.narrow(1, 1, 2); a.select(0, 1); a.unbind(0)[1]; a.split(2, 1)[0]; a.chunk(2)[1]; a.repeat(2, 1)
T.cat([a, b]); T.cat([a, b], 1); T.stack([a, b], -1); T.cat([a, b] | b); T.stack([v, w] | w)
F.pad(a, (1, 2)); F.pad(x, (1, 1, 1, 1), mode='reflect'); T.tile(a, (2, 1)); a.unfold(1, 2, 1)
a @ c; a @ v; v @ c; v @ w; T.dot(v, w); T.outer(v, w); T.einsum('ij,jk->ki', a, c); q @ c
c.mT @ a.mT
a @ c | c; a @ c | a; T.mv(a, v | v); q @ c | c; q @ c | q; F.linear(a, b); F.linear(v, b, v[:3])
F.linear(a, b | b); T.bmm(q, q.mT); T.baddbmm(q @ c, q, c.expand(2, 4, 5))
F.bilinear(v, w, p[None])
T.linalg.det(p); T.linalg.inv(p); T.linalg.solve(p, v); T.linalg.qr(p)[1]; T.linalg.slogdet(p)[1]
T.linalg.matrix_exp(p); T.linalg.svdvals(p); T.linalg.eigvalsh(p @ p.mT)
T.linalg.matrix_power(p, 2)
T.linalg.cholesky(p @ p.mT + 9 * T.eye(4)); T.cdist(a, b); T.cov(a); T.linalg.pinv(p)
v[i]; a[i]; a[:, n]; a[n[0]]; v[i | v]; a[i | i]; a[n % 3, n]; v[i | i]; q[:, i]; q[:, :, n | n]
a[i | a]
a[:, n | a]; q[0, n % 3, n]; q[:, n % 3, n]; a.index_select(0, i); a.index_select(1, n | n)
a.gather(0, j); a.gather(1, n[:, None]); T.take_along_dim(a, j, 0); a.gather(0, j | j)
a.gather(0, j | a)
a.scatter(0, j, b); a.scatter_add(0, j, b); a.index_add(0, n % 3, b); a.index_fill(1, n, 0.5)
a.scatter(1, n[:, None], 1.0); a.index_copy(0, T.tensor([2, 0, 1]), b); T.index_put(a, (n % 3,), v)
T.index_put(a, (n % 3,), v | v); T.index_put(a, (n % 3,), b, accumulate=True); a.masked_fill(m, 0.0)
F.embedding(i, a); F.embedding(i, a | a); F.embedding(i, a | i); F.one_hot(n, 4)
T.searchsorted(v.sort()[0], w); T.bucketize(v, T.tensor([-1.0, 0.0, 1.0])); T.histc(v, 4) | v
F.conv2d(x, k); F.conv2d(x, k | k); F.conv2d(x, k | x); F.conv2d(x, k, stride=2, padding=1)
F.conv1d(t, k[:, :, :, 0]); F.conv1d(t, k[:, :, 0] | k); F.conv_transpose2d(x, k.transpose(0, 1))
F.conv2d(x, k[:2, :2], groups=2); F.conv_transpose2d(x, k.transpose(0, 1) | k)
F.max_pool2d(x, 2); F.avg_pool2d(x, 2); F.adaptive_avg_pool2d(x, 2); F.max_pool2d(x[0], 2)
F.interpolate(x, scale_factor=2); F.interpolate(x, size=4, mode='bilinear'); F.max_pool1d(t, 2)
F.unfold(x, 2); F.pixel_shuffle(x, 2); F.adaptive_max_pool2d(x, 3); F.lp_pool2d(x.abs(), 2, 2)
F.cross_entropy(a, n); F.cross_entropy(v, o); F.nll_loss(a, n, reduction='sum'); F.mse_loss(a, b)
F.cross_entropy(a, n, reduction='none'); F.cross_entropy(v[None], o[None])
F.cross_entropy(a, n | n)
F.cross_entropy(a, n, ignore_index=1); F.cross_entropy(a, n, label_smoothing=0.1); F.l1_loss(a, b)
F.smooth_l1_loss(a, b); F.binary_cross_entropy_with_logits(a, m.float()); F.huber_loss(a, b | b)
F.kl_div(a, b.softmax(1), reduction='sum'); F.cosine_similarity(a, b)
F.cross_entropy(a, n, weight=w | w)
F.scaled_dot_product_attention(q, q, q); F.scaled_dot_product_attention(q, q, q, is_causal=True)
T.fft.fft(a).real; T.fft.rfft(a, dim=0).imag; T.fft.irfft(T.fft.rfft(v)); T.polar(a.abs(), b).real
a.clone().add_(1); a.clone().mul_(b); a * T.arange(4.0); a + T.ones(3, 1); T.zeros_like(a) + s
T.full((2,), 3.0); T.ones(2) * v[0]; T.addmm(a @ c, a, c); T.meshgrid(v, w, indexing='ij')[0]
T.nn.functional.glu(a, 1); T.diff(a); T.trapezoid(a); T.nan_to_num(a); T.renorm(a, 2, 0, 1.0)
T.func.grad(lambda y: (y ** 3).sum())(v); T.func.jacrev(T.sin)(v)
T.func.hessian(lambda y: y.pow(3).sum())(v)
T.func.grad(lambda y: F.cross_entropy(y @ c, o))(v); T.func.jvp(T.sin, (v,), (w,))[1]
T.func.vjp(T.sin, v)[1](w)[0]; T.vmap(T.dot)(a, b); T.vmap(T.dot, (0, None))(a, v)
T.vmap(lambda y: y * s)(v)
T.vmap(T.vmap(T.sin))(a); T.vmap(lambda y: y @ p, in_dims=1)(c)
T.vmap(T.func.grad(lambda y: y.sum() * s))(a)
"""
CASES = sorted({case.strip() for case in EXPRESSIONS.replace("\n", ";").split(";") if case.strip()})


def taken_apart(case):
    """The expression, its batched names, and those that are the same for all examples."""
    if "|" in case:
        head, _, tail = case.partition("|")
        closing = tail.lstrip(" abcdefghijklmnopqrstuvwxyz")
        common = tail[: len(tail) - len(closing)].split()
        case = head.rstrip() + closing
    else:
        common = []
    code = compile(case, case, "eval")
    names = [n for n in names_of(code) if n in ARRAYS]
    return code, [n for n in names if n not in common], [n for n in names if n in common]


def names_of(code):
    found = list(code.co_names) + list(code.co_freevars)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            found += names_of(constant)
    return sorted(set(found))


def function(lib, case):
    code, batched, common = taken_apart(case)
    given = {"T": lib, "F": lib.nn.functional}
    given |= {n: lib.from_numpy(ARRAYS[n][0].copy()) for n in common}

    def f(*tensors):
        return eval(code, {**given, **dict(zip(batched, tensors, strict=True))})

    return f, [lib.from_numpy(ARRAYS[n].copy()) for n in batched]


@pytest.fixture(autouse=True)
def _without_pytorchs_warnings():
    """That it has no batching rule for one of its operators."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def numbers(x):
    return x.detach().resolve_conj().numpy()


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(case):
    results = []
    for lib in (torch, flambeau):
        f, tensors = function(lib, case)
        if not tensors:
            tensors = [lib.from_numpy(ARRAYS["s"].copy())]
            g = f
            f = lambda s, g=g: g()
        leaves = [t.requires_grad_() if t.is_floating_point() else t for t in tensors]
        out = lib.vmap(f)(*leaves)
        found = [out]
        if out.requires_grad:
            weights = lib.arange(float(out.numel())).reshape(out.shape).to(out.dtype)
            (out * weights.cos()).sum().backward()
            zero = [lib.zeros_like(t) if t.grad is None else t.grad for t in leaves]
            found += [g for t, g in zip(leaves, zero, strict=True) if t.is_floating_point()]
        results.append(found)
    theirs, ours = results
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        assert str(x.dtype).split(".")[-1] == str(y.dtype).split(".")[-1]
        assert tuple(x.shape) == tuple(y.shape)
        np.testing.assert_allclose(numbers(x), numbers(y), rtol=2e-3, atol=2e-4)


def test_rules_are_of_primitives():
    assert set(batching.RULES) <= set(PRIMITIVES)


@pytest.mark.parametrize(
    ("f", "names"),
    [
        # PyTorch's own vmap gets these wrong.
        (lambda T, q, n: q[n[0] % 2, :, n], "qn"),
        (lambda T, n, c: T.nn.functional.embedding(n, c, 1), "nc"),
        (lambda T, a, n, w: T.nn.functional.cross_entropy(a, n, weight=w), "anw"),
    ],
)
def test_values_are_those_of_a_loop(f, names):
    whole = flambeau.vmap(lambda *x: f(flambeau, *x))
    ours = whole(*[flambeau.from_numpy(ARRAYS[n].copy()) for n in names])
    rows = [f(torch, *[torch.from_numpy(ARRAYS[n])[i] for n in names]) for i in range(SIZE)]
    np.testing.assert_allclose(ours.numpy(), torch.stack(rows).numpy(), rtol=1e-5)


def test_padding_gets_no_gradient():
    table = flambeau.from_numpy(ARRAYS["c"].copy()).requires_grad_()
    places = flambeau.from_numpy(ARRAYS["n"].copy())
    embedding = flambeau.nn.functional.embedding
    flambeau.vmap(lambda n, c: embedding(n, c, 1))(places, table).sum().backward()
    expected = np.zeros(ARRAYS["c"].shape, np.float32)
    for i, row in enumerate(ARRAYS["n"]):
        for place in row[row != 1]:
            expected[i, place] += 1
    np.testing.assert_array_equal(table.grad.numpy(), expected)


def test_the_function_is_called_once():
    calls = []

    def f(x):
        calls.append(tuple(x.shape))
        return x.sin()

    flambeau.vmap(f)(flambeau.ones(7, 2))
    assert calls == [(2,)]
    calls.clear()
    flambeau.vmap(f, chunk_size=3)(flambeau.ones(7, 2))
    assert calls == [(2,)] * 3


@pytest.mark.parametrize(
    ("in_dims", "out_dims"),
    [(0, 0), (1, 0), (-1, 1), ((1, 0), -1), ((None, 0), 0), ((2, None), 2), ([0], 0), (0, 7)],
)
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 50])
def test_dimensions_and_chunks(in_dims, out_dims, chunk_size):
    def run(lib):
        x = lib.arange(27.0).reshape(3, 3, 3)
        y = lib.arange(27.0).reshape(3, 3, 3).flip(0) * 0.5
        dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims, in_dims)
        vectorised = lib.vmap(lambda x, y: x @ y + x, dims, out_dims, chunk_size=chunk_size)
        return vectorised(x, y).numpy()

    outcomes = []
    for lib in (torch, flambeau):
        try:
            outcomes.append(run(lib))
        except Exception as error:
            outcomes.append(error)
    theirs, ours = outcomes
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
    else:
        np.testing.assert_allclose(ours, theirs)


def test_structures():
    def run(lib):
        def f(pair, table, scale=1.0):
            x, y = pair
            return {"sum": (x + y) * scale, "parts": [x * table["k"], y]}

        x, y, k = lib.arange(6.0).reshape(2, 3), lib.arange(3.0), lib.arange(2.0)
        given = ((x, y), {"k": k})
        found = lib.vmap(f, ((0, None), {"k": 0}), {"sum": 1, "parts": [0, 0]})(*given, scale=2.0)
        return [found["sum"].tolist(), [p.tolist() for p in found["parts"]]]

    assert run(flambeau) == run(torch)


def test_results_that_do_not_depend_on_the_batch():
    def run(lib):
        y = lib.arange(3.0)
        return lib.vmap(lambda x: (y * 2, y, x), out_dims=(0, None, 0))(lib.zeros(2))

    for ours, theirs in zip(run(flambeau), run(torch), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_an_empty_batch():
    def run(lib):
        x = lib.ones(0, 3)
        return [
            tuple(lib.vmap(f)(x).shape) for f in (lambda x: x.sum(), lambda x: x @ lib.ones(3, 2))
        ]

    assert run(flambeau) == run(torch)


def test_an_example_that_is_written_to_is_the_batch():
    def run(lib):
        x = lib.arange(6.0).reshape(2, 3)
        y = lib.vmap(lambda x: x.mul_(2).sum(), in_dims=1)(x)
        z = lib.arange(6.0).reshape(2, 3)
        lib.vmap(lambda z: z[1].fill_(7))(z)
        return x.tolist(), y.tolist(), z.tolist()

    assert run(flambeau) == run(torch)


def test_writes_that_examples_would_share_are_refused():
    for lib in (torch, flambeau):
        total = lib.zeros(3)
        with pytest.raises(RuntimeError, match=r"vmap: inplace|doesn't match the broadcast shape"):
            lib.vmap(lambda x, total=total: total.add_(x))(lib.ones(2, 3))
        counter = lib.zeros(())
        lib.vmap(lambda x, counter=counter: counter.add_(1) + x)(lib.ones(2, 3))
        assert counter.item() == 1


@pytest.mark.parametrize("f", [lambda T, x: x + T.rand(4), lambda T, x: x + T.randn(4)])
def test_randomness(f):
    for lib in (torch, flambeau):
        x = lib.zeros(5, 4)

        def called(x, lib=lib):
            return f(lib, x)

        with pytest.raises(RuntimeError, match="randomness error mode"):
            lib.vmap(called)(x)
        same = lib.vmap(called, randomness="same")(x)
        assert bool((same == same[0]).all())
        different = lib.vmap(called, randomness="different")(x)
        assert not bool((different[1:] == different[0]).any())
        with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
            lib.vmap(called, randomness="none")


def test_dropout_that_differs():
    x = flambeau.ones(4, 50)
    dropout = flambeau.nn.functional.dropout
    y = flambeau.vmap(lambda x: dropout(x, 0.5), randomness="different")(x)
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert not bool((y[0] == y[1]).all())


ERRORS = {
    "no tensors": lambda T: T.vmap(lambda: T.ones(1))(),
    "nothing mapped": lambda T: T.vmap(T.sin, None)(T.ones(2)),
    "all None": lambda T: T.vmap(T.sin, (None,))(T.ones(2)),
    "structure": lambda T: T.vmap(T.add, (0,))(T.ones(2), T.ones(2)),
    "kind of in_dims": lambda T: T.vmap(T.sin, "a")(T.ones(2)),
    "in_dims inside": lambda T: T.vmap(T.sin, ("a",))(T.ones(2)),
    "no tensor": lambda T: T.vmap(T.add, (0, 0))(T.ones(2), 2),
    "out of range": lambda T: T.vmap(T.sin, 1)(T.ones(2)),
    "sizes": lambda T: T.vmap(T.add)(T.ones(2), T.ones(3)),
    "result": lambda T: T.vmap(lambda x: 1)(T.ones(2)),
    "out_dims": lambda T: T.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(T.ones(2)),
    "out_dims None": lambda T: T.vmap(T.sin, out_dims=None)(T.ones(2)),
    "out_dims range": lambda T: T.vmap(T.sin, out_dims=3)(T.ones(2)),
    "chunk": lambda T: T.vmap(T.sin, chunk_size=0)(T.ones(2)),
    "inside": lambda T: T.vmap(T.dot)(T.ones(2, 3), T.ones(2, 4)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type):
        ERRORS[name](flambeau)


def test_functions_that_look_at_values_are_called_for_each():
    def f(x):
        return x * 2 if x.sum() > 0 else x - 1

    x = flambeau.tensor([[1.0, 2.0], [-3.0, 1.0], [0.0, 0.5]])
    assert flambeau.vmap(f)(x).tolist() == [[2.0, 4.0], [-4.0, 0.0], [0.0, 1.0]]
    assert flambeau.vmap(lambda x: x * x[0].item())(x).tolist()[1] == [9.0, -3.0]
    with pytest.raises(RuntimeError, match="asks for values"):
        flambeau.vmap(f)(flambeau.ones(0, 2))


def test_the_trace_goes_on_after_an_error():
    def f(x):
        y = x + 1
        raise KeyError(y.dim())

    with pytest.raises(KeyError):
        flambeau.vmap(f)(flambeau.ones(2, 3))
    assert flambeau.vmap(lambda x: x + 1)(flambeau.ones(2)).tolist() == [2.0, 2.0]


def test_gradients_of_each_example_by_functional_call():
    def run(lib):
        lib.manual_seed(0)
        net = lib.nn.Sequential(
            lib.nn.Conv2d(1, 3, 3), lib.nn.ReLU(), lib.nn.Flatten(), lib.nn.Linear(48, 4)
        )
        parameters = {k: v.detach() for k, v in net.named_parameters()}

        def loss(parameters, x, y):
            out = lib.func.functional_call(net, parameters, (x[None],))
            return lib.nn.functional.cross_entropy(out, y[None])

        x, y = lib.randn(6, 1, 6, 6), lib.arange(6) % 4
        return lib.vmap(lib.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)

    theirs, ours = run(torch), run(flambeau)
    assert ours.keys() == theirs.keys()
    for k, g in ours.items():
        np.testing.assert_allclose(g.numpy(), theirs[k].numpy(), rtol=1e-4, atol=1e-6)


def test_an_ensemble():
    def run(lib):
        lib.manual_seed(0)
        models = [lib.nn.Linear(3, 2) for _ in range(4)]
        parameters, buffers = lib.func.stack_module_state(models)
        x = lib.randn(5, 3)

        def f(parameters, buffers, x):
            return lib.func.functional_call(models[0], (parameters, buffers), (x,))

        out = lib.vmap(f, (0, 0, None))(parameters, buffers, x)
        out.square().sum().backward()
        return out, parameters["weight"].grad

    for ours, theirs in zip(run(flambeau), run(torch), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)


def test_in_a_loop_with_other_values():
    f = flambeau.vmap(lambda x, y: (x * y).sum().exp())
    for i in range(8):
        x, y = flambeau.full((3, 2), 0.1 * i), flambeau.arange(6.0).reshape(3, 2)
        expected = np.exp(0.1 * i * np.array([1.0, 5.0, 9.0]))
        np.testing.assert_allclose(f(x, y * 1.0).numpy(), expected, rtol=1e-5)
