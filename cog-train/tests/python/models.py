"""Makes the fixtures of the tests of pretrained models, and checks real models and what is saved.

    pip install torch transformers
    python cog-train/tests/python/models.py make [NAME...]

writes a tiny random model of each family with transformers to `cog-train/tests/fixtures/models/NAME`: `config.json`,
`model.safetensors` and `golden.json`, which holds a batch, its logits, 20 losses of PyTorch's AdamW on it and the names of the
parameters that get a gradient. The same versions give the same files.

    cargo build --release -p cog-train --example pretrained
    python cog-train/tests/python/models.py check FOLDER
    python cog-train/tests/python/models.py speed FOLDER

compares a real language model in FOLDER with transformers: logits to 1e-4, the text of 20 prompts, and what is saved, which must
open without a warning and with equal logits. `speed` generates with both in turn and prints tokens per second.

    pip install peft
    python cog-train/tests/python/models.py adapter FOLDER ADAPTER

compares the logits of a model with an adapter, such as `text_finetune` writes, with those of PEFT.

Each family's module (`decoders.py`, ...) has a table `MODELS` of a name and a function that returns a model.
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

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


PROMPTS = [
    "What is the capital of France?", "Write a haiku about rivers.", "Explain photosynthesis to a child.", "2 + 2 =",
    "List three uses of salt.", "Who wrote Hamlet?", "Translate 'good morning' into Spanish.", "Why is the sky blue?",
    "Give me a recipe for pancakes.", "Name a prime number above 50.", "What does HTTP stand for?", "Tell me a joke.",
    "How do bees make honey?", "Write a line of Python that sums a list.", "What is the boiling point of water?",
    "Summarise the story of Cinderella.", "Which planet is the largest?", "Describe a sunset in one sentence.",
    "Is 91 a prime number?", "Say hello in five languages.",
]
EXAMPLES = os.environ.get("EXAMPLES") or pathlib.Path(__file__).parents[3] / "target" / "release" / "examples"
BINARY = pathlib.Path(EXAMPLES) / "pretrained"


def ours(**request) -> dict:
    run = subprocess.run([BINARY], input=json.dumps(request), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def opened(folder: str):
    """A model that transformers opens without a warning."""
    import logging

    import transformers as tf

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    model, report = tf.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    logger.removeHandler(handler)
    assert not lines, lines
    assert not any(report.values()), report
    return model


def prompts(folder: str) -> list[list[int]]:
    import transformers as tf

    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    chat = lambda text: [{"role": "user", "content": text}]
    ids = [tokenizer.apply_chat_template(chat(p), add_generation_prompt=True, return_dict=True) for p in PROMPTS]
    return [list(row["input_ids"]) for row in ids]


def check(arguments: list[str]) -> None:
    import safetensors.torch as st

    (folder,) = arguments
    torch.set_num_threads(1)
    rows = prompts(folder)
    with tempfile.TemporaryDirectory() as out:
        model = opened(folder)
        ours(command="save", folder=folder, out=f"{out}/saved")
        again = opened(f"{out}/saved")
        carried = sorted(file.name for file in pathlib.Path(folder).iterdir() if not file.name.startswith("."))
        saved = sorted(file.name for file in pathlib.Path(out, "saved").iterdir())
        assert [name for name in carried if name != "README.md"] == saved, (carried, saved)
        ids = torch.tensor([rows[0]])
        with torch.no_grad():
            assert torch.equal(model(ids).logits, again(ids).logits), "a saved model has other logits"
        print("save: opens without a warning, equal logits")

        model = model.float().eval()
        exact = copy.deepcopy(model).double()
        for norm in exact.modules():
            # Those of transformers compute in 32 bits whatever they are given.
            if type(norm).__name__.endswith("RMSNorm"):
                norm.forward = lambda x, norm=norm: norm.weight * x * (x.pow(2).mean(-1, True) + norm.variance_epsilon).rsqrt()

        def distances(row: list[int]) -> tuple[float, float, float]:
            """Ours to transformers, ours to 64 bits, transformers to 64 bits."""
            ours(command="logits", folder=folder, rows=[row], out=f"{out}/logits.safetensors")
            found = st.load_file(f"{out}/logits.safetensors")["logits"]
            with torch.no_grad():
                theirs, true = model(torch.tensor([row])).logits, exact(torch.tensor([row])).logits
            apart = lambda one, other: (one - other).abs().max().item()
            return apart(found, theirs), apart(found, true), apart(theirs, true)

        # This model's scores reach 40: the rounding of either program alone is more than half of that.
        for row in rows[:4] + [[1, 50 + i, 900 + 7 * i, 3000 + i, 20_000 + 3 * i, 12, 77, 8, 9, 10] for i in range(6)]:
            both, mine, theirs = distances(row)
            print(f"logits: {both:.1e} from transformers; from 64 bits {mine:.1e}, transformers {theirs:.1e}")
            assert both < 1e-4

    texts = ours(command="generate", folder=folder, rows=rows, most_tokens=64)["texts"]
    end = model.generation_config.eos_token_id
    ends = set(end) if isinstance(end, list) else {end}
    same = 0
    for row, text in zip(rows, texts):
        with torch.no_grad():
            full = model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row)), max_new_tokens=64,
                                  do_sample=False)[0].tolist()
        expected = [token for token in full[len(row):] if token not in ends]
        assert text == expected, f"{text} and {expected}"
        same += 1
    print(f"greedy text: equal for {same} of {len(rows)} prompts")


def adapter(arguments: list[str]) -> None:
    import safetensors.torch as st
    from peft import PeftModel

    folder, adapter = arguments
    torch.set_num_threads(1)
    plain = opened(folder).float().eval()
    model, apart, effect = None, 0.0, 0.0
    with tempfile.TemporaryDirectory() as out:
        for row in prompts(folder)[:8]:
            with torch.no_grad():
                before = plain(torch.tensor([row])).logits[0] if model is None else None
                model = model or PeftModel.from_pretrained(plain, adapter).eval()
                expected = model(torch.tensor([row])).logits[0]
            if before is not None:
                effect = (expected - before).abs().max().item()
            ours(command="logits", folder=folder, rows=[row], out=f"{out}/logits", adapter_folder=adapter)
            found = st.load_file(f"{out}/logits")["logits"].reshape(expected.shape)
            apart = max(apart, (found - expected).abs().max().item())
    print(f"logits with the adapter: {apart:.1e} from PEFT's; {effect:.1f} from those of the base")
    assert apart < 1e-4 < effect


def speed(arguments: list[str]) -> None:
    """Tokens per second after the first one, in turn, both with two threads or as many as a second argument says."""
    folder, threads = (*arguments, "2")[:2]
    torch.set_num_threads(int(threads))
    os.environ["RAYON_NUM_THREADS"] = threads
    model = opened(folder).float().eval()
    row = prompts(folder)[8]
    for turn in range(5):
        answer = ours(command="generate", folder=folder, rows=[row], most_tokens=128)
        assert answer["tokens"] == 127, answer["tokens"]
        times = []

        def note(*_):
            times.append(time.perf_counter())
            return False

        with torch.no_grad():
            model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row)), max_new_tokens=128,
                           do_sample=False, stopping_criteria=[note])
        theirs = (len(times) - 1) / (times[-1] - times[0])
        mine = answer["tokens"] / answer["seconds"]
        print(f"turn {turn}: {mine:.1f} tokens per second, transformers {theirs:.1f}, ratio {mine / theirs:.2f}")


if __name__ == "__main__":
    # So that the modules of families import this one and not a second copy.
    sys.modules["models"] = sys.modules["__main__"]
    command, *arguments = sys.argv[1:] or ["make"]
    {"make": make, "check": check, "adapter": adapter, "speed": speed}[command](arguments)
