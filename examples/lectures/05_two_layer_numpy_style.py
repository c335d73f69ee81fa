"""A two-layer network, 64 samples of 1000 to 100 to 10, with the backward pass written by hand."""

import torch
from options import parse

options = parse(__doc__, steps=60)
torch.manual_seed(0)

batch, inputs, hidden, outputs = 64, 1000, 100, 10
x = torch.randn(batch, inputs)
y = torch.randn(batch, outputs)
w1 = torch.randn(inputs, hidden)
w2 = torch.randn(hidden, outputs)
rate = 1e-6

for step in range(options.steps):
    h = x.mm(w1)
    active = h.clamp(min=0)
    prediction = active.mm(w2)
    loss = (prediction - y).pow(2).sum().item()
    print(step, loss)

    slope = 2.0 * (prediction - y)
    slope_w2 = active.t().mm(slope)
    slope_active = slope.mm(w2.t())
    slope_h = slope_active.clone()
    slope_h[h < 0] = 0
    slope_w1 = x.t().mm(slope_h)

    w1 -= rate * slope_w1
    w2 -= rate * slope_w2
