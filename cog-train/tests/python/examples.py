"""Opens what the examples `lora_finetune`, `classify` and `embed` write in PEFT, transformers and sentence-transformers: without a
warning, and with the numbers that the examples' predictors print.

    pip install torch transformers peft sentence-transformers
    cargo build --example lora_finetune --example classify --example embed
    python cog-train/tests/python/examples.py [MINILM]

With the folder of a real encoder of sentence-transformers, such as all-MiniLM-L6-v2, `classify` and `embed` train that too. `EXAMPLES` names the
folder of the programs, if it is not that of a debug build.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings

import torch

ARGUMENTS = [os.path.abspath(argument) for argument in sys.argv[1:2]]
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
TEXTS = ["The bed was awful, but the room was not bad at all.", "the shower in the attic is broken", "a", "ünïcode 🦜 " * 30]
# A score or an element of an embedding: of the small base, and of a real one with 6 layers.
TOLERANCE, REAL_TOLERANCE = 1e-5, 1e-4
EXAMPLES = os.path.abspath(os.environ.get("EXAMPLES") or os.path.join(ROOT, "target", "debug", "examples"))
BASE = os.path.join(ROOT, "examples", "classify", "base")


class Refused(list):
    """Collects what a library logs or warns of."""

    def write(self, text):
        if text.strip():
            self.append(text.strip())

    def flush(self):
        pass

    def isatty(self):
        return False


def quietly(what, run):
    """Runs a function that must write nothing on standard error. Progress bars are no warnings."""
    found, stderr = Refused(), sys.stderr
    import logging

    handlers = [logging.StreamHandler(found)]
    loggers = [logging.getLogger(name) for name in ("transformers", "peft", "sentence_transformers")]
    for logger in loggers:
        logger.addHandler(handlers[0])
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            result = run()
    finally:
        for logger in loggers:
            logger.removeHandler(handlers[0])
    library = [str(it.message) for it in warned if issubclass(it.category, UserWarning)]
    assert not found and not library, f"{what}: {list(found) + library}"
    return result


def program(name, *arguments, folder, weights=None):
    binary = os.path.join(EXAMPLES, name)
    env = {**os.environ, **({"COG_WEIGHTS": weights} if weights else {})}
    done = subprocess.run([binary, *arguments], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def predict(name, text, folder, weights):
    return json.loads(program(name, "predict", "-i", f"text={text}", folder=folder, weights=weights))


def compare(what, found, expected, tolerance):
    apart = max(abs(one - other) for one, other in zip(found, expected, strict=True))
    print(f"{what}: {apart:.1e} apart", flush=True)
    assert apart < tolerance, what


def classify(folder, base=BASE, options=(), tolerance=TOLERANCE):
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

    for name, arguments in ("full", []), ("lora", ["-i", "lora_rank=8"]):
        program("classify", *arguments, *options, "-o", name, folder=folder)
        model = os.path.join(folder, name, "model")
        run = quietly(f"classify {name}", lambda: pipeline("text-classification", model, top_k=None))
        for text in TEXTS:
            # As the trainer cuts a text.
            theirs = {it["label"]: it["score"] for it in run([text], truncation=True)[0]}
            ours = predict("classify", text, folder, model)
            assert max(theirs, key=theirs.get) == ours["label"], text
            compare(f"classify {name} {text[:20]!r}", [ours["scores"][label] for label in theirs], theirs.values(), tolerance)
    adapter = os.path.join(folder, "lora", "adapter")
    base = AutoModelForSequenceClassification.from_pretrained(base, config=AutoConfig.from_pretrained(adapter))
    model = quietly("classify adapter", lambda: PeftModel.from_pretrained(base, adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(os.path.join(folder, "lora", "model"))
    for text in TEXTS:
        with torch.no_grad():
            scores = model(**tokenizer(text, truncation=True, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        ours = predict("classify", text, folder, os.path.join(folder, "lora", "model"))["scores"]
        labels = [model.config.id2label[at] for at in range(len(scores))]
        compare(f"classify adapter {text[:20]!r}", [ours[label] for label in labels], scores, tolerance)


def embed(folder, options=(), tolerance=TOLERANCE):
    from sentence_transformers import SentenceTransformer

    for name, arguments in ("normalized", []), ("plain", ["-i", "normalize=false"]):
        program("embed", *arguments, *options, "-o", name, folder=folder)
        path = os.path.join(folder, name, "model")
        model = quietly(f"embed {name}", lambda: SentenceTransformer(path, device="cpu"))
        for text in TEXTS:
            ours, theirs = predict("embed", text, folder, path), model.encode(text).tolist()
            compare(f"embed {name} {text[:20]!r}", ours, theirs, tolerance)


def lora_finetune(folder):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    program("lora_finetune", "-o", "chat", folder=folder)
    os.chdir(folder)  # the adapter names its base by a path in here
    model = quietly("lora_finetune", lambda: AutoPeftModelForCausalLM.from_pretrained("chat", dtype=torch.float32))
    tokenizer = AutoTokenizer.from_pretrained("examples/text_finetune/base")
    with open("examples/lora_finetune/chat.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line)["messages"] for line in file][:40]

    def loss():
        total, count = 0.0, 0
        for row in rows:
            ids = tokenizer.apply_chat_template(row, tokenize=True, return_dict=True)["input_ids"]
            prompt = len(tokenizer.apply_chat_template(row[:1], tokenize=True, return_dict=True)["input_ids"])
            ids = torch.tensor([ids])
            labels = torch.where(torch.arange(ids.shape[1]) < prompt, -100, ids)
            with torch.no_grad():
                total += model(input_ids=ids, labels=labels).loss.item() * (ids.shape[1] - prompt)
            count += ids.shape[1] - prompt
        return total / count

    after = loss()
    with model.disable_adapter():
        before = loss()
    print(f"lora_finetune: {before:.2f} a token before, {after:.2f} after")
    assert after < before - 1


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.join(ROOT, "examples"), os.path.join(folder, "examples"))
        lora_finetune(folder)
        classify(folder)
        embed(folder)
        for base in ARGUMENTS:
            folder = os.path.join(folder, "real")
            os.makedirs(folder)
            os.symlink(os.path.join(ROOT, "examples"), os.path.join(folder, "examples"))
            options = ["-i", f"base_model={base}", "-i", "epochs=1"]
            classify(folder, base, [*options, "-i", "learning_rate=5e-5"], REAL_TOLERANCE)
            embed(folder, [*options, "-i", "learning_rate=2e-5"], REAL_TOLERANCE)


if __name__ == "__main__":
    main()
