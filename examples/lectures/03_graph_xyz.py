"""The graph of f = (x + y) z, forwards and backwards."""

import torch
from options import parse

options = parse(__doc__, steps=50)

x = torch.tensor(-2.0, requires_grad=True)
y = torch.tensor(5.0, requires_grad=True)
z = torch.tensor(-4.0, requires_grad=True)
q = x + y
q.retain_grad()
f = q * z
f.backward()
print("q", q.item(), "f", f.item())
print("df/dq", q.grad.item(), "df/dz", z.grad.item())
print("df/dx", x.grad.item(), "df/dy", y.grad.item())

# Gradients add up until they are cleared: each step starts from zero.
for step in range(options.steps):
    for leaf in (x, y, z):
        leaf.grad.zero_()
    loss = ((x + y) * z + 1) ** 2
    print(step, loss.item())
    loss.backward()
    with torch.no_grad():
        for leaf in (x, y, z):
            leaf -= 0.003 * leaf.grad
print("f", ((x + y) * z).item())
