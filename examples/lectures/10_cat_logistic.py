"""Cat or no cat by logistic regression: 209 pictures of 64 x 64 x 3, gradient descent on the
cross-entropy.
"""

import torch
from options import parse
from synthetic import cats

options = parse(__doc__, steps=60)
torch.manual_seed(0)

images, labels = cats(209)
x = images.reshape(209, -1)
mean = x.mean(dim=0, keepdim=True)
x = x - mean
w = torch.zeros(x.shape[1], 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
rate = 2e-3

for step in range(options.steps):
    probability = torch.sigmoid(x @ w + b)
    cost = -(labels * probability.log() + (1 - labels) * (1 - probability).log()).mean()
    print(step, cost.item())
    cost.backward()
    with torch.no_grad():
        for parameter in (w, b):
            parameter -= rate * parameter.grad
            parameter.grad.zero_()

with torch.no_grad():
    found = (torch.sigmoid(x @ w + b) > 0.5).float()
    print("accuracy", (found == labels).float().mean().item())
