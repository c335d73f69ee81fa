"""Tensors: making them, shaping them, and fitting a line with nothing else."""

import numpy as np
import torch
from options import parse

options = parse(__doc__, steps=50)

zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
print(zeros + 2 * ones)
print(torch.arange(6).reshape(2, 3))
print(torch.from_numpy(np.array([[1.0, 2.0], [3.0, 4.0]])).T)

torch.manual_seed(0)
random = torch.rand(2, 3)
print(random[:, 1])
print(random[0, :])
print(random.mean().item(), random.sum(dim=1).tolist())

# A line through noisy points: tensors are enough, the slopes of the error are worked out by hand.
x = torch.linspace(-1, 1, 40)
y = 3 * x - 1 + 0.1 * torch.randn(40)
w, b = torch.tensor(0.0), torch.tensor(0.0)
for step in range(options.steps):
    error = w * x + b - y
    loss = (error**2).mean()
    print(step, loss.item())
    w = w - 0.3 * 2 * (error * x).mean()
    b = b - 0.3 * 2 * error.mean()
print("w", w.item(), "b", b.item())
