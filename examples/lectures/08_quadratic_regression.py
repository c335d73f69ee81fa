"""A parabola with noise, fitted by ten hidden neurons."""

import torch
import torch.nn.functional as F
from options import parse
from torch import nn

options = parse(__doc__, steps=200)
torch.manual_seed(1)

x = torch.unsqueeze(torch.linspace(-1, 1, 100), dim=1)
y = x.pow(2) + 0.2 * torch.rand(x.size())


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, features, hidden, outputs):
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.predict = nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.predict(F.relu(self.hidden(x)))


net = Net(features=1, hidden=10, outputs=1)
print(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
criterion = nn.MSELoss()

for step in range(options.steps):
    loss = criterion(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
