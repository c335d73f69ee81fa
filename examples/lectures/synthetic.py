"""Pictures drawn in code, in place of the data sets that the lectures download."""

import torch

# The strokes of seven-segment digits: top, upper left, upper right, middle, lower left, lower
# right, bottom.
SEGMENTS = {
    0: (1, 1, 1, 0, 1, 1, 1),
    1: (0, 0, 1, 0, 0, 1, 0),
    2: (1, 0, 1, 1, 1, 0, 1),
    3: (1, 0, 1, 1, 0, 1, 1),
    4: (0, 1, 1, 1, 0, 1, 0),
    5: (1, 1, 0, 1, 0, 1, 1),
    6: (1, 1, 0, 1, 1, 1, 1),
    7: (1, 0, 1, 0, 0, 1, 0),
    8: (1, 1, 1, 1, 1, 1, 1),
    9: (1, 1, 1, 1, 0, 1, 1),
}
# Where each stroke is: rows and columns of a 16 x 10 box.
BOXES = (
    ((0, 2), (0, 10)),
    ((0, 8), (0, 2)),
    ((0, 8), (8, 10)),
    ((7, 9), (0, 10)),
    ((8, 16), (0, 2)),
    ((8, 16), (8, 10)),
    ((14, 16), (0, 10)),
)


def digits(count, noise=0.2):
    """``count`` pictures of 28 x 28 with a digit near the middle, and which digit it is."""
    labels = torch.arange(count) % 10
    images = torch.rand(count, 1, 28, 28) * noise
    offsets = torch.randint(2, 10, (count, 2)).tolist()
    for index, (top, left) in enumerate(offsets):
        left += 2
        for lit, (rows, columns) in zip(SEGMENTS[index % 10], BOXES):
            if lit:
                images[
                    index, 0, top + rows[0] : top + rows[1], left + columns[0] : left + columns[1]
                ] += 1.0 - noise
    return images, labels


def cats(count, size=64):
    """``count`` pictures of 3 x size x size: half with two pointed ears (1), half without (0)."""
    labels = (torch.arange(count) % 2).float().reshape(-1, 1)
    images = torch.rand(count, 3, size, size) * 0.5
    colours = 0.3 + 0.4 * torch.rand(count, 3, 1)
    head = torch.zeros(size, size)
    head[size // 2 : size - size // 8, size // 4 : size - size // 4] = 1.0
    ears = torch.zeros(size, size)
    for row in range(size // 4):
        width = row // 2 + 1
        for middle in (size // 4 + size // 16, size - size // 4 - size // 16):
            ears[size // 4 + row, middle - width : middle + width] = 1.0
    for index in range(count):
        shape = head + ears if index % 2 else head
        images[index] += colours[index].reshape(3, 1, 1) * shape
    return images.clamp(0.0, 1.0), labels
