"""Floating-point operations of one step: the products of the forward and of the backward, and nothing else.

A product of (n, k) and (k, m) is 2 n k m. Counted is what a step cannot do without:

- a linear layer of n rows: its forward, its weight's gradient if it is trained, its input's gradient if something
  trained lies before it. J2's frozen weights have no gradient, and nothing before its first block is trained.
- attention: QK' and PV forward; the gradients of V, P, Q and K backward. Causal attention counts the pairs at or below
  the diagonal, T (T + 1) / 2. A second QK' in the backward, as flash attention has, is not counted.
- a convolution as the product of its patches; J3's first has no gradient of its input.
- padding counts as tokens (J4), for the batch is given so.

Norms, activations, softmax, lookups, AdamW and the loss have no product. `check.py` compares with PyTorch's own count.
"""

from jobs import BERT, CNN, GPT, LLAMA, LORA


def linear(rows, i, o, dx=True, dw=True):
    return 2 * rows * i * o * (1 + dx + dw)


def attention(batch, heads, length, head, causal, dk=True):
    pairs = length * (length + 1) // 2 if causal else length * length
    return 2 * batch * heads * pairs * head * (5 + dk)


def gpt(s):
    n, d = s.batch * s.length, s.width
    block = linear(n, d, 3 * d) + linear(n, d, d) + linear(n, d, 4 * d) + linear(n, 4 * d, d)
    block += attention(s.batch, s.heads, s.length, d // s.heads, causal=True)
    return s.layers * block + linear(n, d, s.vocab)


def llama(s):
    n, d, head = s.batch * s.length, s.width, s.width // s.heads
    kv, full = s.kv_heads * head, not s.rank

    def block(dx):
        total = linear(n, d, d, dx, full) + 2 * linear(n, d, kv, dx, full)  # q, k, v
        for o in (d, kv) if s.rank else ():
            total += linear(n, d, s.rank, dx) + linear(n, s.rank, o)
        total += attention(s.batch, s.heads, s.length, head, causal=True, dk=dx)
        return total + linear(n, d, d, dw=full) + 3 * linear(n, d, s.ff, dw=full)  # o, gate, up, down

    return block(full) + (s.layers - 1) * block(True) + linear(n, d, s.vocab, dw=full)


def cnn(s):
    total, size = 0, s.size
    for at, (i, o) in enumerate(zip(s.channels, s.channels[1:])):
        total += linear(s.batch * size * size, 9 * i, o, dx=at > 0)
        size = size // 2 if at < 2 else size
    return total + linear(s.batch, s.channels[-1] * size * size, s.hidden) + linear(s.batch, s.hidden, s.classes)


def bert(s):
    n, d = s.batch * s.length, s.width
    layer = 4 * linear(n, d, d) + 2 * linear(n, d, s.ff)
    layer += attention(s.batch, s.heads, s.length, d // s.heads, causal=False)
    return s.layers * layer + linear(s.batch, d, d) + linear(s.batch, d, s.classes)


STEP = {"j1": gpt(GPT), "j2": llama(LORA), "j3": cnn(CNN), "j4": bert(BERT), "j5": llama(LLAMA)}

if __name__ == "__main__":
    for job, flops in STEP.items():
        print(f"{job}: {flops / 1e9:.2f} GFLOP a step")
