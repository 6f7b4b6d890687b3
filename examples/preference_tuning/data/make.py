"""Writes `train.jsonl` and `eval.jsonl`: the answers of `text_finetune`'s data are chosen, the base's own are rejected.

    pip install torch transformers
    python examples/preference_tuning/data/make.py
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

HERE = Path(__file__).parent
OTHER = HERE.parent.parent / "text_finetune"
MODEL = LlamaForCausalLM.from_pretrained(OTHER / "base").float().eval()
TOKENIZER = Tokenizer.from_file(str(OTHER / "base" / "tokenizer.json"))


def answer(prompt):
    ids = [0] + TOKENIZER.encode(prompt, add_special_tokens=False).ids
    with torch.no_grad():
        whole = MODEL.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False, eos_token_id=0, pad_token_id=0)
    new = whole[0].tolist()[len(ids):]
    return TOKENIZER.decode(new[: new.index(0)] if 0 in new else new)


def make(name, count):
    rows = []
    for line in (OTHER / "data" / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if len(rows) == count:
            break
        rejected = answer(row["prompt"])
        if 8 <= len(rejected) <= 160:
            rows.append({"prompt": row["prompt"], "chosen": " " + row["completion"].strip(), "rejected": rejected})
    (HERE / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    make("train", 192)
    make("eval", 32)
