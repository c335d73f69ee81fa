"""The Array API namespace beside ``array_api_compat.torch``, and under its libraries."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
import warnings

import array_api_compat
import array_api_compat.torch
import numpy as np
import pytest
import torch

import flambeau
from flambeau import array_api

# What the standard of 2024.12 lists.
STANDARD = """
arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like
tril triu zeros zeros_like astype can_cast finfo iinfo isdtype result_type abs acos acosh add
asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor
floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p
log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh
square sqrt subtract tan tanh trunc take take_along_axis matmul matrix_transpose tensordot
vecdot broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat
reshape roll squeeze stack tile unstack argmax argmin count_nonzero nonzero searchsorted where
unique_all unique_counts unique_inverse unique_values argsort sort cumulative_prod
cumulative_sum max mean min prod std sum var all any diff e inf nan newaxis pi bool int8 int16
int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128 linalg.cholesky
linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv linalg.matmul
linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose linalg.outer
linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals linalg.tensordot
linalg.trace linalg.vecdot linalg.vector_norm fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft
fft.irfft fft.rfftn fft.irfftn fft.hfft fft.ihfft fft.fftfreq fft.rfftfreq fft.fftshift
fft.ifftshift
"""

ARRAYS = {
    "x": np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4),
    "y": np.linspace(4, -1, 12, dtype=np.float32).reshape(3, 4),
    "d": np.linspace(0.1, 0.9, 4),
    "i": np.arange(-6, 6).reshape(3, 4),
    "j": np.array([2, 0, -1]),
    "s": np.array([3, 1, 2, 3, 1], np.int8),
    "u": np.array([1, 2, 3, 4], np.uint8),
    "b": np.array([[True, False, True, False]] * 3),
    "f": np.array([1.5, np.nan, -0.0, np.inf, 0.5], np.float32),
    "z": np.array([[1 + 2j, -3.5j], [0, 2.5 - 1j]], np.complex64),
    "m": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]),
    "o": np.array(2.0),
    "k": np.array(3, np.int32),
    "q": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "e": np.zeros((0, 3), np.float32),
}

UNARY = """abs acosh acos asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan
log log1p log2 log10 negative positive reciprocal round sign signbit sin sinh square sqrt tan tanh
trunc"""
BINARY = """add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal
logaddexp maximum minimum multiply nextafter not_equal pow remainder subtract"""
REDUCTIONS = "sum prod max min mean std var any all count_nonzero"

EXPRESSIONS = [
    *(f"xp.{n}({a})" for n in UNARY.split() for a in ("x", "f")),
    *(f"xp.{n}(z)" for n in ["abs", "conj", "exp", "real", "imag", "round", "sign", "sqrt"]),
    "xp.square(z)", "xp.negative(z)",
    *(f"xp.{n}(i)" for n in ["abs", "sign", "round", "floor", "ceil", "bitwise_invert", "square"]),
    *(f"xp.{n}(x, {a})" for n in BINARY.split() for a in ("y", "o", "2.5")),
    *(f"xp.{n}(2.5, x)" for n in BINARY.split()),
    *(f"xp.{n}(i, k + 2)" for n in ["add", "subtract", "multiply", "remainder", "less"]),
    "xp.floor_divide(i, k + 2)",
    *(f"xp.bitwise_{n}(i, 3)" for n in ("and", "or", "xor", "left_shift", "right_shift")),
    *(f"xp.logical_{n}(b, True)" for n in ("and", "or", "xor")),
    *(f"xp.{n}({a})" for n in REDUCTIONS.split() for a in ("x", "o")),
    *(
        f"xp.{n}(q, axis={a}, keepdims={k})"
        for n in REDUCTIONS.split()
        for a in ("None", "1", "(0, -1)", "()")
        for k in ("False", "True")
        if (n, a) != ("count_nonzero", "()")
    ),
    *(f"xp.{n}(x, axis=5)" for n in REDUCTIONS.split()),
    "xp.sum(s)", "xp.sum(b)", "xp.prod(u, axis=0)", "xp.sum(s, axis=(), dtype=xp.float64)",
    "xp.std(x, axis=1, correction=1)", "xp.var(x, correction=1.0)", "xp.sum(e)", "xp.prod(e)",
    "xp.argmax(x, axis=1)", "xp.argmin(x)", "xp.argmax(x, axis=0, keepdims=True)",
    "xp.cumulative_sum(s)", "xp.cumulative_sum(x, axis=1, include_initial=True)",
    "xp.cumulative_prod(x, axis=-2, include_initial=True)", "xp.cumulative_sum(x)",
    "xp.sort(x, axis=0, descending=True)", "xp.argsort(s)", "xp.argsort(s, descending=True)",
    "xp.diff(x)", "xp.diff(x, axis=0, n=2)", "xp.diff(s, prepend=s[:1])",
    "xp.searchsorted(d, xp.asarray([0.5, 0.05]))", "xp.nonzero(x > 0)", "xp.nonzero(o)",
    "xp.unique_values(s)", "xp.unique_counts(s)", "xp.unique_inverse(s)",
    "xp.where(b, x, y)", "xp.where(b, x, o)", "xp.where(b, i, k)", "xp.where(b, x, 1)",
    "xp.clip(x, -1, 1)", "xp.clip(x, min=0.5)", "xp.clip(s, max=300)", "xp.clip(x)",
    "xp.clip(x, y, 2)", "xp.clip(x, 0.0, float('nan'))", "xp.clip(u, -1, 2)",
    "xp.take(x, j, axis=1)", "xp.take(s, j)", "xp.take(x, j)",
    "xp.take_along_axis(x, xp.asarray([[0], [-1], [2]]))",
    "xp.asarray([1, 2])", "xp.asarray([[1.5]])", "xp.asarray(True)", "xp.asarray(2j)",
    "xp.asarray(x, dtype=xp.float64)", "xp.asarray(x, copy=True)", "xp.asarray([1], dtype=xp.int8)",
    "xp.arange(5)", "xp.arange(1, 2, 0.25)", "xp.arange(3, 1)", "xp.arange(3, 1, -1)",
    "xp.arange(0, dtype=xp.int8)", "xp.arange(3.0, 1.0)", "xp.eye(3)", "xp.eye(2, 3, k=1)",
    "xp.eye(3, k=-2, dtype=xp.int64)", "xp.eye(2, k=5)", "xp.linspace(0, 1, 5)",
    "xp.linspace(0, 1, 4, endpoint=False)", "xp.full(3, 2)", "xp.full((2, 1), True)",
    "xp.ones(3)", "xp.ones((2, 2), dtype=xp.int32)", "xp.zeros(shape=(2,))", "xp.empty((0, 2))",
    "xp.zeros_like(x)", "xp.ones_like(s)", "xp.full_like(x, 3)", "xp.empty_like(e)",
    "xp.tril(x, k=1)", "xp.triu(q, k=-1)", "xp.meshgrid(s, d)", "xp.meshgrid(s, d, indexing='ij')",
    "xp.meshgrid(s, indexing='no')", "xp.meshgrid()", "xp.from_dlpack(x)",
    "xp.astype(x, xp.int64)", "xp.astype(x, xp.float32, copy=False)",
    "xp.broadcast_arrays(x, d)", "xp.broadcast_to(d, (2, 4))", "xp.concat([x, y], axis=1)",
    "xp.concat([x, i], axis=None)", "xp.concat((s, d))", "xp.stack([x, y], axis=-1)",
    "xp.unstack(x)", "xp.unstack(x, axis=1)", "xp.unstack(o)", "xp.expand_dims(x, 1)",
    "xp.expand_dims(x, axis=(0, -1))", "xp.expand_dims(x, axis=(0, 9))", "xp.expand_dims(x, 7)",
    "xp.squeeze(xp.expand_dims(x, 1), 1)", "xp.squeeze(x, 0)", "xp.flip(x)", "xp.flip(x, axis=1)",
    "xp.roll(x, 2)", "xp.roll(x, (1, 1), axis=(0, 1))", "xp.permute_dims(q, (2, 0, 1))",
    "xp.moveaxis(q, 0, -1)", "xp.repeat(x, 2, axis=0)", "xp.repeat(s, 2)",
    "xp.repeat(d, xp.asarray([1, 0, 2, 1], dtype=xp.int8))", "xp.reshape(x, (4, 3))",
    "xp.reshape(x, (2, 6), copy=True)", "xp.reshape(x.mT, (12,), copy=False)", "xp.tile(s, (2, 2))",
    "xp.matmul(x, q[0].mT)", "xp.matmul(x, d)", "xp.matrix_transpose(q)", "xp.matrix_transpose(d)",
    "xp.tensordot(x, y)", "xp.tensordot(x, y, axes=([0], [0]))", "xp.tensordot(x, d, axes=1)",
    "xp.vecdot(x, d)", "xp.linalg.vecdot(i, i)", "xp.vecdot(z, z)", "xp.linalg.vecdot(x, j)",
    "xp.linalg.cross(m, m[0])", "xp.linalg.cross(x, y)", "xp.linalg.cross(m, m, axis=4)",
    "xp.linalg.solve(m, m)", "xp.linalg.solve(m, m[0])",
    "xp.linalg.solve(q[:, :2, :2] + 1, m[:2, :2])",
    "xp.linalg.trace(q, offset=1)", "xp.linalg.trace(i)", "xp.linalg.vector_norm(x)",
    "xp.linalg.vector_norm(q, axis=(0, 2), ord=1)", "xp.linalg.vector_norm(x, axis=(), ord=0)",
    "xp.linalg.vector_norm(z, axis=())", "xp.linalg.matrix_norm(m)", "xp.linalg.inv(m)",
    "xp.linalg.vector_norm(x, axis=1, keepdims=True, ord=float('inf'))", "xp.linalg.det(m)",
    "xp.linalg.cholesky(m)", "xp.linalg.eigvalsh(m)", "xp.linalg.slogdet(m)",
    "xp.linalg.matrix_rank(m)", "xp.linalg.matrix_power(m, 3)", "xp.linalg.svdvals(x)",
    "xp.linalg.outer(d, d)", "xp.linalg.pinv(x)", "xp.linalg.diagonal(q, offset=1)",
    "xp.fft.fft(x, axis=0)", "xp.fft.fft(x, n=3, norm='ortho')", "xp.fft.rfft(x)",
    "xp.fft.ifft(z)", "xp.fft.irfft(z)", "xp.fft.hfft(z)", "xp.fft.ihfft(x)",
    "xp.fft.fftn(x, s=(2, 2), axes=(0, 1))", "xp.fft.ifftn(z)", "xp.fft.rfftn(q, axes=(1, 2))",
    "xp.fft.irfftn(z)", "xp.fft.fftfreq(5, d=0.5)", "xp.fft.rfftfreq(5)",
    "xp.fft.fftshift(x, axes=(1,))", "xp.fft.ifftshift(x)",
]  # fmt: skip


def flat(result):
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


def outcome(xp, expression):
    make = torch.from_numpy if xp is array_api_compat.torch else flambeau.from_numpy
    names = {name: make(array.copy()) for name, array in ARRAYS.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return flat(eval(expression, {"xp": xp, **names}))
    except Exception as error:
        return error


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_like_pytorch(expression):
    theirs, ours = (outcome(xp, expression) for xp in (array_api_compat.torch, array_api))
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), (theirs, ours)
        return
    assert not isinstance(ours, Exception), ours
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        assert str(x.dtype) == str(y.dtype)
        assert tuple(x.shape) == tuple(y.shape)
        np.testing.assert_allclose(
            x.resolve_conj().numpy(), y.resolve_conj().numpy(), rtol=2e-5, atol=1e-6
        )


def test_everything_of_the_standard_is_there():
    missing = []
    for name in STANDARD.split():
        part, _, inner = name.rpartition(".")
        if not hasattr(getattr(array_api, part) if part else array_api, inner):
            missing.append(name)
    assert not missing
    assert {n for n in STANDARD.split() if "." not in n} <= set(dir(array_api))
    assert array_api.__array_api_version__ == "2024.12"


DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("one", DTYPES)
def test_dtypes_promote_as_there(one):
    for other in DTYPES:
        dtypes = [
            xp.result_type(getattr(xp, one), getattr(xp, other))
            for xp in (array_api_compat.torch, array_api)
        ]
        assert str(dtypes[0]) == str(dtypes[1])
        casts = [
            xp.can_cast(getattr(xp, one), getattr(xp, other))
            for xp in (array_api_compat.torch, array_api)
        ]
        assert casts[0] == casts[1]
    for number in (True, 2, 2.5, 2j):
        dtypes = [
            xp.result_type(xp.ones(1, dtype=getattr(xp, one)), number)
            for xp in (array_api_compat.torch, array_api)
        ]
        assert str(dtypes[0]) == str(dtypes[1])
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric")
    for kind in (*kinds, "complex floating", ("bool", "integral")):
        assert array_api.isdtype(getattr(array_api, one), kind) == array_api_compat.torch.isdtype(
            getattr(torch, one), kind
        )


def test_what_is_no_kind():
    with pytest.raises(ValueError, match="kind"):
        array_api.isdtype(flambeau.float32, "decimal")
    with pytest.raises(ValueError, match="kind"):
        array_api.__array_namespace_info__().dtypes(kind="decimal")
    with pytest.raises(ValueError, match="At least one"):
        array_api.result_type(1, 2)


def test_inspection():
    theirs = array_api_compat.torch.__array_namespace_info__()
    ours = array_api.__array_namespace_info__()
    assert ours.capabilities() == theirs.capabilities()
    assert str(ours.default_device()) == str(theirs.default_device())
    assert [str(d) for d in ours.devices()] == ["cpu"]
    for kind in (None, "bool", "integral", ("real floating", "complex floating"), "numeric"):
        mine, his = ours.dtypes(kind=kind), theirs.dtypes(kind=kind)
        assert {k: str(v) for k, v in mine.items()} == {k: str(v) for k, v in his.items()}
    assert {k: str(v) for k, v in ours.default_dtypes().items()} == {
        k: str(v) for k, v in theirs.default_dtypes().items()
    }


def test_unique_all_says_where_each_value_is_first():
    x = flambeau.tensor([[3.0, 1.0], [1.0, math.nan]])
    values, indices, inverse, counts = array_api.unique_all(x)
    assert indices.tolist() == [1, 0, 3]
    assert counts.tolist() == [2, 1, 1]
    assert inverse.tolist() == [[1, 0], [0, 2]]
    assert values.isnan().tolist() == [False, False, True]


def test_a_gradient_goes_through():
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    array_api.sum(array_api.multiply(x, x), axis=0).backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_array_api_compat_takes_tensors():
    x = flambeau.arange(6.0).reshape(2, 3)
    assert array_api_compat.array_namespace(x, x + 1) is array_api
    assert array_api_compat.is_array_api_obj(x)
    assert array_api_compat.size(x) == 6
    assert array_api_compat.to_device(x, array_api_compat.device(x)).tolist() == x.tolist()
    assert not array_api_compat.is_lazy_array(x)
    assert x.__array_namespace__(api_version="2023.12") is array_api
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999.01")


def in_process(code, *command, **variables):
    """What a fresh process prints."""
    found = subprocess.run(
        [sys.executable, *command, "-c", textwrap.dedent(code)] if not command else
        [sys.executable, *command],
        input=None, capture_output=True, text=True, env={**os.environ, **variables}, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


SCIKIT = """
    import numpy as np, warnings
    import sklearn
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge
    from sklearn.metrics import accuracy_score, mean_squared_error, r2_score, zero_one_loss
    from sklearn.metrics.pairwise import cosine_similarity
    from sklearn.preprocessing import KernelCenterer, MaxAbsScaler, MinMaxScaler, Normalizer
    import MODULE as T

    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((40, 5)), rng.standard_normal(5)
    y, labels = X @ w + 1, (X @ w > 0).astype(np.int64)
    expected = {}
    for kind in ("numpy", "tensor"):
        a, b, c = (X, y, labels) if kind == "numpy" else map(T.from_numpy, (X, y, labels))
        with sklearn.config_context(array_api_dispatch=kind == "tensor"):
            found = {
                "pca": PCA(2, svd_solver="full").fit(a).explained_variance_,
                "ridge": Ridge(solver="svd").fit(a, b).predict(a),
                "lda": LinearDiscriminantAnalysis().fit(a, c).predict(a),
                "minmax": MinMaxScaler().fit_transform(a),
                "maxabs": MaxAbsScaler().fit_transform(a),
                "normal": Normalizer().fit_transform(a),
                "kernel": KernelCenterer().fit_transform(a @ a.T),
                "cosine": cosine_similarity(a),
                "mse": mean_squared_error(b, b + 1),
                "r2": r2_score(b, b + 1),
                "accuracy": accuracy_score(c, 1 - c),
                "loss": zero_one_loss(c, c),
            }
        for name, value in found.items():
            if kind == "tensor":
                assert isinstance(value, (T.Tensor, float)), (name, type(value))
                np.testing.assert_allclose(np.asarray(value), expected[name], atol=1e-8)
            else:
                expected[name] = value
    print("ok")
"""


@pytest.mark.parametrize("module", ["flambeau", "torch"])
def test_scikit_learn_works_on_tensors(module, tmp_path):
    code = textwrap.dedent(SCIKIT).replace("MODULE", module)
    script = tmp_path / "script.py"
    script.write_text(code)
    runner = ["-m", "flambeau", "run"] if module == "torch" else []
    assert in_process("", *runner, str(script), SCIPY_ARRAY_API="1").strip() == "ok"


SCIPY = """
    import numpy as np
    import scipy.cluster.vq, scipy.fft, scipy.integrate, scipy.signal, scipy.special, scipy.stats
    import MODULE as T

    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((30, 4)), rng.random(10)

    def values(T):
        a, b = T(x), T(p)
        yield scipy.special.logsumexp(a, axis=0)
        yield scipy.special.softmax(a, axis=1)
        yield scipy.special.expit(b)
        yield scipy.special.gammaln(b)
        yield scipy.stats.zscore(a)
        yield scipy.stats.skew(a)
        yield scipy.stats.kurtosis(a)
        yield scipy.stats.pearsonr(a[:, 0], a[:, 1]).statistic
        yield scipy.stats.ttest_1samp(a, 0.5).pvalue
        yield scipy.integrate.cumulative_trapezoid(b)
        yield abs(scipy.fft.fft(a))
        yield scipy.fft.dct(a)
        yield scipy.signal.detrend(b)
        yield scipy.cluster.vq.whiten(a)

    for ours, theirs in zip(values(T.from_numpy), values(np.asarray), strict=True):
        assert isinstance(ours, T.Tensor), type(ours)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-9)
    print("ok")
"""


@pytest.mark.parametrize("module", ["flambeau", "torch"])
def test_scipy_works_on_tensors(module, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCIPY).replace("MODULE", module))
    runner = ["-m", "flambeau", "run"] if module == "torch" else []
    assert in_process("", *runner, str(script), SCIPY_ARRAY_API="1").strip() == "ok"


def test_the_compat_layer_over_flambeau_in_torchs_place(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import array_api_compat, torch
            x = torch.arange(6.0).reshape(2, 3)
            xp = array_api_compat.array_namespace(x)
            print(xp.__name__, torch.__file__)
            print(xp.sum(x, axis=(0, 1)), xp.std(x, axis=0, correction=1).tolist())
            print(xp.linalg.vector_norm(x), xp.unique_counts(x).counts.tolist())
            print(xp.__array_namespace_info__().devices())
        """)
    )
    lines = in_process("", "-m", "flambeau", "run", str(script)).splitlines()
    assert lines[0].startswith("array_api_compat.torch ")
    assert "flambeau" in lines[0]
    assert lines[1] == "tensor(15.) [2.1213202476501465, 2.1213202476501465, 2.1213202476501465]"
    assert lines[2] == "tensor(7.4162) [1, 1, 1, 1, 1, 1]"
    assert lines[3] == "(device(type='cpu'), device(type='meta'))"
