"""Writes what both sides read: batches, an adapter with first values, and folders of the models.

    python make.py DIR LANGUAGE_MODEL CLASSIFIER_BASE

    lora.safetensors      ids (24, 4, 256), i64: each token is predicted from those before
    classify.safetensors  ids (24, 16, 128), labels (24, 16), i64
    packed.safetensors    ids of 1,000 texts one behind the other, and their lengths, i64
    adapter/              PEFT's, with a random B, so that a mistake in it shows in the first loss
    classifier/           the base with a new head of two classes
    language              a link to the language model's folder
"""

import pathlib
import sys

import torch
from shapes import ALPHA, BATCHES, CLASSIFIER, LANGUAGE, LONGEST, MEDIAN, RANK, SHORTEST, SIGMA, TEXTS
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification


def words(vocabulary, count, g):
    """Tokens of falling frequency."""
    return torch.multinomial(1.0 / (torch.arange(vocabulary) + 10.0), count, replacement=True, generator=g)


def main():
    folder, language, classifier = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)

    model = AutoModelForCausalLM.from_pretrained(language, dtype=torch.float32)
    vocabulary = model.config.vocab_size
    link = folder / "language"
    link.unlink(missing_ok=True)
    link.symlink_to(language.resolve())
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0.0, 0.01, generator=g)
    model.save_pretrained(folder / "adapter")

    rows, length = LANGUAGE
    ids = words(vocabulary, BATCHES * rows * length, g).view(BATCHES, rows, length)
    save_file({"ids": ids}, folder / "lora.safetensors")
    lengths = torch.empty(TEXTS).log_normal_(torch.tensor(MEDIAN).log().item(), SIGMA, generator=g)
    lengths = lengths.long().clamp(SHORTEST, LONGEST)
    ids = words(vocabulary, int(lengths.sum()), g)
    save_file({"ids": ids, "lengths": lengths}, folder / "packed.safetensors")

    # Both sides would drop other elements.
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    model = AutoModelForSequenceClassification.from_pretrained(classifier, num_labels=2, dtype=torch.float32, **dropout)
    model.save_pretrained(folder / "classifier")
    rows, length = CLASSIFIER
    ids = 1000 + words(model.config.vocab_size - 1000, BATCHES * rows * length, g).view(BATCHES, rows, length)
    ids[..., 0], ids[..., -1] = 101, 102
    labels = torch.randint(0, 2, (BATCHES, rows), generator=g)
    save_file({"ids": ids, "labels": labels}, folder / "classify.safetensors")


if __name__ == "__main__":
    main()
