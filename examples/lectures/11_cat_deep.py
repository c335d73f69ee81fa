"""Cat or no cat by a deep network: pixels, hidden, pixels, hidden, one, with sigmoids throughout.

The lecture has pictures of 64 x 64 and 512 hidden neurons (``--size 64``); a quarter of that side
takes seconds.
"""

import torch
from options import parse
from synthetic import cats
from torch import nn, optim

options = parse(__doc__, steps=60, size=(16, "side of the pictures"))
torch.manual_seed(0)

images, labels = cats(209, size=options.size)
x = images.reshape(209, -1)
pixels, hidden = x.shape[1], 8 * options.size


class Model(nn.Module):
    """Four linear layers."""

    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(pixels, hidden)
        self.linear2 = nn.Linear(hidden, pixels)
        self.linear3 = nn.Linear(pixels, hidden)
        self.linear4 = nn.Linear(hidden, 1)

    def forward(self, x):
        x = torch.sigmoid(self.linear1(x))
        x = torch.sigmoid(self.linear2(x))
        x = torch.sigmoid(self.linear3(x))
        return torch.sigmoid(self.linear4(x))


model = Model()
print([tuple(parameter.shape) for parameter in model.parameters()])
criterion = nn.BCELoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)

for epoch in range(options.steps):
    outputs = model(x)
    loss = criterion(outputs, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(epoch, loss.item())
