"""Programs in the manner of public ones (examples, tutorials, course notes), run on both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[1] / "src")
NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?|-?\d+e[-+]?\d+|-?\d+")
RELATIVE = 3e-4

PROGRAMS = {
    # pytorch/examples, time_sequence_prediction: data from NumPy, LBFGS with a closure.
    "time_sequence": """
        import numpy as np
        import torch
        from torch import nn, optim

        class Sequence(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm1 = nn.LSTMCell(1, 7)
                self.lstm2 = nn.LSTMCell(7, 7)
                self.linear = nn.Linear(7, 1)

            def forward(self, input, future=0):
                outputs = []
                h, c, h2, c2 = (torch.zeros(input.size(0), 7, dtype=torch.double) for _ in "1234")
                for input_t in input.split(1, dim=1):
                    h, c = self.lstm1(input_t, (h, c))
                    h2, c2 = self.lstm2(h, (h2, c2))
                    output = self.linear(h2)
                    outputs += [output]
                for _ in range(future):
                    h, c = self.lstm1(output, (h, c))
                    h2, c2 = self.lstm2(h, (h2, c2))
                    output = self.linear(h2)
                    outputs += [output]
                return torch.cat(outputs, dim=1)

        torch.manual_seed(0)
        rng = np.random.RandomState(2)
        x = np.arange(12) + rng.randint(-80, 80, 9)[:, None]
        data = np.sin(x / 20.0).astype("float64")
        torch.save(data, open("traindata.pt", "wb"))
        data = torch.load("traindata.pt", weights_only=False)
        input, target = torch.from_numpy(data[3:, :-1]), torch.from_numpy(data[3:, 1:])
        seq = Sequence().double()
        criterion = nn.MSELoss()
        optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=5)
        for step in range(2):
            def closure():
                optimizer.zero_grad()
                loss = criterion(seq(input), target)
                print("loss:", loss.item())
                loss.backward()
                return loss
            optimizer.step(closure)
            with torch.no_grad():
                print(seq(torch.from_numpy(data[:3, :-1]), future=5).numpy()[:, -1])
    """,
    # The data loading tutorial, with workers that augment.
    "loading": """
        import math, random
        import numpy as np
        import torch
        from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

        class RandomCrop:
            def __init__(self, size):
                self.size = size

            def __call__(self, sample):
                image, landmarks = sample["image"], sample["landmarks"]
                top = np.random.randint(0, image.shape[0] - self.size)
                left = random.randrange(image.shape[1] - self.size)
                image = image[top : top + self.size, left : left + self.size]
                return {"image": image, "landmarks": landmarks - [left, top]}

        class ToTensor:
            def __call__(self, sample):
                image = sample["image"].transpose((2, 0, 1)).copy()
                noise = torch.randn(1)
                return {"image": torch.from_numpy(image), "noise": noise,
                        "landmarks": torch.from_numpy(sample["landmarks"])}

        class Faces(Dataset):
            def __init__(self, transforms):
                rng = np.random.RandomState(0)
                self.images = rng.randint(0, 255, (10, 20, 18, 3), dtype=np.uint8)
                self.landmarks = rng.rand(10, 4, 2) * 18
                self.transforms = transforms

            def __len__(self):
                return len(self.images)

            def __getitem__(self, i):
                sample = {"image": self.images[i], "landmarks": self.landmarks[i]}
                for transform in self.transforms:
                    sample = transform(sample)
                return sample

        def seed_worker(worker_id):
            seed = torch.initial_seed() % 2**32
            np.random.seed(seed)
            random.seed(seed)

        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        faces = Faces([RandomCrop(12), ToTensor()])
        g = torch.Generator()
        g.manual_seed(0)
        for options in ({}, {"num_workers": 2}, {"num_workers": 2, "generator": g,
                        "worker_init_fn": seed_worker, "persistent_workers": True}):
            loader = DataLoader(faces, batch_size=4, shuffle=True, **options)
            for _ in range(2):
                for batch in loader:
                    print(batch["image"].shape, batch["image"].float().mean(),
                          batch["landmarks"].mean(), batch["noise"].flatten())

        class Stream(IterableDataset):
            def __iter__(self):
                info = get_worker_info()
                if info is None:
                    return iter(range(3, 12))
                share = math.ceil(9 / info.num_workers)
                return iter(range(12)[3 + info.id * share :][:share])

        for workers in (0, 1, 2):
            print([b.tolist() for b in DataLoader(Stream(), batch_size=2, num_workers=workers)])
        print(torch.rand(2), random.random(), np.random.rand())
    """,
    # A model of Hugging Face's kind: configuration, weights as safetensors, generation.
    "pretrained": """
        import json, os
        from dataclasses import asdict, dataclass
        import torch
        from torch import nn
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        @dataclass
        class Config:
            hidden_size: int = 16
            vocab_size: int = 20
            layers: int = 2

        class RMSNorm(nn.Module):
            def __init__(self, size, eps=1e-6):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(size))
                self.eps = eps

            def forward(self, x):
                variance = x.float().pow(2).mean(-1, keepdim=True)
                return self.weight * (x * torch.rsqrt(variance + self.eps)).to(x.dtype)

            def extra_repr(self):
                return f"{tuple(self.weight.shape)}, eps={self.eps}"

        class Layer(nn.Module):
            def __init__(self, c):
                super().__init__()
                self.qkv = nn.Linear(c.hidden_size, 3 * c.hidden_size, bias=False)
                self.norm = RMSNorm(c.hidden_size)

            def forward(self, x):
                b, s, e = x.shape
                q, k, v = self.qkv(self.norm(x)).view(b, s, 3, 2, e // 2).permute(2, 0, 3, 1, 4)
                y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                return x + y.transpose(1, 2).reshape(b, s, e)

        class Model(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.config = config
                self.embed = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
                self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
                self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
                self.apply(self.init)

            def init(self, module):
                if isinstance(module, (nn.Linear, nn.Embedding)):
                    module.weight.data.normal_(mean=0.0, std=0.2)

            def forward(self, ids):
                x = self.embed(ids)
                for layer in self.layers:
                    x = layer(x)
                return self.head(x)

            def save_pretrained(self, folder):
                os.makedirs(folder, exist_ok=True)
                with open(f"{folder}/config.json", "w") as f:
                    json.dump(asdict(self.config), f)
                state = {k: v.contiguous() for k, v in self.state_dict().items()}
                save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})

            @classmethod
            def from_pretrained(cls, folder):
                model = cls(Config(**json.load(open(f"{folder}/config.json"))))
                with safe_open(f"{folder}/model.safetensors", framework="pt", device="cpu") as f:
                    state = {k: f.get_tensor(k) for k in f.keys()}
                    print(f.metadata(), sorted(state)[:2])
                print(model.load_state_dict(state))
                return model.eval()

            @torch.inference_mode()
            def generate(self, ids, count):
                for _ in range(count):
                    probs = self(ids)[:, -1].softmax(-1)
                    ids = torch.cat([ids, torch.multinomial(probs, num_samples=1)], dim=-1)
                return ids

        torch.manual_seed(0)
        model = Model(Config())
        print(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        ids = torch.randint(1, 20, (3, 8))
        for _ in range(4):
            logits = model(ids)
            loss = nn.CrossEntropyLoss()(logits[:, :-1].reshape(-1, 20), ids[:, 1:].reshape(-1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            print(loss.item())
        model.save_pretrained("model")
        again = Model.from_pretrained("model")
        print(again.generate(ids[:2, :3], 6).tolist(), again.to(torch.bfloat16)(ids).dtype)
        print(load_file("model/model.safetensors")["head.weight"].equal(model.head.weight))
        storage = model.head.weight.untyped_storage()
        print(storage.nbytes(), len(storage), storage.device, type(storage).__name__)
        print(storage.data_ptr() == model.head.weight[1:].untyped_storage().data_ptr())
        print(torch.arange(4).view(dtype=torch.int32), torch.arange(6).view(size=(2, 3)))
    """,
    # A learner with callbacks and hooks, as in the courses of fast.ai.
    "learner": """
        from functools import partial
        import torch
        import torch.nn.functional as F
        from torch import nn, optim, tensor

        class Cancel(Exception):
            pass

        class Learner:
            def __init__(self, model, dls, loss_func, cbs, opt_func=optim.SGD):
                self.model, self.dls, self.loss_func = model, dls, loss_func
                self.cbs, self.opt_func = cbs, opt_func

            def callback(self, name):
                for cb in self.cbs:
                    getattr(cb, name, lambda learner: None)(self)

            def one_epoch(self, train):
                self.model.train(train)
                for self.batch in self.dls[0 if train else 1]:
                    self.preds = self.model(self.batch[0])
                    self.loss = self.loss_func(self.preds, self.batch[1])
                    if train:
                        self.loss.backward()
                        self.opt.step()
                        self.opt.zero_grad()
                    self.callback("after_batch")
                self.callback("after_epoch")

            def fit(self, n, lr):
                self.opt = self.opt_func(self.model.parameters(), lr)
                self.callback("before_fit")
                try:
                    for self.epoch in range(n):
                        self.one_epoch(True)
                        torch.no_grad()(self.one_epoch)(False)
                except Cancel:
                    print("cancelled")

        class Metrics:
            def __init__(self):
                self.losses, self.hits, self.ns = [], [], []

            def after_batch(self, learn):
                x, y = learn.batch
                self.losses.append(learn.loss.detach())
                self.hits.append((learn.preds.argmax(1) == y).float().mean())
                self.ns.append(len(x))

            def after_epoch(self, learn):
                ns = tensor(self.ns)
                mean = lambda values: (tensor(values) * ns).sum() / ns.sum()
                print(learn.epoch, learn.model.training, f"{mean(self.losses):.3f}",
                      f"{mean(self.hits):.3f}")
                self.__init__()

        class Schedule:
            def __init__(self, make):
                self.make = make

            def before_fit(self, learn):
                self.scheduler = self.make(learn.opt)

            def after_batch(self, learn):
                if learn.model.training:
                    self.scheduler.step()

        class Hook:
            def __init__(self, module, f):
                self.hook = module.register_forward_hook(partial(f, self))

            def __del__(self):
                self.hook.remove()

        def stats(hook, module, inp, out):
            found = hook.__dict__.setdefault("stats", ([], []))
            found[0].append(out.detach().mean())
            found[1].append(out.detach().abs().histc(10, 0, 4))

        class GeneralRelu(nn.Module):
            def __init__(self, leak=None, sub=None):
                super().__init__()
                self.leak, self.sub = leak, sub

            def forward(self, x):
                x = F.leaky_relu(x, self.leak) if self.leak is not None else F.relu(x)
                if self.sub is not None:
                    x -= self.sub
                return x

        torch.manual_seed(42)
        torch.set_printoptions(precision=3, linewidth=120, sci_mode=False)
        X, Y = torch.randn(96, 1, 10, 10), torch.randint(0, 4, (96,))
        X[torch.arange(96), 0, Y * 2] += 1

        class DL:
            def __init__(self, x, y, shuffle):
                self.x, self.y, self.shuffle = x, y, shuffle

            def __iter__(self):
                order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
                for j in order.split(24):
                    yield self.x[j], self.y[j]

        def conv(ni, nf):
            return nn.Sequential(nn.Conv2d(ni, nf, 3, 2, 1), GeneralRelu(0.1, 0.4))

        model = nn.Sequential(conv(1, 8), conv(8, 16), nn.Flatten(), nn.LazyLinear(4))
        model(X[:2])
        model.apply(lambda m: nn.init.kaiming_normal_(m.weight, a=0.1)
                    if isinstance(m, (nn.Conv2d, nn.Linear)) else None)
        print(model)
        hooks = [Hook(layer, stats) for layer in model[:2]]
        schedule = partial(optim.lr_scheduler.OneCycleLR, max_lr=0.3, total_steps=6)
        Learner(model, [DL(X[:72], Y[:72], True), DL(X[72:], Y[72:], False)], F.cross_entropy,
                [Metrics(), Schedule(schedule)], partial(optim.SGD, momentum=0.9)).fit(2, 0.1)
        print(torch.stack(hooks[0].stats[0]), torch.stack(hooks[1].stats[1]).sum(0))
    """,
    # The tutorials of torch.func and forward-mode differentiation.
    "derivatives": """
        import torch
        import torch.autograd.forward_ad as fwAD
        import torch.nn.functional as F
        from torch import nn
        from torch.func import functional_call, grad, hessian, jacrev, jvp, stack_module_state, vmap

        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
        data, targets = torch.randn(3, 1, 6, 6), torch.randint(5, (3,))
        params = {k: v.detach() for k, v in model.named_parameters()}

        def loss(params, sample, target):
            return F.cross_entropy(functional_call(model, params, (sample[None],)), target[None])

        for name, g in vmap(grad(loss), (None, 0, 0))(params, data, targets).items():
            print(name, g.shape, g.flatten(1).norm(dim=1))
        models = [nn.Linear(4, 2) for _ in range(3)]
        stacked, buffers = stack_module_state(models)
        x = torch.randn(3, 5, 4)
        print(vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)))(stacked, buffers, x)
              .sum(1))
        f = lambda w, x: F.linear(x, w).tanh()
        w, v = torch.randn(3, 4), torch.randn(4)
        print(jacrev(f, argnums=1)(w, v), hessian(f, argnums=1)(w, v)[0])
        print(jvp(grad(lambda x: x.sin().prod()), (v,), (torch.ones(4),))[1])

        class Exp(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.result = x.exp()
                return ctx.result

            @staticmethod
            def jvp(ctx, tangent):
                out = tangent * ctx.result
                del ctx.result
                return out

        with fwAD.dual_level():
            dual = fwAD.make_dual(v, torch.ones(4))
            print(fwAD.unpack_dual(Exp.apply(dual)).tangent, fwAD.unpack_dual(dual.sin()).tangent)
        inp = torch.rand(2, 2, dtype=torch.double, requires_grad=True)
        print(torch.autograd.gradgradcheck(torch.sinh, inp), torch.rand(2))
    """,
    # What scripts print of types, losses and errors.
    "printed": """
        import copy, pickle
        import torch
        import torch.nn.functional as F
        from torch import nn
        from torch.nn.attention.bias import causal_lower_right, causal_upper_left

        torch.manual_seed(0)
        x = torch.randn(2, 3, requires_grad=True)
        print(type(x), type(x.shape), type(x.dtype), type(x.device), torch.typename(x))
        print(pickle.loads(pickle.dumps((x.shape, x.dtype, x.device))), copy.copy(x.shape))
        y = torch.ones(2, 3)
        for loss in (nn.L1Loss, nn.KLDivLoss, nn.PoissonNLLLoss, nn.HingeEmbeddingLoss):
            for reduction in ("mean", "sum", "none"):
                if loss is not nn.KLDivLoss or reduction != "mean":
                    print(loss(reduction=reduction)(x, y))
        print(nn.KLDivLoss(reduction="batchmean")(x, y))
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        net[0].register_full_backward_hook(lambda module, gi, go: None)
        print(net(x).grad_fn.next_functions[0][0].name())
        with torch.device("cpu"):
            print(torch.zeros(2).device, torch.get_default_device())
        q = torch.rand(1, 2, 3, 4)
        print(F.scaled_dot_product_attention(q, q, q, causal_upper_left(3, 3)).sum(),
              F.scaled_dot_product_attention(q[:, :, :2], q, q, causal_lower_right(2, 3)).sum())
        print(nn.LazyLinear(3), torch.functional.einsum("ij->j", y))
        for wrong in (lambda: torch.device("nowhere"), lambda: nn.Linear(3, 2)(torch.ones(2, 4)),
                      lambda: x.numpy(), lambda: torch.ones(2) + torch.ones(3),
                      lambda: nn.Embedding(3, 2)(torch.tensor([4])), lambda: nn.Module().weight):
            try:
                print(wrong())
            except Exception as e:
                print(type(e).__name__, str(e).split(chr(10))[0])
    """,
}

# Runs each program of a file in a folder of its own, and notes what it printed.
RUNNER = """
import contextlib, io, json, os, sys, traceback
programs, out = sys.argv[1:3]
found = {}
for name, text in json.load(open(programs)).items():
    folder = os.path.join(os.path.dirname(out), name)
    os.makedirs(folder)
    os.chdir(folder)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            exec(compile(text, name, "exec"), {"__name__": "__main__"})
        except Exception:
            traceback.print_exc(file=shown)
    found[name] = shown.getvalue()
    import torch
    torch.set_printoptions(profile="default")
json.dump(found, open(out, "w"))
"""


def ran(folder: Path, *command: str) -> dict[str, str]:
    folder.mkdir()
    script, programs, out = folder / "run.py", folder / "programs.json", folder / "out.json"
    script.write_text(RUNNER)
    texts = {name: re.sub(r"(?m)^ {8}", "", text) for name, text in PROGRAMS.items()}
    programs.write_text(json.dumps(texts))
    done = subprocess.run(
        [sys.executable, *command, str(script), str(programs), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the compiler failed" not in done.stderr, done.stderr
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    ours = ran(folder / "flambeau", "-m", "flambeau", "run")
    return ours, ran(folder / "torch")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_public_program_prints_what_it_does_on_pytorch(printed, name):
    ours, theirs = (side[name] for side in printed)
    assert "Traceback" not in theirs
    text = [re.sub(r"\s+", " ", NUMBER.sub("#", side)) for side in (ours, theirs)]
    assert text[0] == text[1], ours
    numbers = [list(map(float, NUMBER.findall(side))) for side in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=RELATIVE, abs=RELATIVE)
