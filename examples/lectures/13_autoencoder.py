"""An autoencoder: digits squeezed into eight numbers and drawn again."""

import torch
from options import parse
from synthetic import digits
from torch import nn, optim

options = parse(__doc__, steps=60)
torch.manual_seed(0)

images, _ = digits(100)
x = images.reshape(100, -1)
encoder = nn.Sequential(nn.Linear(784, 64), nn.Tanh(), nn.Linear(64, 8))
decoder = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 784), nn.Sigmoid())
parameters = [*encoder.parameters(), *decoder.parameters()]
optimizer = optim.Adam(parameters, lr=3e-3)
criterion = nn.MSELoss()

for step in range(options.steps):
    code = encoder(x)
    loss = criterion(decoder(code), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("code of the first digit", [round(value, 2) for value in code[0].tolist()])
