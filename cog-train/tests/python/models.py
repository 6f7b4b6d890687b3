"""Makes the fixtures of the tests of pretrained models, and checks real models and what is saved.

    pip install torch transformers
    python cog-train/tests/python/models.py make [NAME...]

writes a tiny random model of each family with transformers to `cog-train/tests/fixtures/models/NAME`: `config.json`,
`model.safetensors` and `golden.json`, which holds a batch, its logits, 20 losses of PyTorch's AdamW on it and the names of the
parameters that get a gradient. The same versions give the same files.

Each family's module (`decoders.py`, ...) has a table `MODELS` of a name and a function that returns a model.
"""

import json
import pathlib
import sys

import torch

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures" / "models"
STEPS, LEARNING_RATE = 20, 1e-3


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Values large enough that a mistake shows, where transformers draws them close to zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.dim() == 1:
                ones = parameter.detach().abs().mean() > 0.5
                parameter.copy_(noise * 0.2 + (1.0 if ones else 0.0))
            else:
                parameter.copy_(noise * 0.3)


def batch(vocabulary: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Two rows, the second one shorter and padded at the right, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (2, length), generator=generator)
    lengths = [length, length - 3]
    mask = torch.ones_like(ids)
    mask[1, lengths[1]:] = 0
    ids[1, lengths[1]:] = 0
    return ids, mask, lengths


def digits(values: torch.Tensor) -> list:
    return json.loads(json.dumps(values.tolist()), parse_float=lambda text: round(float(text), 6))


def train(model: torch.nn.Module, loss_of, steps: int = STEPS) -> tuple[list[float], list[str]]:
    """The loss before each step, and the parameters that get a gradient."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    losses, names = [], []
    for step in range(steps):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            named = model.named_parameters()
            names = sorted(n for n, p in named if p.grad is not None and p.grad.abs().sum() > 0)
        optimizer.step()
        losses.append(loss.item())
    return losses, names


def causal_lm(name: str, model: torch.nn.Module, length: int = 9) -> None:
    """Writes the fixture of a language model."""
    torch.manual_seed(0)
    randomize(model, 1)
    model.eval()
    folder = FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    ids, mask, lengths = batch(model.config.vocab_size, length, 2)
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :4] = -100
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    golden = {
        "ids": ids.tolist(),
        "lengths": lengths,
        "labels": labels.tolist(),
        "logits": [digits(row[:n]) for row, n in zip(logits, lengths)],
    }
    loss_of = lambda m: m(input_ids=ids, attention_mask=mask, labels=labels).loss
    golden["losses"], golden["gradients"] = train(model, loss_of)
    write(folder, golden)


def write(folder: pathlib.Path, golden: dict) -> None:
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    # Written by some versions of transformers; it has no part in a fixture.
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in sorted(folder.iterdir()):
        size = file.stat().st_size
        assert size < 60_000, f"{file} has {size} bytes"
        print(f"{file.relative_to(FIXTURES)}: {size} bytes")


def families() -> dict:
    import importlib

    found = {}
    for module in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        if module.stem in ("models",):
            continue
        table = getattr(importlib.import_module(module.stem), "MODELS", {})
        found.update(table)
    return found


def make(names: list[str]) -> None:
    torch.set_num_threads(1)
    table = families()
    for name in names or table:
        table[name](name)


if __name__ == "__main__":
    # So that the modules of families import this one and not a second copy.
    sys.modules["models"] = sys.modules["__main__"]
    command, *arguments = sys.argv[1:] or ["make"]
    {"make": make}[command](arguments)
