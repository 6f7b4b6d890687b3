"""Makes the base model of the examples `classify` and `embed`: a BERT of 0.1 million parameters that has read texts of the kinds of both
data sets, without labels and pairs, and was trained to fill in masked tokens.

    pip install torch transformers
    python examples/classify/pretrain.py

It takes a minute. The same program on the same machine writes the same bytes.
"""

import importlib.util
import os
import random

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
STEPS, BATCH, IGNORED = 4000, 64, -100


def grammar(example):
    spec = importlib.util.spec_from_file_location(example, os.path.join(HERE, "..", example, "data", "make.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(r):
    reviews, pairs = grammar("classify"), grammar("embed")
    while True:
        yield reviews.review(r, r.choice(["negative", "neutral", "positive"]))
        # Guests who go on for a while: a word is found by how the others are meant.
        side = r.choice(["negative", "positive"])
        yield " and ".join(reviews.opinion(r, side) for _ in range(r.choice([2, 3, 4])))
        case = [r.choice(choices) for choices in (pairs.THINGS, pairs.DEFECTS, pairs.PLACES)]
        yield r.choice([pairs.said, pairs.written])(r, *case)


def train_tokenizer(corpus):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    printable = [chr(code) for code in range(33, 127)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=640, special_tokens=SPECIAL, initial_alphabet=printable, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    special = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64)


def masked(tokenizer, batch, generator):
    ids = tokenizer(batch, padding=True, return_tensors="pt")
    drawn = torch.rand(ids.input_ids.shape, generator=generator)
    chosen = (drawn < 0.2) & (ids.input_ids >= len(SPECIAL))
    labels = torch.where(chosen, ids.input_ids, IGNORED)
    inputs = torch.where(chosen & (drawn < 0.16), tokenizer.mask_token_id, ids.input_ids)
    return inputs, ids.attention_mask, labels


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    source = texts(random.Random(1))
    tokenizer = train_tokenizer([next(source) for _ in range(20_000)])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
    )
    model = BertForMaskedLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min((step + 1) / 300, (STEPS - step) / (STEPS - 300))
        inputs, mask, labels = masked(tokenizer, [next(source) for _ in range(BATCH)], generator)
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{STEPS}: loss {loss.item():.3f}", flush=True)
    # The body, with the pooler of a model of its own: a masked language model has none.
    body = BertModel(config)
    body.load_state_dict(model.bert.state_dict(), strict=False)
    body.save_pretrained(os.path.join(HERE, "base"))
    tokenizer.save_pretrained(os.path.join(HERE, "base"))


if __name__ == "__main__":
    main()
