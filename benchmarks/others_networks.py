"""Networks on images and graphs for ``others.py``, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

Step = Callable[[int], float]
Array = np.ndarray


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> Array:
    return generator(seed).standard_normal(shape, np.float32)


def uniform(*shape: int, seed: int = 0) -> Array:
    return generator(seed).random(shape, np.float32)


def classes(n: int, *shape: int, seed: int = 1) -> Array:
    return generator(seed).integers(0, n, shape)


def vae(T: ModuleType) -> Step:
    """Kingma and Welling's on MNIST-like images: reparameterised with randn_like."""
    nn, F = T.nn, T.nn.functional

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(784, 400)
            self.fc21 = nn.Linear(400, 20)
            self.fc22 = nn.Linear(400, 20)
            self.fc3 = nn.Linear(20, 400)
            self.fc4 = nn.Linear(400, 784)

        def encode(self, x):
            h = F.relu(self.fc1(x))
            return self.fc21(h), self.fc22(h)

        def reparameterize(self, mu, logvar):
            std = T.exp(0.5 * logvar)
            eps = T.randn_like(std)
            return mu + eps * std

        def decode(self, z):
            return T.sigmoid(self.fc4(F.relu(self.fc3(z))))

        def forward(self, x):
            mu, logvar = self.encode(x.view(-1, 784))
            return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    images = T.from_numpy(uniform(512, 1, 28, 28))
    model = VAE()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def step(i):
        data = images[i % 4 * 128 : (i % 4 + 1) * 128]
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        bce = F.binary_cross_entropy(recon, data.view(-1, 784), reduction="sum")
        kld = -0.5 * T.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = bce + kld
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def gan(T: ModuleType) -> Step:
    """A DCGAN on 32x32 images: two optimizers, the fake detached for the discriminator."""
    nn = T.nn

    generate = nn.Sequential(
        nn.ConvTranspose2d(32, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
        nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip

    def weights_init(m):
        name = m.__class__.__name__
        if name.find("Conv") != -1:
            nn.init.normal_(m.weight, 0.0, 0.02)
        elif name.find("BatchNorm") != -1:
            nn.init.normal_(m.weight, 1.0, 0.02)
            nn.init.zeros_(m.bias)

    generate.apply(weights_init)
    judge.apply(weights_init)
    criterion = nn.BCELoss()
    optimizer_d = T.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = T.optim.Adam(generate.parameters(), lr=2e-4, betas=(0.5, 0.999))
    images = T.tensor(uniform(128, 1, 32, 32) * 2 - 1)

    def step(i):
        real = images[i % 4 * 32 : (i % 4 + 1) * 32]
        size = real.size(0)
        judge.zero_grad()
        label = T.full((size,), 1.0)
        output = judge(real).view(-1)
        loss_real = criterion(output, label)
        loss_real.backward()
        noise = T.randn(size, 32, 1, 1)
        fake = generate(noise)
        label.fill_(0.0)
        output = judge(fake.detach()).view(-1)
        loss_fake = criterion(output, label)
        loss_fake.backward()
        loss_d = loss_real + loss_fake
        optimizer_d.step()
        generate.zero_grad()
        label.fill_(1.0)
        output = judge(fake).view(-1)
        loss_g = criterion(output, label)
        loss_g.backward()
        optimizer_g.step()
        return loss_d.item() + loss_g.item()

    return step


def resnet_bf16(T: ModuleType) -> Step:
    """Residual blocks under autocast to bfloat16, AdamW and cosine annealing."""
    nn, F = T.nn, T.nn.functional

    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.down = None
            if stride != 1 or inside != outside:
                self.down = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )

        def forward(self, x):
            identity = x if self.down is None else self.down(x)
            out = F.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += identity
            return F.relu(out)

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = T.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    scheduler = T.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    x, y = T.tensor(normal(64, 3, 32, 32)), T.tensor(classes(10, 64))

    def step(i):
        at = slice(i % 4 * 16, (i % 4 + 1) * 16)
        optimizer.zero_grad(set_to_none=True)
        with T.autocast("cpu", dtype=T.bfloat16):
            loss = criterion(model(x[at]), y[at])
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.item()

    return step


def unet(T: ModuleType) -> Step:
    """A small U-Net: skips by cat, up by transposed convolutions, Dice beside cross-entropy."""
    nn = T.nn

    def double(inside, outside):
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(True),
            nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(True),
        )  # fmt: skip

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down1, self.down2, self.middle = double(1, 16), double(16, 32), double(32, 64)
            self.pool = nn.MaxPool2d(2)
            self.up2 = nn.ConvTranspose2d(64, 32, 2, stride=2)
            self.conv2 = double(64, 32)
            self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2)
            self.conv1 = double(32, 16)
            self.out = nn.Conv2d(16, 1, 1)

        def forward(self, x):
            a = self.down1(x)
            b = self.down2(self.pool(a))
            c = self.middle(self.pool(b))
            b = self.conv2(T.cat([self.up2(c), b], dim=1))
            a = self.conv1(T.cat([self.up1(b), a], dim=1))
            return self.out(a)

    model = UNet()
    optimizer = T.optim.RMSprop(model.parameters(), lr=1e-4, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    x = T.tensor(normal(8, 1, 64, 64))
    mask = T.tensor((uniform(8, 1, 64, 64) > 0.5).astype(np.float32))

    def step(i):
        at = slice(i % 2 * 4, (i % 2 + 1) * 4)
        optimizer.zero_grad()
        logits = model(x[at])
        p = T.sigmoid(logits)
        overlap = (p * mask[at]).sum(dim=(1, 2, 3))
        dice = 1 - (2 * overlap + 1) / (p.sum(dim=(1, 2, 3)) + mask[at].sum(dim=(1, 2, 3)) + 1)
        loss = criterion(logits, mask[at]) + dice.mean()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.step()
        return loss.item()

    return step


def mobilenet(T: ModuleType) -> Step:
    """Inverted residuals with depthwise convolutions and squeeze-and-excitation."""
    nn = T.nn

    class Excite(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Sequential(
                nn.Conv2d(channels, channels // 4, 1), nn.ReLU(),
                nn.Conv2d(channels // 4, channels, 1), nn.Hardsigmoid(),
            )  # fmt: skip

        def forward(self, x):
            return x * self.fc(self.pool(x))

    class Inverted(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            wide = inside * 4
            self.residual = stride == 1 and inside == outside
            self.body = nn.Sequential(
                nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(),
                nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
                nn.BatchNorm2d(wide), nn.Hardswish(), Excite(wide),
                nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside),
            )  # fmt: skip

        def forward(self, x):
            return x + self.body(x) if self.residual else self.body(x)

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        Inverted(16, 16, 1), Inverted(16, 32, 2), Inverted(32, 32, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = T.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-5
    )
    scheduler = T.optim.lr_scheduler.StepLR(optimizer, 30, 0.98)
    criterion = nn.CrossEntropyLoss()
    x, y = T.tensor(normal(64, 3, 32, 32)), T.tensor(classes(10, 64))

    def step(i):
        at = slice(i % 2 * 32, (i % 2 + 1) * 32)
        optimizer.zero_grad()
        output = model(x[at])
        loss = criterion(output, y[at])
        loss.backward()
        optimizer.step()
        scheduler.step()
        correct = (output.argmax(1) == y[at]).sum().item()
        return loss.item() + correct

    return step


def simclr(T: ModuleType) -> Step:
    """A contrastive loss (NT-Xent) on two noisy views of each sample."""
    nn, F = T.nn, T.nn.functional
    encoder = nn.Sequential(nn.Linear(128, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))
    head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    parameters = list(encoder.parameters()) + list(head.parameters())
    optimizer = T.optim.Adam(parameters, lr=1e-3, weight_decay=1e-6)
    x = T.tensor(normal(256, 128))

    def info_nce(z1, z2, temperature=0.5):
        z = F.normalize(T.cat([z1, z2], dim=0), dim=1)
        n = z1.shape[0]
        similarity = z @ z.T / temperature
        mask = T.eye(2 * n, dtype=T.bool)
        similarity = similarity.masked_fill(mask, -9e15)
        target = T.arange(2 * n).roll(n)
        return F.cross_entropy(similarity, target)

    def step(i):
        batch = x[i % 4 * 64 : (i % 4 + 1) * 64]
        view1 = batch + 0.1 * T.randn_like(batch)
        view2 = F.dropout(batch, 0.2)
        loss = info_nce(head(encoder(view1)), head(encoder(view2)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def graph(seed: int = 0) -> tuple[Array, Array, Array]:
    """A random graph of 500 nodes with 2000 edges and loops: edges, features, classes."""
    edges = generator(seed).integers(0, 500, (2, 2000))
    edges = np.concatenate([edges, np.tile(np.arange(500), (2, 1))], axis=1)
    return edges, normal(500, 64), classes(7, 500)


def gcn(T: ModuleType) -> Step:
    """Kipf and Welling's graph convolution by index_add and scatter_add over edges."""
    nn, F = T.nn, T.nn.functional

    class GCNConv(nn.Module):
        def __init__(self, inside, outside):
            super().__init__()
            self.linear = nn.Linear(inside, outside, bias=False)
            self.bias = nn.Parameter(T.zeros(outside))

        def forward(self, x, edges):
            row, col = edges
            degree = T.zeros(x.size(0)).scatter_add_(0, col, T.ones(col.size(0)))
            norm = degree.pow(-0.5)
            weight = norm[row] * norm[col]
            x = self.linear(x)
            out = T.zeros_like(x).index_add_(0, col, x[row] * weight.unsqueeze(1))
            return out + self.bias

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = GCNConv(64, 32), GCNConv(32, 7)

        def forward(self, x, edges):
            x = F.relu(self.conv1(x, edges))
            x = F.dropout(x, training=self.training)
            return F.log_softmax(self.conv2(x, edges), dim=1)

    a, b, c = graph()
    edges, x, y = T.tensor(a), T.tensor(b), T.tensor(c)
    train = T.tensor(np.arange(500) < 140)
    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

    def step(i):
        model.train()
        optimizer.zero_grad()
        out = model(x, edges)
        loss = F.nll_loss(out[train], y[train])
        loss.backward()
        optimizer.step()
        model.eval()
        with T.no_grad():
            pred = model(x, edges).argmax(dim=1)
            correct = (pred[~train] == y[~train]).sum()
        return loss.item() + correct.item() / 360

    return step


def gat(T: ModuleType) -> Step:
    """Graph attention: a softmax over each node's edges, by scatter_reduce and scatter_add."""
    nn, F = T.nn, T.nn.functional

    class GATConv(nn.Module):
        def __init__(self, inside, outside, heads):
            super().__init__()
            self.heads, self.outside = heads, outside
            self.linear = nn.Linear(inside, heads * outside, bias=False)
            self.source = nn.Parameter(T.empty(1, heads, outside))
            self.target = nn.Parameter(T.empty(1, heads, outside))
            nn.init.xavier_uniform_(self.source)
            nn.init.xavier_uniform_(self.target)

        def forward(self, x, edges):
            src, dst = edges[0], edges[1]
            n = x.size(0)
            h = self.linear(x).view(n, self.heads, self.outside)
            score = (h * self.source).sum(-1)[src] + (h * self.target).sum(-1)[dst]
            score = F.leaky_relu(score, 0.2)
            index = dst.unsqueeze(-1).expand_as(score)
            top = T.full((n, self.heads), float("-inf")).scatter_reduce(
                0, index, score.detach(), "amax"
            )
            alpha = (score - top[dst]).exp()
            total = T.zeros(n, self.heads).scatter_add(0, index, alpha)
            alpha = alpha / (total[dst] + 1e-16)
            message = h[src] * alpha.unsqueeze(-1)
            out = T.zeros(n, self.heads, self.outside).index_add(0, dst, message)
            return out.flatten(1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = GATConv(64, 8, 8), GATConv(64, 7, 1)

        def forward(self, x, edges):
            x = F.elu(self.conv1(F.dropout(x, 0.6, self.training), edges))
            return self.conv2(F.dropout(x, 0.6, self.training), edges)

    a, b, c = graph()
    edges, x, y = T.tensor(a), T.tensor(b), T.tensor(c)
    index = T.tensor(np.arange(140))
    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)

    def step(i):
        optimizer.zero_grad()
        out = model(x, edges)
        loss = F.cross_entropy(out[index], y[index])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


NETWORKS = (vae, gan, resnet_bf16, unet, mobilenet, simclr, gcn, gat)
