"""Digits by a convolutional network with dropout, Adadelta and a decaying rate."""

import torch
import torch.nn.functional as F
from options import parse
from synthetic import digits
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

options = parse(
    __doc__,
    steps=60,
    dropout=(0.25, "how much to drop after the convolutions; twice as much later"),
)
torch.manual_seed(1)


class Net(nn.Module):
    """Two convolutions, pooling, two linear layers."""

    def __init__(self, dropout):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 16, 3, 1)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(2 * dropout)
        self.fc1 = nn.Linear(16 * 12 * 12, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


images, labels = digits(360)
images = (images - images.mean()) / images.std()
train = DataLoader(TensorDataset(images[:320], labels[:320]), batch_size=32, shuffle=True)
model = Net(options.dropout)
optimizer = optim.Adadelta(model.parameters(), lr=0.5)
scheduler = StepLR(optimizer, step_size=1, gamma=0.7)

step = 0
while step < options.steps:
    model.train()
    for data, target in train:
        if step == options.steps:
            break
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        print(step, loss.item())
        step += 1
    scheduler.step()
    model.eval()
    with torch.no_grad():
        output = model(images[320:])
        test_loss = F.nll_loss(output, labels[320:]).item()
        correct = (output.argmax(dim=1) == labels[320:]).sum().item()
    print("test loss", test_loss, "correct", correct, "of", 40)
