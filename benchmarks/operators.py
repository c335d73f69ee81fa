"""Single operators on a million float32 numbers: PyTorch and Flambeau alternating in one process.

    python benchmarks/operators.py                       # all; --threads 2 each
    python benchmarks/operators.py --only pooling,conv   # groups or names that contain one of these

Forward, then forward and backward where the operator has a gradient. Both sides loop with the same
inputs, and ask each result (or gradient) for its address, which has Flambeau compute it and costs
PyTorch nothing. Flambeau warms up until its programs are compiled. The ratio of the median times
is PyTorch / Flambeau: above 1 is faster. Nothing but the operator is in the loop, so nothing is
fused with it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import flambeau

SIDE = 1000
IMAGES = "16,64,32,32"
MATRICES = "64,128,128"
SIGNALS = "32,32,1024"
VOLUMES = "4,16,16,32,32"

# Operands of a million numbers: what they are, and their shape where it is not SIDE x SIDE.
KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda g, s: g.standard_normal(s, np.float32),
    "unit": lambda g, s: 0.05 + 0.9 * g.random(s, np.float32),
    "above": lambda g, s: 1.1 + g.random(s, np.float32),
    "sign": lambda g, s: np.sign(g.standard_normal(s, np.float32)),
    "bool": lambda g, s: g.random(s) < 0.5,
    "place": lambda g, s: g.integers(0, SIDE, s),
    "class": lambda g, s: g.integers(0, 10, s),
    "int": lambda g, s: g.integers(1, 100, s),
    "spd": lambda g, s: _positive_definite(g, s),
    "complex": lambda g, s: (g.standard_normal(s) + 1j * g.standard_normal(s)).astype(np.complex64),
}


def _positive_definite(g: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = g.standard_normal(shape, np.float32)
    return x @ x.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1], dtype=np.float32)


# group, operands, expressions of a, b, c (T is the library, F its functional); a bare name is
# called with all operands, and one that begins with "!" is measured without a backward.
CASES: list[tuple[str, str, str]] = [
    (
        "pointwise",
        "normal",
        """abs neg square exp exp2 expm1 sin cos tan atan sinh cosh tanh asinh sigmoid erf erfc sinc
        deg2rad rad2deg nan_to_num !sign !floor !ceil !round !trunc frac !isnan !isfinite
        !isinf !signbit !sgn !logical_not a.clone() a.clamp(-1,1) a.clamp_min(0.) T.clip(a,max=0.5)
        a.double() a.half() a.bfloat16() !a.int() !a.bool() a*2.5 a+1.5 1/a a**2 a**3 a.pow(4)
        F.dropout(a) !frexp T.threshold(a,0.1,20.) T.polygamma(1,a) angle""",
    ),
    (
        "pointwise",
        "unit",
        """log log2 log10 log1p sqrt rsqrt reciprocal asin acos atanh logit erfinv lgamma digamma
        i0 T.special.ndtri(a) T.special.ndtr(a) T.special.entr(a) T.special.i1(a)
        T.special.log_ndtr(a) T.special.erfcx(a) T.special.i0e(a) a**2.5 T.mvlgamma(a+2,2)
        !T.special.bessel_j0(a) !bernoulli""",
    ),
    ("pointwise", "above", "acosh"),
    (
        "binary",
        "normal normal",
        """add sub mul div maximum minimum fmax fmin atan2 hypot copysign logaddexp logaddexp2
        fmod remainder !floor_divide !eq !ne !lt !le !gt !ge !heaviside !nextafter !isclose
        !logical_and T.lerp(a,b,0.3) T.add(a,b,alpha=2) T.div(a,b,rounding_mode='trunc') ldexp
        !allclose !equal""",
    ),
    ("binary", "unit unit", "pow xlogy T.special.xlog1py(a,b) a.float_power(b) !igamma"),
    (
        "binary",
        "int int",
        "!gcd !lcm !bitwise_and !bitwise_xor !a//b !a%b !bitwise_left_shift !a*b",
    ),
    ("ternary", "normal normal normal", "addcmul addcdiv lerp clamp"),
    ("ternary", "bool normal normal", "where"),
    ("broadcasting", "normal normal:1000", "a+b a*b a/b T.maximum(a,b)"),
    ("broadcasting", "normal normal:1000,1", "a+b a*b a-b"),
    (
        "reductions",
        "normal",
        """sum mean a.sum(0) a.sum(1) a.mean(0) a.mean(1) var std a.var(0) a.var(1) a.std(1)
        T.var_mean(a,1)[0] amax(a) T.amax(a,1) T.amin(a,0) a.max() a.max(1)[0] a.min(0)[0]
        T.aminmax(a)[0] !argmax !a.argmax(1) !a.argmin(0) !any !all !a.any(1) norm a.norm(dim=1)
        T.linalg.vector_norm(a,3) T.linalg.vector_norm(a,float('inf'),1) a.norm(1) T.logsumexp(a,1)
        T.logsumexp(a,0) nansum T.nanmean(a,1) !count_nonzero T.prod(a,1) T.nanmedian(a,1)[0]
        median a.median(1)[0] a.mode(1)[0] a.kthvalue(100,1)[0] T.quantile(a,0.3,1)
        T.linalg.norm(a) T.dist(a,a*2) trace T.renorm(a,2,0,1.) T.cov(a) T.corrcoef(a)""",
    ),
    (
        "scans",
        "normal",
        """a.cumsum(0) a.cumsum(1) a.cumprod(1) a.logcumsumexp(1) a.cummax(1)[0] a.cummin(0)[0]
        T.diff(a) T.trapezoid(a) T.cumulative_trapezoid(a) T.gradient(a)[0]""",
    ),
    (
        "sorting",
        "normal",
        """a.sort(1)[0] a.sort(0)[0] !a.argsort(1) a.topk(10)[0] a.flatten().sort()[0] msort
        !unique !a.int().unique() !T.histc(a,100,-3.,3.) !T.isin(a,a[0])""",
    ),
    ("sorting", "normal:1000 normal", "!searchsorted(a.sort()[0],b) !bucketize(b,a.sort()[0])"),
    ("sorting", "class:1000000", "!bincount !unique"),
    (
        "indexing",
        "normal",
        """a[:,::2] a[10:-10] a[::2].contiguous() a.t().contiguous() a.flip(0) a.flip(1) a.roll(7,1)
        T.roll(a,(3,5),(0,1)) a.rot90() tril triu a.diagonal() T.diag(a) a[:,None] a.reshape(-1)
        a.permute(1,0).reshape(-1) a.unfold(1,10,5).contiguous() T.chunk(a,4)[1] T.narrow(a,0,3,500)
        a.expand(2,-1,-1).contiguous() a.repeat(2,1) a.repeat_interleave(2,1) T.tile(a,(1,2))
        T.block_diag(a) F.pad(a,(1,2,3,4)) a.view(50,20,1000).movedim(0,2).contiguous() fliplr
        T.kron(a[:30,:30],a[:30,:30]) T.diag_embed(a[:,:100]) T.constant_pad_nd(a,(2,2)) T.ravel(a)
        T.tensor_split(a,3,1)[1] !T.zeros_like(a) !T.ones_like(a) !T.full_like(a,2.5)""",
    ),
    (
        "indexing",
        "normal place:1000",
        """a[b] a[:,b] a.index_select(0,b) a.index_select(1,b) T.take_along_dim(a,b[:,None],1)
        a.index_add(0,b,a) a.index_copy(0,b.unique(),a[:len(b.unique())]) a.index_fill(1,b,0.5)
        F.embedding(b,a) T.index_put(a,(b,),a)""",
    ),
    (
        "indexing",
        "normal place",
        """a.gather(0,b) a.gather(1,b) a.scatter(1,b,a) a.scatter_add(0,b,a) a.scatter_add(1,b,a)
        a.scatter_reduce(1,b,a,'amax') T.take(a,b) a.put(b,a)""",
    ),
    ("indexing", "normal bool", "a[b] masked_select T.masked_fill(a,b,0.5) !nonzero(b)"),
    ("indexing", "normal bool normal", "masked_scatter T.where(b,a,0.)"),
    (
        "joining",
        "normal:500,1000 normal:500,1000",
        "T.cat((a,b)) T.cat((a,b),1) T.stack((a,b)) T.stack((a,b),2) T.hstack((a,b)) vstack((a,b))",
    ),
    (
        "matrices",
        "normal normal",
        """mm a@b.t() a.t()@b matmul T.einsum('ij,jk->ik',a,b) T.einsum('ij,ij->i',a,b)
        F.linear(a,b) T.dot(a.flatten(),b.flatten())
        T.vdot(a.flatten(),b.flatten()) T.tensordot(a,b,1)
        T.inner(a,b) T.addmm(a,a,b) T.cdist(a[:,:100],b[:,:100]) T.linalg.multi_dot((a,b,a))""",
    ),
    (
        "matrices",
        "normal normal:1000",
        "mv !T.outer(b,b) T.addmv(b,a,b) T.addr(a,b,b) F.linear(b,a)",
    ),
    (
        "matrices",
        f"normal:{MATRICES} normal:{MATRICES}",
        "bmm matmul T.baddbmm(a,a,b) T.einsum('bij,bjk->bik',a,b) T.einsum('bij,bkj->bki',a,b)",
    ),
    ("matrices", "normal:333333,3 normal:333333,3", "T.cross(a,b,dim=1) T.linalg.cross(a,b)"),
    (
        "linalg",
        f"spd:{MATRICES} normal:{MATRICES}",
        """T.linalg.cholesky(a) T.linalg.inv(a) T.linalg.det(a) T.linalg.slogdet(a)[1]
        T.linalg.solve(a,b) T.linalg.qr(a)[0] T.linalg.eigvalsh(a) T.linalg.eigh(a)[0]
        T.linalg.svdvals(a) T.linalg.matrix_power(a,3) T.linalg.lu(a)[1] T.cholesky_solve(b,a)
        T.linalg.solve_triangular(a.tril(),b,upper=False) !T.linalg.lu_factor(a)[0]
        T.linalg.matrix_exp(a/8) T.linalg.pinv(a) T.linalg.matrix_norm(a) T.logdet(a)""",
    ),
    ("linalg", "spd", "T.linalg.cholesky(a) T.linalg.inv(a) T.linalg.solve(a,a) T.linalg.det(a)"),
    (
        "activations",
        "normal",
        """F.relu(a) F.leaky_relu(a) F.elu(a) F.selu(a) F.celu(a) F.gelu(a)
        F.gelu(a,approximate='tanh') F.silu(a) F.mish(a) F.softplus(a) F.softsign(a) F.tanhshrink(a)
        F.hardtanh(a) F.hardsigmoid(a) F.hardswish(a) F.hardshrink(a) F.softshrink(a) F.relu6(a)
        F.logsigmoid(a) F.softmax(a,1) F.softmax(a,0) F.log_softmax(a,1) F.log_softmax(a,0)
        F.softmin(a,1) F.glu(a) F.threshold(a,0.1,0.) F.normalize(a) F.rrelu(a)""",
    ),
    ("activations", "normal normal:1000", "F.prelu(a,b)"),
    (
        "losses",
        "normal normal",
        """F.mse_loss(a,b) F.l1_loss(a,b) F.smooth_l1_loss(a,b) F.huber_loss(a,b)
        F.cosine_similarity(a,b) F.pairwise_distance(a,b) F.poisson_nll_loss(a,b)
        F.soft_margin_loss(a,b.sign()) F.hinge_embedding_loss(a,b.sign())
        F.gaussian_nll_loss(a,b,b.abs()+1) F.mse_loss(a,b,reduction='none')
        F.cross_entropy(a,b.softmax(1)) F.triplet_margin_loss(a,b,a+b)""",
    ),
    (
        "losses",
        "unit unit",
        """F.binary_cross_entropy(a,b) F.binary_cross_entropy_with_logits(a,b) F.kl_div(a.log(),b)
        F.multilabel_soft_margin_loss(a,b)""",
    ),
    (
        "losses",
        "normal:100000,10 class:100000",
        "F.cross_entropy(a,b) F.nll_loss(a,b) F.multi_margin_loss(a,b) !F.one_hot(b,10)",
    ),
    ("losses", "normal place:1000", "F.cross_entropy(a,b) F.cross_entropy(a,b,label_smoothing=.1)"),
    (
        "normalisation",
        "normal normal:1000 normal:1000",
        "F.layer_norm(a,(1000,),b,c) F.rms_norm(a,(1000,),b) F.batch_norm(a,None,None,b,c,True)",
    ),
    (
        "normalisation",
        f"normal:{IMAGES} normal:64 normal:64",
        """F.batch_norm(a,None,None,b,c,True) F.batch_norm(a,b,c*c+1) F.group_norm(a,8,b,c)
        F.instance_norm(a) F.local_response_norm(a,5) F.layer_norm(a,(64,32,32))""",
    ),
    (
        "pooling",
        f"normal:{IMAGES}",
        """F.max_pool2d(a,2) F.max_pool2d(a,3,2,1) F.avg_pool2d(a,2) F.avg_pool2d(a,3,2,1)
        F.adaptive_avg_pool2d(a,1) F.adaptive_avg_pool2d(a,7) F.adaptive_max_pool2d(a,7)
        F.lp_pool2d(a,2,2) F.max_pool2d(a,2,return_indices=True)[0]
        F.fractional_max_pool2d(a,2,output_size=16)""",
    ),
    ("pooling", f"normal:{SIGNALS}", "F.max_pool1d(a,2) F.avg_pool1d(a,4)"),
    ("pooling", f"normal:{VOLUMES}", "F.max_pool3d(a,2) F.avg_pool3d(a,2)"),
    (
        "images",
        f"normal:{IMAGES}",
        """F.interpolate(a,scale_factor=2) F.interpolate(a,scale_factor=2,mode='bilinear')
        F.interpolate(a,size=(20,20),mode='bicubic') F.interpolate(a,size=16,mode='area')
        F.pad(a,(1,1,1,1),mode='reflect') F.pad(a,(1,1,1,1),mode='replicate') F.pixel_shuffle(a,2)
        F.pad(a,(1,1,1,1),mode='circular') F.pixel_unshuffle(a,2) F.channel_shuffle(a,8)
        F.unfold(a,3,padding=1) F.fold(a.view(16,64,1024)[:,:63],(34,34),3)
        F.grid_sample(a,a[:,:2].permute(0,2,3,1).tanh()) F.dropout2d(a)""",
    ),
    ("convolutions", f"normal:{IMAGES} normal:64,64,3,3", "F.conv2d(a,b,padding=1) F.conv2d(a,b)"),
    ("convolutions", f"normal:{IMAGES} normal:64,1,3,3", "F.conv2d(a,b,padding=1,groups=64)"),
    ("convolutions", f"normal:{IMAGES} normal:64,64,1,1", "F.conv2d(a,b) F.conv2d(a,b,stride=2)"),
    ("convolutions", f"normal:{IMAGES} normal:64,32,2,2", "F.conv_transpose2d(a,b,stride=2)"),
    ("convolutions", f"normal:{SIGNALS} normal:32,32,5", "F.conv1d(a,b) F.conv_transpose1d(a,b)"),
    ("convolutions", f"normal:{VOLUMES} normal:16,16,3,3,3", "F.conv3d(a,b,padding=1)"),
    ("attention", "normal:16,8,128,64", "F.scaled_dot_product_attention(a,a,a)"),
    (
        "attention",
        "normal:16,8,128,64",
        "F.scaled_dot_product_attention(a,a,a,is_causal=True)",
    ),
    (
        "fourier",
        "normal",
        "T.fft.fft(a).real T.fft.rfft(a).real T.fft.fft2(a).real T.fft.irfft(a) T.fft.fftshift(a)",
    ),
    ("complex", "complex complex", "a*b a+b !abs(a) !T.angle(a) !T.exp(a) a@b !a.conj() !a.real"),
    (
        "random",
        "",
        """!T.rand(1000,1000) !T.randn(1000,1000) !T.randint(0,9,(1000,1000)) !T.randperm(1000000)
        !T.empty(1000,1000).exponential_() !T.empty(1000,1000).normal_(1.,2.)
        !T.empty(1000,1000).uniform_(-1,1) !T.empty(1000,1000).bernoulli_(0.3)""",
    ),
    (
        "creation",
        "",
        """!T.arange(1000000) !T.linspace(0,1,1000000) !T.zeros(1000,1000) !T.ones(1000,1000)
        !T.eye(1000) !T.full((1000,1000),2.5) !T.logspace(0,1,1000000)
        !T.tril_indices(1000,1000)""",
    ),
]


@dataclass
class Case:
    """One operator with its operands."""

    group: str
    name: str
    call: Callable[..., Any]
    operands: list[np.ndarray]
    backward: bool

    def step(self, lib: ModuleType, backward: bool) -> Callable[[], None]:
        """Calls the operator once, its result (or gradient) computed when it returns."""
        given = [lib.from_numpy(x.copy()) for x in self.operands]
        call, F = self.call, lib.nn.functional
        if not backward:

            def forward() -> None:
                with lib.no_grad():
                    out = call(lib, F, *given)
                    for x in out if isinstance(out, tuple) else (out,):
                        if isinstance(x, lib.Tensor):
                            x.data_ptr()

            return forward
        leaf = given[0].requires_grad_()
        seed = lib.ones_like(call(lib, F, *given).detach())

        def both() -> None:
            leaf.grad = None
            out = call(lib, F, *given)
            out.backward(seed)
            leaf.grad.data_ptr()

        return both


def cases() -> Iterator[Case]:
    """All of them, in order; operands depend on their place in the table alone."""
    for place, (group, kinds, expressions) in enumerate(CASES):
        g = np.random.default_rng(place)
        operands = []
        for kind in kinds.split():
            name, _, shape = kind.partition(":")
            sizes = tuple(int(n) for n in shape.split(",")) if shape else (SIDE, SIDE)
            operands.append(KINDS[name](g, sizes))
        names = "abc"[: len(operands)]
        for text in expressions.split():
            expression = text.removeprefix("!")
            body = expression
            if body.isidentifier():
                body = f"T.{body}({','.join(names)})"
            elif body.partition("(")[0].isidentifier():
                body = f"T.{body}"
            call = eval(f"lambda T, F{''.join(', ' + n for n in names)}: {body}")
            shapes = kinds if group in ("indexing", "broadcasting", "losses") else ""
            yield Case(
                group,
                f"{expression}  {shapes}".strip(),
                call,
                operands,
                not text.startswith("!") and bool(operands) and operands[0].dtype == np.float32,
            )


WARM_UP = 8
SECONDS = 0.3
# A turn: how long a side runs before its calls are counted, and how long they are (seconds). The
# other side's threads go on spinning for some milliseconds after its last call, on the processor
# that this side's second thread needs: nobody runs two libraries at once, so that is waited out.
BEFORE, COUNTED = 6e-3, 10e-3


def turn(step: Callable[[], None], clock: Callable[[], float]) -> list[float]:
    """Milliseconds of the counted calls of one turn, at least one."""
    end = time.perf_counter() + BEFORE
    while time.perf_counter() < end:
        step()
    times = []
    end += COUNTED
    while not times or time.perf_counter() < end:
        start = clock()
        step()
        times.append(1e3 * (clock() - start))
    return times


def measure(
    case: Case,
    backward: bool,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median milliseconds of PyTorch and Flambeau, in alternating turns."""
    steps = [case.step(lib, backward) for lib in (torch, flambeau)]
    for step in steps:
        for _ in range(WARM_UP):
            step()
    times: list[list[float]] = [[], []]
    turns = 0
    begin = time.perf_counter()
    while turns < 3 or (time.perf_counter() - begin < seconds):
        turns += 1
        for step, found in zip(steps, times, strict=True):
            found.append(statistics.median(turn(step, clock)))
    theirs, ours = (statistics.median(t) for t in times)
    return theirs, ours


def shown(times: tuple[float, float] | None) -> str:
    if times is None:
        return " | | "
    theirs, ours = times
    return f"{theirs:.3g} | {ours:.3g} | {theirs / ours:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="groups or names, by commas")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--cpu", action="store_true", help="processor time: the machine is shared")
    parser.add_argument("--output", type=Path, help="the table goes here, too")
    options = parser.parse_args()
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    for lib in (torch, flambeau):
        lib.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    wanted = [w for w in options.only.split(",") if w]
    write(
        f"PyTorch {torch.__version__}, {options.threads} threads; medians in ms"
        f"{' of processor time' * options.cpu}, ratio PyTorch / Flambeau (above 1 is faster).\n"
    )
    write("| group | operator | PyTorch | Flambeau | ratio | PyTorch, both | Flambeau | ratio |")
    write("| --- | --- | --- | --- | --- | --- | --- | --- |")
    ratios: dict[str, float] = {}
    failed: dict[str, str] = {}
    for case in cases():
        if wanted and not any(w in case.group or w in case.name for w in wanted):
            continue
        name = f"`{case.name}`"
        try:
            forward = measure(case, False, options.seconds, clock)
            both = measure(case, True, options.seconds, clock) if case.backward else None
        except Exception as e:
            failed[name] = f"{type(e).__name__}: {e}".partition("\n")[0]
            continue
        ratios[name] = forward[0] / forward[1]
        if both is not None:
            ratios[f"{name} backward"] = both[0] / both[1]
        write(f"| {case.group} | {name} | {shown(forward)} | {shown(both)} |")
    if ratios:
        mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
        write(f"\n{len(ratios)} measurements, geometric mean of the ratios {mean:.2f}.")
    for head, low, high in (("2", 0.0, 0.5), ("1", 0.5, 1.0)):
        slow = sorted((r, n) for n, r in ratios.items() if low <= r < high)
        names = ", ".join(f"{n} {r:.2f}" for r, n in slow) or "none"
        write(f"\nSlower than {head}x ({len(slow)}): {names}.")
    for name, why in failed.items():
        write(f"\nNot measured: {name}: {why}")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
