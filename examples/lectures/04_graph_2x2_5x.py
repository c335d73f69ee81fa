"""The slope of z = 2 x^2 + 5 x: 13 where x is 2."""

import torch
from options import parse

options = parse(__doc__, steps=50)

x = torch.full((2, 2), 2.0, requires_grad=True)
z = 2 * (x * x) + 5 * x
z.backward(torch.ones(2, 2))
print(x.grad)

# Down to the lowest point, x = -5/4.
for step in range(options.steps):
    x.grad = None
    loss = (2 * (x * x) + 5 * x).sum()
    print(step, loss.item())
    loss.backward()
    with torch.no_grad():
        x -= 0.05 * x.grad
print(x)
