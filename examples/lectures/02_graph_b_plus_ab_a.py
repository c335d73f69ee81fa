"""The graph of y = b + (a + b) a: its slopes are sums over paths."""

import torch
from options import parse

options = parse(__doc__, steps=50)

a = torch.tensor(2.0, requires_grad=True)
b = torch.tensor(3.0, requires_grad=True)
h = a + b
y = b + h * a
y.backward()
print("y", y.item())
# From y to a there are two paths: through the product directly (a + b), and through h (a).
print("dy/da", a.grad.item(), "by paths", (a + b + a).item())
print("dy/db", b.grad.item(), "by paths", (1 + a).item())

# Going down these slopes: find a and b for which y is 1.
for step in range(options.steps):
    a.grad = b.grad = None
    loss = (b + (a + b) * a - 1) ** 2
    print(step, loss.item())
    loss.backward()
    with torch.no_grad():
        a -= 0.004 * a.grad
        b -= 0.004 * b.grad
print("a", a.item(), "b", b.item())
