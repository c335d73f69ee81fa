"""Programs on sequences and words for ``others.py``, as people write them."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from others_networks import Step, classes, generator, normal


def char_rnn(T: ModuleType) -> Step:
    """A GRU over characters whose hidden state is carried on, detached, from batch to batch."""
    nn = T.nn

    class CharRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(65, 32)
            self.gru = nn.GRU(32, 64, num_layers=2, batch_first=True)
            self.head = nn.Linear(64, 65)

        def forward(self, x, hidden):
            out, hidden = self.gru(self.embedding(x), hidden)
            return self.head(out), hidden

    text = T.tensor(classes(65, 16, 8 * 32 + 1))
    model = CharRNN()
    optimizer = T.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    hidden = T.zeros(2, 16, 64)

    def step(i):
        nonlocal hidden
        start = i % 8 * 32
        x, y = text[:, start : start + 32], text[:, start + 1 : start + 33]
        if start == 0:
            hidden = T.zeros(2, 16, 64)
        hidden = hidden.detach()
        optimizer.zero_grad()
        logits, hidden = model(x, hidden)
        loss = criterion(logits.reshape(-1, 65), y.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss.item()

    return step


def gru_by_hand(T: ModuleType) -> Step:
    """A gated unit written with Linear layers and a Python loop over 28 steps."""
    nn = T.nn

    class Cell(nn.Module):
        def __init__(self, inside, hidden):
            super().__init__()
            self.x2h = nn.Linear(inside, 3 * hidden)
            self.h2h = nn.Linear(hidden, 3 * hidden)

        def forward(self, x, h):
            xr, xz, xn = self.x2h(x).chunk(3, 1)
            hr, hz, hn = self.h2h(h).chunk(3, 1)
            r = T.sigmoid(xr + hr)
            z = T.sigmoid(xz + hz)
            n = T.tanh(xn + r * hn)
            return (1 - z) * n + z * h

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = Cell(28, 64)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            h = T.zeros(x.size(0), 64)
            outs = []
            for t in range(x.size(1)):
                h = self.cell(x[:, t], h)
                outs.append(h)
            return self.head(T.stack(outs, dim=1)[:, -1])

    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    x, y = T.tensor(normal(128, 28, 28)), T.tensor(classes(10, 128))

    def step(i):
        at = slice(i % 4 * 32, (i % 4 + 1) * 32)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[at]), y[at])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def seq2seq(T: ModuleType) -> Step:
    """Encoder and decoder with dot attention; teacher forced, a cell a step, padding ignored."""
    nn, F = T.nn, T.nn.functional

    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(100, 32), nn.Embedding(100, 32)
            self.encoder = nn.GRU(32, 48, batch_first=True)
            self.cell = nn.GRUCell(32 + 48, 48)
            self.out = nn.Linear(96, 100)

        def forward(self, src, tgt):
            memory, h = self.encoder(self.source(src))
            h = h.squeeze(0)
            mask = src == 0
            embedded = self.target(tgt)
            context = T.zeros(src.size(0), 48)
            logits = []
            for t in range(tgt.size(1)):
                h = self.cell(T.cat([embedded[:, t], context], dim=1), h)
                score = T.bmm(memory, h.unsqueeze(2)).squeeze(2)
                score = score.masked_fill(mask, float("-inf"))
                weight = F.softmax(score, dim=1)
                context = T.bmm(weight.unsqueeze(1), memory).squeeze(1)
                logits.append(self.out(T.cat([h, context], dim=1)))
            return T.stack(logits, dim=1)

    src, tgt = classes(100, 64, 12), classes(100, 64, 11, seed=2)
    lengths = generator(3).integers(4, 13, 64)
    src[np.arange(12) >= lengths[:, None]] = 0
    tgt[np.arange(11) >= lengths[:, None]] = 0
    src[:, 0] = np.maximum(src[:, 0], 1)
    src, tgt = T.tensor(src), T.tensor(tgt)
    model = Seq2Seq()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=0)

    def step(i):
        at = slice(i % 2 * 32, (i % 2 + 1) * 32)
        logits = model(src[at], tgt[at, :-1])
        loss = criterion(logits.view(-1, 100), tgt[at, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def mini_gpt(T: ModuleType) -> Step:
    """Two decoder blocks with a causal mask, written out; clipping, warm-up and cosine decay."""
    nn, F = T.nn, T.nn.functional

    class Attention(nn.Module):
        def __init__(self, d, heads, length):
            super().__init__()
            self.heads = heads
            self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
            mask = T.tril(T.ones(length, length)).view(1, 1, length, length)
            self.register_buffer("mask", mask)

        def forward(self, x):
            b, t, c = x.size()
            q, k, v = self.qkv(x).split(c, dim=2)
            q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
            att = F.softmax(att, dim=-1)
            y = (att @ v).transpose(1, 2).contiguous().view(b, t, c)
            return self.proj(y)

    class Block(nn.Module):
        def __init__(self, d, heads, length):
            super().__init__()
            self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.attn = Attention(d, heads, length)
            self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

        def forward(self, x):
            x = x + self.attn(self.ln1(x))
            return x + self.mlp(self.ln2(x))

    class GPT(nn.Module):
        def __init__(self, vocabulary=65, d=64, heads=4, length=48):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
            self.blocks = nn.ModuleList([Block(d, heads, length) for _ in range(2)])
            self.ln = nn.LayerNorm(d)
            self.head = nn.Linear(d, vocabulary, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, idx, targets):
            pos = T.arange(0, idx.size(1), dtype=T.long).unsqueeze(0)
            x = self.wte(idx) + self.wpe(pos)
            for block in self.blocks:
                x = block(x)
            logits = self.head(self.ln(x))
            return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    model = GPT()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = T.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.95),
    )  # fmt: skip

    def schedule(n):
        if n < 10:
            return (n + 1) / 10
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, n / 1000)))

    scheduler = T.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    data = T.tensor(classes(65, 4096))

    def step(i):
        ix = T.randint(len(data) - 48, (8,))
        x = T.stack([data[i : i + 48] for i in ix])
        y = T.stack([data[i + 1 : i + 49] for i in ix])
        loss = model(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        return loss.item()

    return step


def word2vec(T: ModuleType) -> Step:
    """Skip-gram with negative sampling: two embeddings, batched products, logsigmoid."""
    nn, F = T.nn, T.nn.functional

    class SkipGram(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Embedding(2000, 64), nn.Embedding(2000, 64)
            nn.init.uniform_(self.inner.weight, -0.01, 0.01)
            nn.init.zeros_(self.outer.weight)

        def forward(self, center, context, negative):
            c = self.inner(center)
            good = F.logsigmoid((c * self.outer(context)).sum(1))
            bad = T.bmm(self.outer(negative).neg(), c.unsqueeze(2)).squeeze(2)
            return -(good + F.logsigmoid(bad).sum(1)).mean()

    model = SkipGram()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    center, context = T.tensor(classes(2000, 1024)), T.tensor(classes(2000, 1024, seed=2))
    noise = T.tensor(generator(4).random(2000, np.float32)) ** 0.75

    def step(i):
        at = slice(i % 4 * 256, (i % 4 + 1) * 256)
        negative = T.multinomial(noise, 256 * 5, replacement=True).view(256, 5)
        optimizer.zero_grad()
        loss = model(center[at], context[at], negative)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def text_bags(T: ModuleType) -> Step:
    """PyTorch's text tutorial: EmbeddingBag over offsets; every batch has another length."""
    nn = T.nn

    class Classify(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.EmbeddingBag(1000, 64, sparse=False)
            self.fc = nn.Linear(64, 4)
            self.embedding.weight.data.uniform_(-0.5, 0.5)
            self.fc.weight.data.uniform_(-0.5, 0.5)
            self.fc.bias.data.zero_()

        def forward(self, text, offsets):
            return self.fc(self.embedding(text, offsets))

    rng = generator(5)

    def batch():
        lengths = rng.integers(5, 40, 32)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        text = rng.integers(0, 1000, lengths.sum())
        return [T.tensor(a) for a in (text, offsets, rng.integers(0, 4, 32))]

    model = Classify()
    optimizer = T.optim.SGD(model.parameters(), lr=5.0)
    criterion = nn.CrossEntropyLoss()

    def step(i):
        text, offsets, y = batch()
        optimizer.zero_grad()
        loss = criterion(model(text, offsets), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return loss.item()

    return step


def packed_lstm(T: ModuleType) -> Step:
    """A bidirectional LSTM over packed sequences; each batch has lengths of its own."""
    nn = T.nn
    pad, pack = nn.utils.rnn.pad_sequence, nn.utils.rnn.pack_padded_sequence

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(200, 32, padding_idx=0)
            self.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 5)

        def forward(self, x, lengths):
            packed = pack(self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = self.lstm(packed)
            return self.head(T.cat([h[0], h[1]], dim=1))

    rng = generator(6)

    def batch():
        lengths = rng.integers(5, 25, 16)
        rows = [T.tensor(rng.integers(1, 200, n)) for n in lengths]
        return rows, T.tensor(lengths), T.tensor(rng.integers(0, 5, 16))

    model = Tagger()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def step(i):
        rows, lengths, y = batch()
        x = pad(rows, batch_first=True)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x, lengths), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def padded_lengths(T: ModuleType) -> Step:
    """A convolution over words with a masked mean; padded per batch to its longest sequence, so
    that lengths differ from batch to batch; the last batch of an epoch is smaller.
    """
    nn, F = T.nn, T.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(300, 32, padding_idx=0)
            self.conv = nn.Conv1d(32, 64, 3, padding=1)
            self.head = nn.Linear(64, 6)

        def forward(self, x):
            mask = (x != 0).unsqueeze(1).float()
            h = F.relu(self.conv(self.embedding(x).transpose(1, 2)))
            return self.head((h * mask).sum(2) / mask.sum(2).clamp(min=1))

    rng = generator(7)
    samples = [(rng.integers(1, 300, n), int(n) % 6) for n in rng.integers(8, 60, 16 * 32 - 12)]

    class Texts(T.utils.data.Dataset):
        def __len__(self):
            return len(samples)

        def __getitem__(self, i):
            return T.tensor(samples[i][0]), samples[i][1]

    def collate(batch):
        rows, labels = zip(*batch, strict=True)
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), T.tensor(labels)

    loader = T.utils.data.DataLoader(Texts(), batch_size=32, shuffle=True, collate_fn=collate)
    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    iterator = iter(loader)

    def step(i):
        nonlocal iterator
        if i % 16 == 0:
            iterator = iter(loader)
        x, y = next(iterator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def masked_transformer(T: ModuleType) -> Step:
    """An encoder with a padding mask; batches are padded to their longest, another each time."""
    nn = T.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(300, 32, padding_idx=0)
            self.position = nn.Embedding(64, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Linear(32, 6)

        def forward(self, x):
            padding = x == 0
            h = self.embedding(x) + self.position(T.arange(x.size(1)))
            h = self.encoder(h, src_key_padding_mask=padding)
            keep = (~padding).unsqueeze(2)
            return self.head((h * keep).sum(1) / keep.sum(1))

    rng = generator(9)
    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def step(i):
        lengths = rng.integers(8, 60, 6)
        rows = [T.tensor(rng.integers(1, 300, n)) for n in lengths]
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        y = T.tensor(lengths % 6)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def ctc(T: ModuleType) -> Step:
    """A speech-like recogniser: convolution, bidirectional GRU, CTC."""
    nn, F = T.nn, T.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(20, 32, 5, stride=2, padding=2)
            self.gru = nn.GRU(32, 32, bidirectional=True)
            self.head = nn.Linear(64, 12)

        def forward(self, x):
            x = F.gelu(self.conv(x)).permute(2, 0, 1)
            return F.log_softmax(self.head(self.gru(x)[0]), dim=-1)

    model = Net()
    optimizer = T.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = nn.CTCLoss(zero_infinity=True)
    x, y = T.tensor(normal(16, 20, 80)), T.tensor(classes(11, 16, 10) + 1)
    lengths = T.full((16,), 40, dtype=T.long)
    targets = T.tensor(generator(8).integers(3, 11, 16))

    def step(i):
        optimizer.zero_grad()
        loss = criterion(model(x), y, lengths, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


SEQUENCES = (
    char_rnn, gru_by_hand, seq2seq, mini_gpt, word2vec, text_bags, packed_lstm, padded_lengths,
    masked_transformer, ctc,
)  # fmt: skip
