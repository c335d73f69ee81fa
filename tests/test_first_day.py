"""What somebody writes on a first day with PyTorch, run unchanged on both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[1] / "src")
NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")
RELATIVE = 1e-3

# Numbers of these are exact: they are the script's own, or come from few roundings.
EXACT = {
    "tensors": """
        import torch
        x = torch.tensor([[1, 2, 3], [4, 5, 6]])
        print(x, x.shape, x.dtype, x.size(0), x.numel(), x.ndim)
        y = x.float()
        print(y.mean(), y.sum(dim=0), y.max(dim=1), y.argmax())
        print(y @ y.T)
        print(x[:, 1], x[0], x[-1, ::2], x[x > 2])
        print(torch.zeros(2, 3), torch.ones(2, dtype=torch.int32), torch.eye(2))
        print(torch.arange(0, 10, 2), torch.linspace(0, 1, 5), torch.full((2,), 7.0))
        print(x.reshape(3, 2), x.view(-1), x.t(), x.unsqueeze(0).shape, x.permute(1, 0).shape)
        print(torch.cat([x, x], dim=1), torch.stack([x, x]).shape)
        print(y.numpy(), torch.from_numpy(y.numpy()), y.tolist(), y[0, 0].item())
        y[0] = 0
        y.add_(1)
        print(y, y.std(), y.norm(), (y > 2).sum(), torch.where(y > 2, y, -y))
        print(x.to(torch.float64), x.type(torch.LongTensor).dtype, x / 2, x // 2, x % 2, x ** 2)
        torch.manual_seed(0)
        print(torch.rand(2, 2), torch.randn(3), torch.randint(0, 10, (5,)), torch.randperm(6))
        a, b = torch.split(torch.arange(6), [2, 4])
        print(a, b, torch.chunk(torch.arange(6), 3), torch.sort(torch.tensor([3, 1, 2])))
        print(torch.topk(torch.tensor([1.0, 5.0, 3.0]), 2), torch.unique(torch.tensor([1, 2, 2])))
        print(torch.tensor(3.14), torch.tensor([]), torch.tensor([1e-8, 1e8]), torch.tensor(True))
        print(torch.tensor([1.5, float("nan"), float("inf")]), torch.randn(1000).shape)
        print(f"{torch.tensor(2.5):.2f} {torch.tensor([1, 2])}", repr(torch.Size([1, 2])))
        print(torch.cuda.is_available(), torch.device("cpu"), x.device, x.is_contiguous())
        for row in x:
            print(row.tolist(), end=" ")
        print(len(x), 5 in x, bool((x == x).all()), torch.equal(x, x), torch.allclose(y, y + 1e-9))
        big = torch.arange(10000.0).reshape(100, 100)
        print(big)
        print(torch.einsum("ij,kj->ik", y, y), torch.outer(y[0], y[1]), x.sum().item())
    """,
    "autograd": """
        import torch
        x = torch.tensor([2.0, 3.0], requires_grad=True)
        y = x ** 2 + 3 * x
        print(y, y.grad_fn.__class__.__name__, y.requires_grad, x.is_leaf, y.is_leaf)
        y.sum().backward()
        print(x.grad)
        y = (x * 2).sum()
        y.backward()
        print(x.grad)
        x.grad.zero_()
        with torch.no_grad():
            z = x * 2
        print(z.requires_grad, x.detach(), x.detach().requires_grad)
        w = torch.ones(3, requires_grad=True)
        v = w * 2
        v.backward(torch.tensor([1.0, 0.1, 0.01]))
        print(w.grad)
        a = torch.tensor(1.0, requires_grad=True)
        b = a ** 3
        (g,) = torch.autograd.grad(b, a, create_graph=True)
        (h,) = torch.autograd.grad(g, a)
        print(g, h)
        try:
            b.backward()
            b.backward()
        except RuntimeError as error:
            print("again:", str(error)[:60])
        q = torch.randn(3)
        print(q.grad, q.requires_grad_().requires_grad)

        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x ** 3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad * 3 * x ** 2

        p = torch.tensor([1.0, 2.0], requires_grad=True)
        out = Cube.apply(p)
        print(out)
        out.sum().backward()
        print(p.grad)
        print(torch.autograd.functional.jacobian(lambda t: t ** 2, torch.tensor([1.0, 2.0])))
        handle = p.register_hook(lambda grad: print("hook", grad))
        (p * 3).sum().backward()
        handle.remove()
        print(p.grad)
    """,
    "hooks and state": """
        import torch
        import torch.nn as nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Linear(3, 4)
                self.norm = nn.BatchNorm1d(4)
                self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
                self.named = nn.ModuleDict({"out": nn.Linear(4, 1, bias=False)})
                self.scale = nn.Parameter(torch.ones(1))
                self.register_buffer("steps", torch.tensor(0))

            def forward(self, x):
                x = torch.relu(self.norm(self.first(x)))
                for block in self.blocks:
                    x = x + block(x)
                self.steps += 1
                return self.scale * self.named["out"](x)

        torch.manual_seed(0)
        net = Net()
        print(net)
        shapes = []
        handles = [m.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape)))
                   for m in net.modules() if isinstance(m, nn.Linear)]
        net.first.register_full_backward_hook(lambda m, gi, go: print("back", go[0].shape))
        net.register_forward_pre_hook(lambda m, args: print("in", args[0].shape))
        net(torch.randn(5, 3)).sum().backward()
        for handle in handles:
            handle.remove()
        print(shapes, net.steps)
        for name, value in net.state_dict().items():
            print(name, tuple(value.shape), value.dtype)
        print([n for n, _ in net.named_parameters()], [n for n, _ in net.named_buffers()])
        print([n for n, _ in net.named_modules()], [n for n, _ in net.named_children()])
        print(sum(p.numel() for p in net.parameters() if p.requires_grad))
        other = Net()
        print(other.load_state_dict(net.state_dict()))
        print(all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters())))
        try:
            net.load_state_dict({"first.weight": torch.ones(2, 2)}, strict=False)
        except RuntimeError as error:
            print(error)
        net.apply(lambda m: nn.init.ones_(m.weight) if isinstance(m, nn.Linear) else None)
        print(net.first.weight)
        net.eval()
        print(net.training, net.norm.training, net.double().first.weight.dtype)
    """,
}

CLOSE = {
    "data and training": """
        import torch
        from torch import nn, optim
        from torch.utils.data import DataLoader, Dataset, random_split

        class Circle(Dataset):
            def __init__(self, n):
                g = torch.Generator().manual_seed(1)
                self.x = torch.rand(n, 2, generator=g) * 2 - 1
                self.y = (self.x.pow(2).sum(1) < 0.5).long()

            def __len__(self):
                return len(self.x)

            def __getitem__(self, i):
                return self.x[i], self.y[i]

        for name in ("SGD", "Adam"):
            torch.manual_seed(0)
            train, test = random_split(Circle(200), [160, 40])
            loader = DataLoader(train, batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
            criterion = nn.CrossEntropyLoss()
            if name == "SGD":
                optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
            else:
                optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4)
            scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
            for epoch in range(5):
                running = 0.0
                for inputs, labels in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(inputs), labels)
                    loss.backward()
                    optimizer.step()
                    running += loss.item() * len(inputs)
                scheduler.step()
                print(f"epoch {epoch}: loss {running / len(train):.4f}", scheduler.get_last_lr())
            print(optimizer)
            model.eval()
            correct = 0
            with torch.no_grad():
                for inputs, labels in DataLoader(test, batch_size=16):
                    predicted = model(inputs).argmax(dim=1)
                    correct += (predicted == labels).sum().item()
            print("accuracy", correct / len(test))
    """,
    "convolutions": """
        import torch
        import torch.nn as nn
        import torch.nn.functional as F

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
                self.bn1 = nn.BatchNorm2d(4)
                self.conv2 = nn.Conv2d(4, 8, 3)
                self.pool = nn.MaxPool2d(2, 2)
                self.drop = nn.Dropout(0.0)
                self.fc = nn.Linear(8 * 3 * 3, 3)

            def forward(self, x):
                x = self.pool(F.relu(self.bn1(self.conv1(x))))
                x = F.relu(self.conv2(x))
                x = F.adaptive_avg_pool2d(x, 3)
                x = self.drop(torch.flatten(x, 1))
                return F.log_softmax(self.fc(x), dim=1)

        torch.manual_seed(0)
        net = Net()
        print(net)
        images, labels = torch.randn(12, 1, 12, 12), torch.arange(12) % 3
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        net.train()
        for step in range(10):
            optimizer.zero_grad()
            loss = F.nll_loss(net(images), labels)
            loss.backward()
            optimizer.step()
            print(step, loss.item())
        net.eval()
        with torch.no_grad():
            out = net(images)
        print(out[:2].exp(), out.exp().sum(1))
        print(net.bn1.running_mean, net.bn1.num_batches_tracked)
        print((out.argmax(1) == labels).float().mean())
        net.train()
        drop = nn.Dropout(0.5)
        kept = drop(torch.ones(1000))
        print(set(kept.tolist()) == {0.0, 2.0}, 350 < (kept > 0).sum().item() < 650)
        drop.eval()
        print(torch.equal(drop(torch.ones(3)), torch.ones(3)))
    """,
    "text": """
        import torch
        import torch.nn as nn
        from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

        texts = ["good great fine", "bad awful", "great good", "awful poor bad bad", "fine"]
        labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
        vocabulary = {w: i + 1 for i, w in enumerate(sorted({w for t in texts for w in t.split()}))}
        ids = [torch.tensor([vocabulary[w] for w in t.split()]) for t in texts]
        lengths = torch.tensor([len(i) for i in ids])
        batch = pad_sequence(ids, batch_first=True)
        print(batch, lengths)

        class Classifier(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.embedding = nn.Embedding(n, 8, padding_idx=0)
                self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True)
                self.fc = nn.Linear(12, 1)

            def forward(self, x, lengths):
                packed = pack_padded_sequence(
                    self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
                _, (h, c) = self.lstm(packed)
                return self.fc(torch.cat([h[-2], h[-1]], dim=1)).squeeze(1)

        torch.manual_seed(0)
        model = Classifier(len(vocabulary) + 1)
        print(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        criterion = nn.BCEWithLogitsLoss()
        for epoch in range(15):
            optimizer.zero_grad()
            loss = criterion(model(batch, lengths), labels)
            loss.backward()
            optimizer.step()
            if epoch % 3 == 0:
                print(epoch, round(loss.item(), 5))
        print(torch.sigmoid(model(batch, lengths)))
        print(model.embedding.weight[0], model.embedding.weight.grad[0])
    """,
    "checkpoints": """
        import os, tempfile
        import torch
        from torch import nn

        # Compared bit for bit below: no step may be interpreted here and compiled there.
        torch.use_deterministic_algorithms(True)

        def build():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
            return model, optimizer, scheduler

        x = torch.linspace(-1, 1, 20).reshape(10, 2)
        y = x.sum(1, keepdim=True) ** 2

        def train(model, optimizer, scheduler, epochs):
            for epoch in epochs:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step()
                print(epoch, loss.item())

        parts = build()
        train(*parts, range(6))
        again = build()
        train(*again, range(3))
        path = os.path.join(tempfile.mkdtemp(), "model.pt")
        torch.save({"epoch": 3, "model": again[0].state_dict(), "optimizer": again[1].state_dict(),
                    "scheduler": again[2].state_dict(), "rng": torch.get_rng_state()}, path)
        resumed = build()
        checkpoint = torch.load(path, weights_only=True)
        print(sorted(checkpoint), checkpoint["epoch"], checkpoint["optimizer"]["param_groups"])
        print(resumed[0].load_state_dict(checkpoint["model"]))
        resumed[1].load_state_dict(checkpoint["optimizer"])
        resumed[2].load_state_dict(checkpoint["scheduler"])
        train(*resumed, range(checkpoint["epoch"], 6))
        pairs = zip(parts[0].parameters(), resumed[0].parameters())
        print(all(torch.equal(a, b) for a, b in pairs))
        torch.save(resumed[0], path)
        whole = torch.load(path, weights_only=False)
        print(whole, torch.equal(whole(x), resumed[0](x)))
    """,
    "transfer": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        for p in backbone.parameters():
            p.requires_grad = False
        before = [p.clone() for p in backbone.parameters()]
        model = nn.Sequential(backbone, nn.Linear(8, 3))
        print(sum(p.numel() for p in model.parameters() if p.requires_grad))
        optimizer = torch.optim.SGD(
            [{"params": model[1].weight, "lr": 0.1}, {"params": [model[1].bias]}],
            lr=0.01, momentum=0.9)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for step in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            print(loss.item())
        print(all(torch.equal(a, b) for a, b in zip(before, backbone.parameters())))
        print([p.grad is None for p in model.parameters()])
        for p in backbone[2].parameters():
            p.requires_grad_(True)
        optimizer.add_param_group({"params": backbone[2].parameters(), "lr": 0.001})
        print([(g["lr"], len(g["params"])) for g in optimizer.param_groups])
        for step in range(4):
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            print(loss.item())
        print([torch.equal(a, b) for a, b in zip(before, backbone.parameters())])
        with torch.no_grad():
            model[1].weight.mul_(0.5)
            model[1].bias.data.fill_(0.0)
        print(model[1].weight.abs().mean(), model[1].bias)
    """,
    "adversaries": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        G = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        D = nn.Sequential(nn.Linear(1, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Sigmoid())
        opt_g = torch.optim.Adam(G.parameters(), lr=0.01, betas=(0.5, 0.999))
        opt_d = torch.optim.Adam(D.parameters(), lr=0.01, betas=(0.5, 0.999))
        bce = nn.BCELoss()
        ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
        for step in range(12):
            real = torch.randn(16, 1) * 0.5 + 3
            fake = G(torch.randn(16, 2))
            opt_d.zero_grad()
            loss_d = bce(D(real), ones) + bce(D(fake.detach()), zeros)
            loss_d.backward()
            opt_d.step()
            opt_g.zero_grad()
            loss_g = bce(D(fake), ones)
            loss_g.backward()
            opt_g.step()
            if step % 2 == 0:
                print(f"{step} {loss_d.item():.4f} {loss_g.item():.4f} {fake.mean().item():.4f}")
    """,
    "accumulation": """
        import torch
        from torch import nn
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.LayerNorm(10), nn.Linear(10, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        x, y = torch.randn(24, 5), torch.randn(24, 1)
        optimizer.zero_grad()
        for i in range(12):
            part = slice(i % 6 * 4, i % 6 * 4 + 4)
            loss = nn.functional.smooth_l1_loss(model(x[part]), y[part]) / 3
            loss.backward()
            if (i + 1) % 3 == 0:
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                print(i, loss.item(), norm)
                optimizer.step()
                optimizer.zero_grad()
        model(x).mean().backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)
        print(max(p.grad.abs().max() for p in model.parameters()))
        print(nn.utils.parameters_to_vector(model.parameters()).shape)
    """,
    "checkpointing and precision": """
        import torch
        from torch import nn
        from torch.utils.checkpoint import checkpoint, checkpoint_sequential
        torch.manual_seed(0)
        block = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
        x = torch.randn(3, 4, requires_grad=True)
        checkpoint(block, x, use_reentrant=False).sum().backward()
        kept = [p.grad.clone() for p in block.parameters()]
        block.zero_grad()
        block(x).sum().backward()
        print(all(torch.allclose(a, p.grad) for a, p in zip(kept, block.parameters())), x.grad)
        print(checkpoint_sequential(block, 2, x, use_reentrant=False).shape)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
        for step in range(4):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = block(x)
                loss = nn.functional.mse_loss(out, torch.ones(3, 4))
            print(out.dtype, loss.dtype, round(loss.item(), 1), block[0].weight.dtype)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(block.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        print(scaler.get_scale(), scaler.is_enabled(), torch.is_autocast_enabled("cpu"))
    """,
    "reinforcement": """
        import torch
        from torch import nn
        from torch.distributions import Categorical, Normal, kl_divergence
        torch.manual_seed(0)
        policy = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(dim=-1))
        optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
        for episode in range(8):
            state, logs, rewards = torch.zeros(2), [], []
            for t in range(10):
                m = Categorical(policy(state))
                action = m.sample()
                logs.append(m.log_prob(action))
                state = state + torch.tensor([1.0, -1.0]) * (action.item() * 2 - 1) * 0.1
                rewards.append(state[0].item())
            returns, R = [], 0.0
            for r in rewards[::-1]:
                R = r + 0.9 * R
                returns.insert(0, R)
            returns = torch.tensor(returns)
            returns = (returns - returns.mean()) / (returns.std() + 1e-6)
            loss = torch.stack([-l * r for l, r in zip(logs, returns)]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(episode, round(sum(rewards), 3), f"{loss.item():.3f}")
        print(m, m.probs, m.entropy(), kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0)))
    """,
}


def run(path: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command, str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=path.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    # Where a warning points to is not compared: its text is.
    warned = re.findall(r"\w*Warning: .*", done.stderr)
    return "\n".join([done.stdout, *warned])


def both(tmp_path: Path, code: str) -> tuple[str, str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return run(path, "-m", "flambeau", "run"), run(path)


@pytest.mark.parametrize("name", EXACT)
def test_prints_the_same(name: str, tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, EXACT[name])
    assert ours == theirs


@pytest.mark.parametrize("name", CLOSE)
def test_prints_the_same_to_rounding(name: str, tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, CLOSE[name])
    # Columns of a printed tensor are as wide as its widest number.
    squeezed = [" ".join(NUMBER.sub("#", text).split()) for text in (ours, theirs)]
    assert squeezed[0] == squeezed[1]
    for mine, expected in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
        assert float(mine) == pytest.approx(float(expected), rel=RELATIVE, abs=2e-4)
