"""The same two-layer network; autograd finds the slopes."""

import torch
from options import parse

options = parse(__doc__, steps=60)
torch.manual_seed(0)

batch, inputs, hidden, outputs = 64, 1000, 100, 10
x = torch.randn(batch, inputs)
y = torch.randn(batch, outputs)
w1 = torch.randn(inputs, hidden, requires_grad=True)
w2 = torch.randn(hidden, outputs, requires_grad=True)
rate = 1e-6

for step in range(options.steps):
    prediction = x.mm(w1).clamp(min=0).mm(w2)
    loss = (prediction - y).pow(2).sum()
    print(step, loss.item())
    loss.backward()
    # The update is no part of the graph.
    with torch.no_grad():
        w1 -= rate * w1.grad
        w2 -= rate * w2.grad
        w1.grad.zero_()
        w2.grad.zero_()
