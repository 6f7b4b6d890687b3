"""Trains one job with PyTorch and prints one line of JSON.

    python train.py JOB STEPS [--mode eager|fused|compile] [--threads N] [--data DIR] [--device cpu|cuda] [--bf16]

    step_ms        median step after the first 3: gradients cleared, forward, backward, AdamW, loss read
    min_ms         the least of them
    peak_rss_mb    most memory this process ever held, MiB (VmHWM); on a GPU, what its tensors held there
    first_step_s   start of the process to the end of its first step
    losses         of every step, before its update

The modes: the model as it is, with AdamW as PyTorch picks it; the same with its fused AdamW; torch.compile of the loss
with the fused AdamW. `--bf16`: autocast in bfloat16.
"""

import argparse
import json
import os
import statistics
import time

from jobs import BETAS, EPS, RATES, WARM, WEIGHT_DECAY


def age():
    """Seconds since this process started, in steps of a clock tick (10 ms)."""
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_mib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


def batch(job, data, i):
    """What the model's `loss` takes, of batch i."""
    b = {k: v[i % len(v)] for k, v in data.items()}
    if job == "j3":
        return b["images"], b["labels"]
    if job == "j4":
        import torch

        mask = torch.arange(b["ids"].shape[-1], device=b["ids"].device) < b["lengths"][:, None]
        return b["ids"], b["types"], mask, b["labels"]
    return b["ids"][:, :-1].contiguous(), b["ids"][:, 1:].contiguous()


def load(job, folder, device):
    """The model with its weights, and the batches, on a device."""
    import torch
    from safetensors.torch import load_file

    from models import build

    with torch.device("meta"):  # no time goes into first values that the file replaces
        model = build(job)
    weights = load_file(f"{folder}/{job}.safetensors")
    # Copies, because a file's tensors are not aligned to the width that vector instructions like.
    model.load_state_dict({k: v.clone() for k, v in weights.items()}, assign=True)
    return model.to(device), load_file(f"{folder}/{job}_data.safetensors", device=device)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=RATES)
    parser.add_argument("steps", type=int)
    parser.add_argument("--mode", choices=["eager", "fused", "compile"], default="eager")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", default="target/peers")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    if args.steps <= WARM:
        parser.error(f"`STEPS` is {args.steps} and must be over {WARM}: that many first steps do not count")

    import torch

    torch.set_num_threads(args.threads)
    model, data = load(args.job, args.data, args.device)
    trained = [p for p in model.parameters() if p.requires_grad]
    fused = None if args.mode == "eager" else True
    adamw = torch.optim.AdamW(trained, RATES[args.job], BETAS, EPS, WEIGHT_DECAY, fused=fused)
    loss_of = torch.compile(model.loss) if args.mode == "compile" else model.loss

    losses, times, first = [], [], None
    for i in range(args.steps):
        inputs = batch(args.job, data, i)
        start = time.perf_counter()
        adamw.zero_grad()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            loss = loss_of(*inputs)
        loss.backward()
        adamw.step()
        losses.append(loss.item())
        times.append((time.perf_counter() - start) * 1e3)
        first = first or age()
    print(json.dumps({
        "impl": args.mode,
        "job": args.job,
        "step_ms": round(statistics.median(times[WARM:]), 3),
        "min_ms": round(min(times[WARM:]), 3),
        "peak_rss_mb": round(torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else peak_mib(), 1),
        "first_step_s": round(first, 3),
        "losses": losses,
    }))


if __name__ == "__main__":
    main()
