"""The operations of gpu.rs in PyTorch: `python gpu.py [f32|bf16] [compile]`, milliseconds forward and backward."""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

T, B, D, FF, H, VOCAB = 2048, 2, 4096, 11008, 32, 32000
DTYPE = torch.float32 if "f32" in sys.argv else torch.bfloat16
COMPILE = "compile" in sys.argv
ROUNDS, ROUND_MS, CHAIN = 7, 20.0, 8


def var(*shape):
    return torch.randn(*shape, device="cuda", dtype=DTYPE, requires_grad=True)


def clock(name, call, operations=1):
    def once(calls):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) * 1e3 / calls

    once(3)
    calls = max(1, min(200, int(ROUND_MS / once(2))))
    print(f"{name:<22} {statistics.median(once(calls) for _ in range(ROUNDS)) / operations:9.4f} ms", flush=True)


def of(name, operands, compute, operations=CHAIN):
    """Each operation on the result of the one before."""

    def chain(first, *others):
        for _ in range(operations):
            first = compute(first, *others)
        return first

    run = torch.compile(chain) if COMPILE else chain
    gradient = torch.randn_like(run(*operands))

    def call():
        for operand in operands:
            operand.grad = None
        run(*operands).backward(gradient)

    clock(name, call, operations)


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def main():
    x, w, b = var(B * T, D), var(D), var(D)
    of("rms_norm", [x, w], lambda x, w: F.rms_norm(x, (D,), w, 1e-5))
    of("layer_norm", [x, w, b], lambda x, w, b: F.layer_norm(x, (D,), w, b, 1e-5))
    of("gelu", [x], lambda x: F.gelu(x, approximate="tanh"))
    of("dropout", [x], lambda x: F.dropout(x, 0.1))
    of("swiglu", [var(B * T, FF), var(B * T, FF)], lambda gate, up: F.silu(gate) * up)
    hd = D // H
    angles = torch.outer(torch.arange(T).float(), 10000.0 ** (-torch.arange(0, hd, 2).float() / hd)).cuda()
    cos, sin = angles.cos()[:, None].to(DTYPE), angles.sin()[:, None].to(DTYPE)
    of("rope", [var(B, T, H, hd)], lambda x: rope(x, cos, sin))
    attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    of("attention", [var(B, H, T, hd) for _ in range(3)], attend)
    ids = (torch.arange(B * T) * 7919 % VOCAB).cuda()
    of("embedding", [var(VOCAB, D)], lambda table: F.embedding(ids, table), 1)
    loss = lambda scores: F.cross_entropy(scores.float(), ids, reduction="sum")
    of("cross_entropy", [var(B * T, VOCAB)], loss, 1)
    of("linear_cross_entropy", [x, var(VOCAB, D)], lambda x, head: loss(F.linear(x, head)), 1)
    params = [torch.randn(D, D, device="cuda", requires_grad=True) for _ in range(16)]
    for param in params:
        param.grad = torch.randn_like(param)
    adamw = torch.optim.AdamW(params, fused=True)
    clock("adamw", adamw.step)


if __name__ == "__main__":
    main()
