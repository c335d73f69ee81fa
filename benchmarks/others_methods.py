"""Methods beyond supervised networks for ``others.py``, as people write them."""

from __future__ import annotations

import copy
from types import ModuleType

import numpy as np
from others_networks import Step, classes, generator, normal, uniform


def factorisation(T: ModuleType) -> Step:
    """Ratings from embeddings of users and items with biases and an L2 penalty."""
    nn = T.nn

    class MF(nn.Module):
        def __init__(self):
            super().__init__()
            self.user, self.item = nn.Embedding(1000, 32), nn.Embedding(500, 32)
            self.user_bias, self.item_bias = nn.Embedding(1000, 1), nn.Embedding(500, 1)
            self.mean = nn.Parameter(T.zeros(1))

        def forward(self, u, v):
            p, q = self.user(u), self.item(v)
            dot = (p * q).sum(1)
            bias = self.user_bias(u).squeeze(1) + self.item_bias(v).squeeze(1)
            penalty = p.pow(2).sum() + q.pow(2).sum()
            return dot + bias + self.mean, penalty

    model = MF()
    optimizer = T.optim.Adagrad(model.parameters(), lr=0.05)
    u, v = T.tensor(classes(1000, 2048)), T.tensor(classes(500, 2048, seed=2))
    ratings = T.tensor(uniform(2048) * 4 + 1)

    def step(i):
        at = slice(i % 4 * 512, (i % 4 + 1) * 512)
        predicted, penalty = model(u[at], v[at])
        loss = ((predicted - ratings[at]) ** 2).mean() + 1e-5 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def dqn(T: ModuleType) -> Step:
    """Deep Q-learning: gather, a target network moved softly, Huber loss, clipped gradients."""
    nn, F = T.nn, T.nn.functional

    class QNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(4, 128), nn.Linear(128, 128), nn.Linear(128, 2)

        def forward(self, x):
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    policy, target = QNet(), QNet()
    target.load_state_dict(policy.state_dict())
    optimizer = T.optim.AdamW(policy.parameters(), lr=1e-4, amsgrad=True)
    criterion = nn.SmoothL1Loss()
    rng = generator(1)
    memory = []

    def act(state):
        if rng.random() < 0.1:
            return T.tensor([[int(rng.integers(2))]], dtype=T.long)
        with T.no_grad():
            return policy(state).max(1).indices.view(1, 1)

    def step(i):
        state = T.tensor(rng.standard_normal(4, np.float32)).unsqueeze(0)
        action = act(state)
        reward = T.tensor([float(action.item() == (state[0, 0].item() > 0))])
        following = T.tensor(rng.standard_normal(4, np.float32)).unsqueeze(0)
        memory.append((state, action, reward, following if rng.random() > 0.05 else None))
        if len(memory) > 2000:
            del memory[0]
        if len(memory) < 64:
            return 0.0
        picked = [memory[k] for k in rng.integers(0, len(memory), 64)]
        states, actions, rewards, nexts = zip(*picked, strict=True)
        mask = T.tensor([s is not None for s in nexts], dtype=T.bool)
        next_states = T.cat([s for s in nexts if s is not None])
        values = policy(T.cat(states)).gather(1, T.cat(actions))
        next_values = T.zeros(64)
        with T.no_grad():
            next_values[mask] = target(next_states).max(1).values
        expected = next_values * 0.99 + T.cat(rewards)
        loss = criterion(values, expected.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 100)
        optimizer.step()
        slow, fast = target.state_dict(), policy.state_dict()
        for key in fast:
            slow[key] = fast[key] * 0.005 + slow[key] * 0.995
        target.load_state_dict(slow)
        return loss.item()

    return step


def reinforce(T: ModuleType) -> Step:
    """Policy gradient: an action sampled a step from Categorical, episodes of varying length."""
    nn, F = T.nn, T.nn.functional
    Categorical = T.distributions.Categorical

    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.affine1, self.dropout = nn.Linear(4, 128), nn.Dropout(p=0.6)
            self.affine2 = nn.Linear(128, 2)

        def forward(self, x):
            x = F.relu(self.dropout(self.affine1(x)))
            return F.softmax(self.affine2(x), dim=1)

    policy = Policy()
    optimizer = T.optim.Adam(policy.parameters(), lr=1e-2)
    rng = generator(2)

    def step(i):
        log_probs, rewards = [], []
        for _ in range(int(rng.integers(5, 30))):
            state = T.from_numpy(rng.standard_normal(4)).float().unsqueeze(0)
            m = Categorical(policy(state))
            action = m.sample()
            log_probs.append(m.log_prob(action))
            rewards.append(1.0 + action.item())
        total, returns = 0.0, []
        for r in rewards[::-1]:
            total = r + 0.99 * total
            returns.insert(0, total)
        returns = T.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        losses = []
        for log_prob, value in zip(log_probs, returns, strict=True):
            losses.append(-log_prob * value)
        optimizer.zero_grad()
        loss = T.cat(losses).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def pinn(T: ModuleType) -> Step:
    """Burgers' equation: residual from first and second derivatives by autograd.grad."""
    nn = T.nn
    layers = [2, 32, 32, 32, 1]
    parts = []
    for a, b in zip(layers[:-1], layers[1:], strict=True):  # noqa: RUF007
        parts += [nn.Linear(a, b), nn.Tanh()]
    model = nn.Sequential(*parts[:-1])
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    x = T.tensor(uniform(256, 1) * 2 - 1, requires_grad=True)
    t = T.tensor(uniform(256, 1, seed=1), requires_grad=True)
    x0 = T.tensor(uniform(64, 1, seed=2) * 2 - 1)
    u0 = -T.sin(np.pi * x0)

    def grad(y, x):
        return T.autograd.grad(y, x, grad_outputs=T.ones_like(y), create_graph=True)[0]

    def step(i):
        optimizer.zero_grad()
        u = model(T.cat([x, t], dim=1))
        u_x, u_t = grad(u, x), grad(u, t)
        u_xx = grad(u_x, x)
        residual = u_t + u * u_x - 0.01 / np.pi * u_xx
        start = model(T.cat([x0, T.zeros_like(x0)], dim=1))
        loss = (residual**2).mean() + ((start - u0) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def neural_ode(T: ModuleType) -> Step:
    """A spiral fitted through ten Runge-Kutta steps of a learnt vector field."""
    nn = T.nn

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
            for m in self.net.modules():
                if isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, mean=0, std=0.1)
                    nn.init.constant_(m.bias, val=0)

        def forward(self, t, y):
            return self.net(y**3)

    def rk4(f, t, dt, y):
        k1 = f(t, y)
        k2 = f(t + dt / 2, y + dt / 2 * k1)
        k3 = f(t + dt / 2, y + dt / 2 * k2)
        k4 = f(t + dt, y + dt * k3)
        return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    field = Field()
    optimizer = T.optim.RMSprop(field.parameters(), lr=1e-3)
    times = T.linspace(0.0, 1.0, 11)
    start, true = T.tensor(normal(32, 2)), T.tensor(normal(11, 32, 2, seed=1))

    def step(i):
        optimizer.zero_grad()
        y, path = start, [start]
        for a, b in zip(times[:-1], times[1:], strict=True):  # noqa: RUF007
            y = rk4(field, a, b - a, y)
            path.append(y)
        loss = T.mean(T.abs(T.stack(path) - true))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def accumulation(T: ModuleType) -> Step:
    """Gradients of four micro-batches a step; the running loss read at each."""
    nn = T.nn
    model = nn.Sequential(
        nn.Linear(64, 128), nn.SiLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.SiLU(),
        nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = T.optim.NAdam(model.parameters(), lr=1e-3)
    x, y = T.tensor(normal(256, 64)), T.tensor(classes(10, 256))

    def step(i):
        running = 0.0
        optimizer.zero_grad()
        for k in range(4):
            at = slice(k * 64, (k + 1) * 64)
            loss = nn.functional.cross_entropy(model(x[at]), y[at]) / 4
            loss.backward()
            running += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return running

    return step


def ema(T: ModuleType) -> Step:
    """Averaged weights after each step, by hand over state_dict, and one-cycle learning rates."""
    nn = T.nn
    model = nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128), nn.LayerNorm(128),
        nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    average = copy.deepcopy(model)
    for p in average.parameters():
        p.requires_grad_(False)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = T.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=100000)
    x, y = T.tensor(normal(256, 64)), T.tensor(classes(10, 256))

    def step(i):
        at = slice(i % 4 * 64, (i % 4 + 1) * 64)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[at]), y[at])
        loss.backward()
        optimizer.step()
        scheduler.step()
        with T.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.mul_(0.999).add_(fast, alpha=0.001)
        with T.no_grad():
            score = nn.functional.cross_entropy(average(x[at]), y[at])
        return loss.item() + score.item()

    return step


def lbfgs(T: ModuleType) -> Step:
    """Logistic regression by L-BFGS with strong Wolfe line search, begun anew every 8 steps."""
    nn = T.nn
    x = T.tensor(normal(256, 30))
    y = T.tensor((normal(256, 1, seed=1) > 0).astype(np.float32))
    model = nn.Linear(30, 1)
    criterion = nn.BCEWithLogitsLoss()
    state = {}

    def step(i):
        if i % 8 == 0:
            nn.init.zeros_(model.weight)
            nn.init.zeros_(model.bias)
            state["optimizer"] = T.optim.LBFGS(
                model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe"
            )
        optimizer = state["optimizer"]

        def closure():
            optimizer.zero_grad()
            loss = criterion(model(x), y) + 1e-2 * model.weight.pow(2).sum()
            loss.backward()
            return loss

        return optimizer.step(closure).item()

    return step


def mixture_density(T: ModuleType) -> Step:
    """Bishop's mixture density network: normal log-densities, logsumexp."""
    nn, F = T.nn, T.nn.functional
    body = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    pi, mu, sigma = nn.Linear(64, 8), nn.Linear(64, 8), nn.Linear(64, 8)
    modules = nn.ModuleList([body, pi, mu, sigma])
    optimizer = T.optim.Adam(modules.parameters(), lr=1e-3)
    x = T.tensor(uniform(512, 1) * 2 - 1)
    y = x + 0.3 * T.sin(2 * np.pi * x) + 0.1 * T.tensor(normal(512, 1))

    def step(i):
        at = slice(i % 2 * 256, (i % 2 + 1) * 256)
        h = body(x[at])
        normal_ = T.distributions.Normal(mu(h), F.softplus(sigma(h)) + 1e-3)
        log_prob = normal_.log_prob(y[at].expand(-1, 8))
        loss = -T.logsumexp(F.log_softmax(pi(h), dim=1) + log_prob, dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def multi_label(T: ModuleType) -> Step:
    """Several labels a sample: weighted BCEWithLogits; accuracy and F1 read each step."""
    nn = T.nn
    model = nn.Sequential(
        nn.Linear(100, 256), nn.BatchNorm1d(256), nn.PReLU(), nn.Dropout(0.3), nn.Linear(256, 20)
    )
    criterion = nn.BCEWithLogitsLoss(pos_weight=T.full((20,), 3.0))
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = T.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=50)
    x = T.tensor(normal(512, 100))
    y = T.tensor((uniform(512, 20) < 0.2).astype(np.float32))

    def step(i):
        at = slice(i % 4 * 128, (i % 4 + 1) * 128)
        optimizer.zero_grad()
        logits = model(x[at])
        loss = criterion(logits, y[at])
        loss.backward()
        optimizer.step()
        value = loss.item()
        scheduler.step(value)
        with T.no_grad():
            predicted = (T.sigmoid(logits) > 0.5).float()
            hit = (predicted * y[at]).sum(0)
            f1 = (2 * hit / (predicted.sum(0) + y[at].sum(0)).clamp(min=1)).mean()
            accuracy = (predicted == y[at]).float().mean()
        return value + f1.item() + accuracy.item()

    return step


def evaluation(T: ModuleType) -> Step:
    """An evaluation loop: a trained network over 8 batches, loss and hits as people sum them."""
    nn, F = T.nn, T.nn.functional
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    x, y = T.tensor(normal(256, 1, 28, 28)), T.tensor(classes(10, 256))
    data = T.utils.data.TensorDataset(x, y)
    loader = T.utils.data.DataLoader(data, batch_size=36)

    def step(i):
        model.eval()
        loss, correct = 0, 0
        with T.no_grad():
            for data, target in loader:
                output = model(data)
                loss += F.cross_entropy(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        return loss / len(loader.dataset) + correct

    return step


METHODS = (
    factorisation, dqn, reinforce, pinn, neural_ode, accumulation, ema, lbfgs, mixture_density,
    multi_label, evaluation,
)  # fmt: skip
