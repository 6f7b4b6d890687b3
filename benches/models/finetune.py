"""Trains one job with PyTorch, transformers and PEFT, and prints one line of JSON.

    python finetune.py JOB STEPS [--mode eager|fused|compile] [--bf16] [--threads N] --data DIR

The record is that of `../peers/train.py`, with `times_ms`, the time of every step. Dropout is off: the losses of both
sides are compared. `--bf16` computes under autocast. `packed` pads the texts of a step to its longest, as transformers' collators do.
"""

import argparse
import json
import statistics
import time

from shapes import PACKED, RATES  # first: it finds the modules of `peers`


def load(job, folder):
    """The model in training, and a function that returns the arguments of a step."""
    import torch
    from safetensors.torch import load_file

    data = load_file(f"{folder}/{'lora' if job == 'full' else job}.safetensors")
    if job == "classify":
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(f"{folder}/classifier", dtype=torch.float32)
    else:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(f"{folder}/language", dtype=torch.float32)
        if job != "full":
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, f"{folder}/adapter", is_trainable=True)
    model.config.use_cache = False
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    if job == "packed":
        texts = torch.split(data["ids"], data["lengths"].tolist())
        pad = torch.nn.utils.rnn.pad_sequence

        def batch(i):
            first = i * PACKED % len(texts)
            rows = texts[first : first + PACKED]
            return {
                "input_ids": pad(rows, batch_first=True),
                "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
                "labels": pad(rows, batch_first=True, padding_value=-100),
            }

        return model, batch
    ids = data["ids"]
    labels = data.get("labels", ids)
    return model, lambda i: {"input_ids": ids[i % len(ids)], "labels": labels[i % len(ids)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=RATES)
    parser.add_argument("steps", type=int)
    parser.add_argument("--mode", choices=["eager", "fused", "compile"], default="eager")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()

    import torch

    from jobs import BETAS, EPS, WARM, WEIGHT_DECAY
    from train import age, peak_mib

    torch.set_num_threads(args.threads)
    model, batch = load(args.job, args.data)
    trained = [p for p in model.parameters() if p.requires_grad]
    fused = None if args.mode == "eager" else True
    adamw = torch.optim.AdamW(trained, RATES[args.job], BETAS, EPS, WEIGHT_DECAY, fused=fused)
    called = torch.compile(model, dynamic=args.job == "packed") if args.mode == "compile" else model

    losses, times, first = [], [], None
    for i in range(args.steps):
        inputs = batch(i)
        start = time.perf_counter()
        adamw.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = called(**inputs).loss
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
        "times_ms": [round(t, 2) for t in times],
        "peak_rss_mb": round(peak_mib(), 1),
        "first_step_s": round(first, 3),
        "losses": losses,
    }))


if __name__ == "__main__":
    main()
