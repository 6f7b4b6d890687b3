"""Writes each job's first weights and its batches, which both sides read.

    python make.py DIR

JOB.safetensors holds the model's tensors under the names of models.py, f32. JOB_data.safetensors holds 24 batches:

    j1, j2, j5   ids (24, batch, length + 1), i64: inputs are all but the last, targets all but the first
    j3           images (24, batch, 1, 28, 28), f32; labels (24, batch), i64
    j4           ids, types (24, batch, length), i64, ids 0 where padding is; lengths, labels (24, batch), i64
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

from jobs import BATCHES, BERT, CNN, SHAPES
from models import build


def chain(s, g):
    """Tokens of falling frequency, half of them a function of the one before, so that the loss can fall."""
    frequency = 1.0 / (torch.arange(s.vocab) + 10.0)
    shape = (BATCHES, s.batch, s.length + 1)
    ids = torch.multinomial(frequency, BATCHES * s.batch * (s.length + 1), replacement=True, generator=g).view(shape)
    bound = torch.rand(shape, generator=g) < 0.5
    for t in range(1, s.length + 1):
        ids[..., t] = torch.where(bound[..., t], (ids[..., t - 1] * 7 + 13) % s.vocab, ids[..., t])
    return {"ids": ids}


def images(g):
    """A pattern for each class under noise."""
    labels = torch.randint(0, CNN.classes, (BATCHES, CNN.batch), generator=g)
    patterns = torch.rand(CNN.classes, 1, CNN.size, CNN.size, generator=g)
    noise = torch.randn(BATCHES, CNN.batch, 1, CNN.size, CNN.size, generator=g)
    return {"images": patterns[labels] + 0.7 * noise, "labels": labels}


def sentences(g):
    """Pairs of sentences, 0 padding, 1 [CLS], 2 [SEP]; a third of the tokens reveal the class by their rest modulo 4."""
    s = BERT
    labels = torch.randint(0, s.classes, (BATCHES, s.batch), generator=g)
    lengths = torch.randint(s.length // 4, s.length + 1, (BATCHES, s.batch), generator=g)
    ids = torch.randint(3, s.vocab, (BATCHES, s.batch, s.length), generator=g)
    telling = torch.rand(ids.shape, generator=g) < 1 / 3
    ids = torch.where(telling & (ids >= 4), ids // 4 * 4 + labels[..., None], ids)
    at, end, middle = torch.arange(s.length), lengths[..., None], lengths[..., None] // 2
    ids[..., 0] = 1
    ids[(at == middle) | (at == end - 1)] = 2
    ids[at >= end] = 0
    return {"ids": ids, "types": ((at > middle) & (at < end)).long(), "lengths": lengths, "labels": labels}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for job, s in SHAPES.items():
        torch.manual_seed(0)
        model = build(job)
        save_file({k: v.detach().contiguous() for k, v in model.state_dict().items()}, folder / f"{job}.safetensors")
        g = torch.Generator().manual_seed(1)
        data = images(g) if job == "j3" else sentences(g) if job == "j4" else chain(s, g)
        save_file({k: v.contiguous() for k, v in data.items()}, folder / f"{job}_data.safetensors")
        count = [p.numel() for p in model.parameters()], [p.numel() for p in model.parameters() if p.requires_grad]
        print(f"{job}: {sum(count[0])} parameters, {sum(count[1])} trained", file=sys.stderr)


if __name__ == "__main__":
    main()
