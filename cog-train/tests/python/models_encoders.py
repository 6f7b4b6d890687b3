"""Writes the fixtures of the encoder families, GPT-2 and ViT: tiny random models, and what transformers computes with them.

    python cog-train/tests/python/models_encoders.py [NAME ..]

Needs torch and transformers. For each model it writes `cog-train/tests/fixtures/models/NAME/{config.json,model.safetensors}` as
`save_pretrained` does, and `golden.json`:

    ids, lengths, types   the batch: token ids [B, T], tokens of each row before the padding, token types [B, T]
    pixels                the batch of an image model, [B, C, H, W]
    labels                what the loss is computed for
    hidden                the last hidden states [B, T, d], zero at padding
    logits                the head's result, zero at padding where it has one row for each token
    losses                of 20 steps of AdamW (lr 1e-3, PyTorch's defaults) without dropout, each before its step
    without_gradient      names of parameters that the loss does not depend on
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import logging

logging.set_verbosity_error()
torch.set_num_threads(1)
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
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2, bos_token_id=0,
        eos_token_id=0, pad_token_id=PAD) | kw))


def vit(**kw):
    return transformers.ViTConfig(**(dict(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4,
        num_channels=3, initializer_range=0.2) | LABELS | kw))


MODELS = {
    "bert_sequence": ("BertForSequenceClassification", bert(**LABELS), SEQUENCE),
    "bert_token": ("BertForTokenClassification", bert(**LABELS), TOKENS),
    "bert_masked": ("BertForMaskedLM", bert(hidden_act="relu"), MASKED),
    "bert_base": ("BertModel", bert(), None),
    "roberta_sequence": ("RobertaForSequenceClassification", roberta(num_labels=1), torch.tensor([0.5, -1.0, 2.0])),
    "roberta_token": ("RobertaForTokenClassification", roberta(**LABELS), TOKENS),
    "roberta_masked": ("RobertaForMaskedLM", roberta(), MASKED),
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
    kind, config, labels = MODELS[name]
    model = getattr(transformers, kind)(config).eval()
    draw(model)
    model.tie_weights()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
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


if __name__ == "__main__":
    for model in sys.argv[1:] or MODELS:
        write(model)
