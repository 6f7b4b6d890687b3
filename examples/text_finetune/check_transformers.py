"""Compares the decoder of this example with transformers, on the base model.

    pip install torch transformers
    python examples/text_finetune/check_transformers.py

For each prompt the scores that `text_pretrain logits PROMPT` prints must be those of transformers, to 1e-4, and so must
the tokens.
"""

import json
import pathlib
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
PROMPTS = ["How are you today?", "Anna woke up at seven", "  ünïcode 🦜 and\nlines", "a"]


def ours(prompt: str) -> dict:
    command = ["cargo", "run", "-q", "--example", "text_pretrain", "--", "logits", prompt]
    run = subprocess.run(command, cwd=HERE.parent.parent, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def main() -> None:
    base = HERE / "base"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(base / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(base).to(torch.float32).eval()
    worst = 0.0
    for prompt in PROMPTS:
        expected = ours(prompt)
        tokens = tokenizer(prompt)["input_ids"]
        assert tokens == expected["tokens"], f"{prompt!r}: {tokens} and {expected['tokens']}"
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0]
        difference = (logits - torch.tensor(expected["logits"])).abs().max().item()
        print(f"{prompt!r}: {len(tokens)} tokens, {difference:.1e} apart at most")
        worst = max(worst, difference)
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
