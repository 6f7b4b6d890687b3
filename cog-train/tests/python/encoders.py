"""The fixtures of the encoder families, GPT-2 and ViT, and checks of what is saved. See `models.py`.

    cargo build -p cog-train --example encoders
    python cog-train/tests/python/encoders.py check [MINILM]
    python cog-train/tests/python/encoders.py time MINILM [RAGGED]

`check` saves each fixture and opens the result with transformers, without a warning and with equal logits. With the folder of
all-MiniLM-L6-v2 it does the same with sentence-transformers, and with a new head. `time` trains a classifier beside PyTorch, both
with two threads, in turn; with `RAGGED` on rows of different lengths.

The fixtures' `golden.json` holds:

    ids, lengths, types   the batch: token ids [B, T], tokens of each row before the padding, token types [B, T]
    pixels                the batch of an image model, [B, C, H, W]
    labels                the targets of the loss
    hidden                the last hidden states [B, T, d], zero at padding
    logits                the head's result, zero at padding where it has one row for each token
    losses                of 20 steps of AdamW (lr 1e-3, PyTorch's defaults) without dropout, each before its step
    without_gradient      names of parameters that the loss does not depend on
"""

import json
import logging as python_logging
import os
import subprocess
import sys
import tempfile
import time as clock
from pathlib import Path

import torch
import transformers
from transformers import logging

logging.set_verbosity_error()
ROOT = Path(__file__).parent.parent / "fixtures" / "models"

IDS = torch.tensor([
    [2, 17, 31, 8, 44, 3, 9, 21, 3],
    [2, 5, 40, 13, 27, 3, 1, 1, 1],
    [2, 33, 33, 3, 1, 1, 1, 1, 1],
])
LENGTHS = [9, 6, 4]
TYPES = torch.tensor([[0] * 6 + [1] * 3, [0] * 9, [0] * 9])
MASK = torch.tensor([[int(t < n) for t in range(9)] for n in LENGTHS])
PAD = 1

SMALL = dict(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             max_position_embeddings=16, initializer_range=0.2, pad_token_id=PAD)
LABELS = dict(id2label={0: "bad", 1: "fair", 2: "good"}, label2id={"bad": 0, "fair": 1, "good": 2})
SEQUENCE = torch.tensor([2, 0, 1])
TOKENS = torch.tensor([
    [-100, 0, 1, 2, 0, -100, 1, 1, -100],
    [-100, 2, 2, 0, 1, -100, -100, -100, -100],
    [-100, 1, 0, -100, -100, -100, -100, -100, -100],
])
MASKED = torch.where(TOKENS == 1, IDS, -100)


def bert(**kw):
    return transformers.BertConfig(**(SMALL | dict(type_vocab_size=2) | kw))


def roberta(**kw):
    return transformers.RobertaConfig(**(SMALL | dict(type_vocab_size=1) | kw))


def xlm_roberta(**kw):
    return transformers.XLMRobertaConfig(**(SMALL | dict(type_vocab_size=1) | kw))


def distilbert(**kw):
    names = dict(hidden_size="dim", num_hidden_layers="n_layers", num_attention_heads="n_heads",
                 intermediate_size="hidden_dim")
    return transformers.DistilBertConfig(**({names.get(key, key): value for key, value in SMALL.items()} | kw))


def modernbert(**kw):
    return transformers.ModernBertConfig(**(SMALL | dict(
        num_hidden_layers=4, local_attention=6, global_attn_every_n_layers=3, cls_token_id=2, sep_token_id=3,
        bos_token_id=2, eos_token_id=3) | kw))


def gpt2(**kw):
    return transformers.GPT2Config(**(dict(
        vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2, bos_token_id=0,
        eos_token_id=0, pad_token_id=PAD) | kw))


def vit(**kw):
    return transformers.ViTConfig(**(dict(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4,
        num_channels=3, initializer_range=0.2) | LABELS | kw))


TABLE = {
    "bert_sequence": ("BertForSequenceClassification", bert(**LABELS), SEQUENCE),
    "bert_token": ("BertForTokenClassification", bert(**LABELS), TOKENS),
    "bert_masked": ("BertForMaskedLM", bert(hidden_act="relu"), MASKED),
    "bert_base": ("BertModel", bert(), None),
    "roberta_sequence": ("RobertaForSequenceClassification", roberta(num_labels=1), torch.tensor([0.5, -1.0, 2.0])),
    "roberta_token": ("RobertaForTokenClassification", roberta(**LABELS), TOKENS),
    "roberta_masked": ("RobertaForMaskedLM", roberta(), MASKED),
    "xlm_roberta_sequence": ("XLMRobertaForSequenceClassification", xlm_roberta(**LABELS), SEQUENCE),
    "xlm_roberta_masked": ("XLMRobertaForMaskedLM", xlm_roberta(), MASKED),
    "distilbert_sequence": (
        "DistilBertForSequenceClassification",
        distilbert(problem_type="multi_label_classification", **LABELS),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]),
    ),
    "distilbert_token": ("DistilBertForTokenClassification", distilbert(**LABELS), TOKENS),
    "distilbert_masked": ("DistilBertForMaskedLM", distilbert(), MASKED),
    "modernbert_sequence": ("ModernBertForSequenceClassification", modernbert(classifier_pooling="mean", **LABELS), SEQUENCE),
    "modernbert_token": ("ModernBertForTokenClassification", modernbert(
        norm_bias=True, mlp_bias=True, attention_bias=True, classifier_bias=True, **LABELS), TOKENS),
    "modernbert_masked": ("ModernBertForMaskedLM", modernbert(), MASKED),
    "gpt2_causal": ("GPT2LMHeadModel", gpt2(), torch.where(MASK == 1, IDS, -100)),
    "gpt2_scaled": ("GPT2LMHeadModel", gpt2(
        n_inner=24, activation_function="gelu", scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False),
        torch.where(MASK == 1, IDS, -100)),
    "gpt2_sequence": ("GPT2ForSequenceClassification", gpt2(n_inner=24, **LABELS), SEQUENCE),
    "vit_image": ("ViTForImageClassification", vit(), SEQUENCE),
}


def draw(model):
    """Weights that are far from where a model starts, so that no term is near zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) * 0.2
            if parameter.dim() == 1 and "norm" in name.lower() or ".ln_" in name:
                values = values + (1.0 if name.endswith("weight") else 0.0)
            parameter.copy_(values)


def numbers(tensor):
    tensor = tensor.detach()
    if tensor.dtype.is_floating_point:
        return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: float(f"{float(text):.7g}"))
    return tensor.tolist()


def write(name):
    torch.set_num_threads(1)
    kind, config, labels = TABLE[name]
    model = getattr(transformers, kind)(config).eval()
    draw(model)
    model.tie_weights()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    # Written by some versions of transformers; it has no part in a fixture.
    (folder / "generation_config.json").unlink(missing_ok=True)
    golden = {}
    if isinstance(config, transformers.ViTConfig):
        pixels = torch.randn((3, 3, 8, 8), generator=torch.Generator().manual_seed(3))
        pixels = torch.round(pixels * 1000) / 1000
        inputs = dict(pixel_values=pixels)
        golden["pixels"] = numbers(pixels)
    else:
        inputs = dict(input_ids=IDS, attention_mask=MASK)
        golden |= dict(ids=numbers(IDS), lengths=LENGTHS)
        if isinstance(config, transformers.BertConfig):
            inputs["token_type_ids"] = TYPES
            golden["types"] = numbers(TYPES)
    output = model(**inputs, output_hidden_states=True)
    hidden = getattr(model, model.base_model_prefix, model)(**inputs).last_hidden_state
    if "input_ids" in inputs:
        hidden = hidden * MASK[..., None]
    golden["hidden"] = numbers(hidden)
    if labels is not None:
        logits = output.logits
        golden["logits"] = numbers(logits * MASK[..., None] if logits.dim() == 3 else logits)
        golden["labels"] = numbers(labels)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            losses.append(float(f"{loss.item():.8g}"))
            without = sorted(name for name, parameter in model.named_parameters() if parameter.grad is None)
            optimizer.step()
        golden["losses"], golden["without_gradient"] = losses, without
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, {file.name: file.stat().st_size for file in sorted(folder.iterdir())}, golden.get("losses", [])[::19])


MODELS = {name: write for name in TABLE}
BINARY = Path(__file__).parents[3] / "target" / os.environ.get("PROFILE", "debug") / "examples" / "encoders"


def ours(**request) -> dict:
    run = subprocess.run([BINARY], input=json.dumps(request), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


class Lines(python_logging.Handler):
    """Warnings of transformers and sentence-transformers."""

    def __init__(self):
        super().__init__(python_logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def __enter__(self):
        for name in ("transformers", "sentence_transformers"):
            python_logging.getLogger(name).addHandler(self)
            python_logging.getLogger(name).setLevel(python_logging.WARNING)
        return self

    def __exit__(self, *_):
        for name in ("transformers", "sentence_transformers"):
            python_logging.getLogger(name).removeHandler(self)
        assert not self.lines, self.lines


def opened(kind, folder):
    with Lines():
        model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


def apart(ours, theirs, mask=None):
    found = torch.tensor(ours["result"]).reshape(ours["shape"])
    difference = (found - theirs).abs()
    return (difference * mask if mask is not None else difference).max().item()


TASKS = {"sequence": "SequenceClassification", "token": "TokenClassification", "masked": "MaskedLM", "causal": "CausalLM",
         "scaled": "CausalLM", "image": "ImageClassification"}


def check_fixture(name):
    folder, task = ROOT / name, name.rsplit("_", 1)[1]
    golden = json.loads((folder / "golden.json").read_text())
    request = dict(command="save", folder=str(folder), task={"scaled": "causal"}.get(task, task), padding=PAD)
    inputs, mask = {}, None
    if "pixels" in golden:
        request["pixels"] = golden["pixels"]
        inputs["pixel_values"] = torch.tensor(golden["pixels"])
    else:
        request["rows"] = [row[:n] for row, n in zip(golden["ids"], golden["lengths"])]
        inputs |= dict(input_ids=IDS, attention_mask=MASK)
        if "types" in golden:
            request["types"] = golden["types"]
            inputs["token_type_ids"] = TYPES
    with tempfile.TemporaryDirectory() as out:
        answer = ours(**request, out=out)
        model = opened(getattr(transformers, f"AutoModelFor{TASKS[task]}"), out)
        assert type(model).__name__ == json.loads((Path(out) / "config.json").read_text())["architectures"][0]
    with torch.no_grad():
        logits = model(**inputs).logits
    distance = apart(answer, logits, MASK[..., None] if logits.dim() == 3 else None)
    print(f"{name}: logits of the saved model are {distance:.1e} apart")
    assert distance < 1e-4


SENTENCES = ["A man is eating food.", "A monkey plays drums.", "The quick brown fox jumps over the lazy dog, twice a day.",
             "x", "Wie geht es Ihnen heute? " * 12]


def check_minilm(folder):
    from sentence_transformers import SentenceTransformer

    with Lines():
        theirs = SentenceTransformer(folder, device="cpu")
    batch = theirs.tokenizer(SENTENCES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    rows = [ids[:n].tolist() for ids, n in zip(batch["input_ids"], batch["attention_mask"].sum(1))]
    with tempfile.TemporaryDirectory() as out:
        answer = ours(command="save", folder=folder, task="embed", rows=rows, out=out)
        assert not answer["drawn"], answer["drawn"]
        distance = apart(answer, torch.tensor(theirs.encode(SENTENCES)))
        print(f"minilm: embeddings are {distance:.1e} apart, not used: {answer['unused']}")
        assert distance < 1e-5
        with Lines():
            again = SentenceTransformer(out, device="cpu")
        assert (again.encode(SENTENCES) == theirs.encode(SENTENCES)).all()
        opened(transformers.AutoModel, out)
        kept = sorted(str(file.relative_to(folder)) for file in Path(folder).rglob("*") if file.is_file())
        saved = sorted(str(file.relative_to(out)) for file in Path(out).rglob("*") if file.is_file())
        kept = [name for name in kept if name not in ("README.md", ".gitattributes")]
        assert kept == saved, (kept, saved)
    labels = ["negative", "neutral", "positive"]
    with tempfile.TemporaryDirectory() as out:
        answer = ours(command="save", folder=folder, task="sequence", labels=labels, rows=rows, out=out)
        print(f"minilm: drawn for a classifier: {answer['drawn']}")
        assert answer["drawn"] == ["classifier.bias", "classifier.weight"]
        model = opened(transformers.AutoModelForSequenceClassification, out)
        assert type(model).__name__ == "BertForSequenceClassification"
        assert [model.config.id2label[id] for id in range(3)] == labels
        assert abs(model.classifier.weight.std().item() - 0.02) < 0.002 and not model.classifier.bias.any()
        with torch.no_grad():
            distance = apart(answer, model(**batch).logits)
        print(f"minilm: logits of the saved classifier are {distance:.1e} apart")
        assert distance < 1e-4


def check(arguments):
    torch.set_num_threads(1)
    for name in TABLE:
        if TABLE[name][2] is not None:
            check_fixture(name)
    for folder in arguments:
        check_minilm(folder)


def time(arguments):
    """Milliseconds of a step of AdamW on 16 rows of 128 tokens."""
    folder, ragged = arguments[0], len(arguments) > 1
    torch.set_num_threads(2)
    os.environ["RAYON_NUM_THREADS"] = "2"
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(16, 129, (16,), generator=generator) if ragged else torch.full((16,), 128)
    lengths[0] = 128
    ids = torch.randint(1000, 30000, (16, 128), generator=generator)
    mask = (torch.arange(128) < lengths[:, None]).long()
    rows = [row[:n].tolist() for row, n in zip(ids * mask, lengths)]
    labels, steps = torch.arange(16) % 2, 6
    medians = {"ours": [], "pytorch": []}
    for _ in range(4):
        answer = ours(command="time", folder=folder, rows=rows, steps=steps)
        medians["ours"].append(sorted(answer["milliseconds"][1:])[(steps - 1) // 2])
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
        optimizer, times = torch.optim.AdamW(model.parameters(), lr=5e-5), []
        for _ in range(steps):
            start = clock.perf_counter()
            optimizer.zero_grad()
            model(input_ids=ids * mask, attention_mask=mask, labels=labels).loss.backward()
            optimizer.step()
            times.append((clock.perf_counter() - start) * 1e3)
        medians["pytorch"].append(sorted(times[1:])[(steps - 1) // 2])
    for name, values in medians.items():
        print(f"{name}: {min(values):.0f} to {max(values):.0f} ms")
    ratios = sorted(a / b for a, b in zip(medians["ours"], medians["pytorch"]))
    print(f"ours / pytorch: {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    {"check": check, "time": time}[sys.argv[1]](sys.argv[2:])
