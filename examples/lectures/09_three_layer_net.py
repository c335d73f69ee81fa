"""Three fully connected layers, 256 to 120 to 84 to 10, trained in batches."""

import torch
import torch.nn.functional as F
from options import parse
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

options = parse(__doc__, steps=60)
torch.manual_seed(0)


class Net(nn.Module):
    """ReLU after the first two layers."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(256, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


net = Net()
# One sample first, as the lecture does: forward, loss, backward, and a step written by hand.
sample, target = torch.randn(256), torch.arange(1, 11).float()
criterion = nn.MSELoss()
loss = criterion(net(sample), target)
print("one sample", loss.item())
net.zero_grad()
loss.backward()
for parameter in net.parameters():
    parameter.data.sub_(parameter.grad.data * 0.01)
print("after a step", criterion(net(sample), target).item())

teacher = torch.randn(256, 10) / 16
inputs = torch.randn(320, 256)
loader = DataLoader(TensorDataset(inputs, inputs @ teacher), batch_size=32, shuffle=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
step = 0
while step < options.steps:
    for batch, wanted in loader:
        if step == options.steps:
            break
        optimizer.zero_grad()
        loss = criterion(net(batch), wanted)
        loss.backward()
        optimizer.step()
        print(step, loss.item())
        step += 1
