"""The same two-layer network out of modules."""

import torch
from options import parse

options = parse(__doc__, steps=60)
torch.manual_seed(0)

batch, inputs, hidden, outputs = 64, 1000, 100, 10
x = torch.randn(batch, inputs)
y = torch.randn(batch, outputs)
model = torch.nn.Sequential(
    torch.nn.Linear(inputs, hidden),
    torch.nn.ReLU(),
    torch.nn.Linear(hidden, outputs),
)
criterion = torch.nn.MSELoss(reduction="sum")
rate = 1e-4

for step in range(options.steps):
    loss = criterion(model(x), y)
    print(step, loss.item())
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= rate * parameter.grad
