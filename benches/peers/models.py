"""The jobs' models in PyTorch, f32. `loss` takes one batch, as `batch` of train.py makes it, and gives the mean loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from jobs import BERT, CNN, GPT, LLAMA, LORA


def split(x, heads):
    """(batch, length, width) to (batch, heads, length, head)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join(x):
    """(batch, heads, length, head) to (batch, length, width)."""
    return x.transpose(1, 2).flatten(2)


def token_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def init(model):
    """Matrices from a normal of deviation 0.02, biases zero; scales of norms stay 1."""
    for name, p in model.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, 0.0, 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(p)


class GptBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads = s.heads
        self.ln1 = nn.LayerNorm(s.width)
        self.qkv = nn.Linear(s.width, 3 * s.width)
        self.proj = nn.Linear(s.width, s.width)
        self.ln2 = nn.LayerNorm(s.width)
        self.fc1 = nn.Linear(s.width, 4 * s.width)
        self.fc2 = nn.Linear(4 * s.width, s.width)

    def forward(self, x):
        q, k, v = (split(t, self.heads) for t in self.qkv(self.ln1(x)).chunk(3, -1))
        x = x + self.proj(join(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """J1: GPT-2's block with a tied output layer."""

    def __init__(self, s=GPT):
        super().__init__()
        self.wte = nn.Embedding(s.vocab, s.width)
        self.wpe = nn.Embedding(s.length, s.width)
        self.blocks = nn.ModuleList(GptBlock(s) for _ in range(s.layers))
        self.lnf = nn.LayerNorm(s.width)
        init(self)

    def loss(self, ids, targets):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return token_loss(F.linear(self.lnf(x), self.wte.weight), targets)


def rope_tables(length, head, base=10000.0):
    # On the CPU even while the model is built without storage.
    angles = torch.outer(
        torch.arange(length, device="cpu").float(),
        base ** (-torch.arange(0, head, 2, device="cpu").float() / head),
    )
    return angles.cos(), angles.sin()


def rope(x, cos, sin):
    """Turns halves, as GPT-NeoX and Hugging Face's Llama do."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class LoraLinear(nn.Module):
    def __init__(self, i, o, rank, alpha):
        super().__init__()
        self.base = nn.Linear(i, o, bias=False)
        self.a = nn.Parameter(torch.empty(rank, i))
        self.b = nn.Parameter(torch.empty(o, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.a), self.b) * self.scale


class LlamaBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        head = s.width // s.heads
        adapted = (lambda i, o: LoraLinear(i, o, s.rank, s.alpha)) if s.rank else self.plain
        self.heads, self.kv_heads = s.heads, s.kv_heads
        self.ln1 = nn.RMSNorm(s.width, eps=1e-5)
        self.q = adapted(s.width, s.width)
        self.k = self.plain(s.width, s.kv_heads * head)
        self.v = adapted(s.width, s.kv_heads * head)
        self.o = self.plain(s.width, s.width)
        self.ln2 = nn.RMSNorm(s.width, eps=1e-5)
        self.gate = self.plain(s.width, s.ff)
        self.up = self.plain(s.width, s.ff)
        self.down = self.plain(s.ff, s.width)

    @staticmethod
    def plain(i, o):
        return nn.Linear(i, o, bias=False)

    def forward(self, x, cos, sin):
        n = self.ln1(x)
        q = rope(split(self.q(n), self.heads), cos, sin)
        k = rope(split(self.k(n), self.kv_heads), cos, sin)
        v = split(self.v(n), self.kv_heads)
        x = x + self.o(join(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)))
        n = self.ln2(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class Llama(nn.Module):
    """J5, and J2 where the shape has a rank: then only the LoRA matrices are trained.

    b starts as a normal and not as zeros, so that a and b both have gradients from the first step.
    """

    def __init__(self, s=LLAMA):
        super().__init__()
        self.emb = nn.Embedding(s.vocab, s.width)
        self.blocks = nn.ModuleList(LlamaBlock(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.width, eps=1e-5)
        self.head = nn.Linear(s.width, s.vocab, bias=False)
        cos, sin = rope_tables(s.length, s.width // s.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        init(self)
        for name, p in self.named_parameters():
            p.requires_grad_(not s.rank or name.endswith((".a", ".b")))

    def loss(self, ids, targets):
        x = self.emb(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return token_loss(self.head(self.norm(x)), targets)


class Cnn(nn.Module):
    """J3. Weights start as PyTorch starts its layers."""

    def __init__(self, s=CNN):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(s.channels, s.channels[1:]))
        self.f1 = nn.Linear(s.channels[-1] * (s.size // 4) ** 2, s.hidden)
        self.f2 = nn.Linear(s.hidden, s.classes)

    def loss(self, images, labels):
        x = F.max_pool2d(F.relu(self.convs[0](images)), 2)
        x = F.max_pool2d(F.relu(self.convs[1](x)), 2)
        x = F.relu(self.convs[2](x))
        return F.cross_entropy(self.f2(F.relu(self.f1(x.flatten(1)))), labels)


class BertLayer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads = s.heads
        self.q = nn.Linear(s.width, s.width)
        self.k = nn.Linear(s.width, s.width)
        self.v = nn.Linear(s.width, s.width)
        self.o = nn.Linear(s.width, s.width)
        self.ln1 = nn.LayerNorm(s.width, eps=1e-12)
        self.fc1 = nn.Linear(s.width, s.ff)
        self.fc2 = nn.Linear(s.ff, s.width)
        self.ln2 = nn.LayerNorm(s.width, eps=1e-12)

    def forward(self, x, mask):
        q, k, v = (split(f(x), self.heads) for f in (self.q, self.k, self.v))
        x = self.ln1(x + self.o(join(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))))
        return self.ln2(x + self.fc2(F.gelu(self.fc1(x))))


class Bert(nn.Module):
    """J4: Hugging Face's BERT for sequence classification, without dropout."""

    def __init__(self, s=BERT):
        super().__init__()
        self.word = nn.Embedding(s.vocab, s.width)
        self.position = nn.Embedding(s.positions, s.width)
        self.token_type = nn.Embedding(2, s.width)
        self.ln = nn.LayerNorm(s.width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(s) for _ in range(s.layers))
        self.pooler = nn.Linear(s.width, s.width)
        self.classifier = nn.Linear(s.width, s.classes)
        init(self)

    def loss(self, ids, types, mask, labels):
        """`mask` is (batch, length), true at tokens and false at padding."""
        x = self.ln(self.word(ids) + self.position.weight[: ids.shape[1]] + self.token_type(types))
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        return F.cross_entropy(self.classifier(self.pooler(x[:, 0]).tanh()), labels)


def build(job):
    return {"j1": lambda: Gpt(GPT), "j2": lambda: Llama(LORA), "j3": Cnn, "j4": Bert, "j5": lambda: Llama(LLAMA)}[job]()
