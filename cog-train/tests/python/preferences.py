"""Makes the fixture of `tests/models/preferences.rs`: rows of preferences, and the losses of TRL's trainers on them.

    pip install torch transformers peft==0.21.2 trl==1.16.0
    python cog-train/tests/python/preferences.py

The base is that of `lora.py`, the adapter its `plain` with matrices `B` of zeros. `dpo` holds 20 steps of TRL's `DPOTrainer` with the
adapter: loss, accuracy and margin of the rewards before each step. `full` holds the same with all weights trained, and `orpo` the losses of
a loop over ORPO's loss with TRL's `odds_ratio_loss`.
"""

import copy
import json
import pathlib
import tempfile
from types import SimpleNamespace

import torch
from datasets import Dataset
from lora import HERE as LORA
from lora import open_base
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOTrainer

HERE = LORA.parent / "preferences"
STEPS, RATE, BETA = 20, 1e-2, 0.3
ROWS = [
    dict(prompt="w3 w17 w41", chosen=" w8 w9 w29", rejected=" w30 w5"),
    dict(prompt="w5 w6", chosen=" w46", rejected=" w11 w12 w13 w14"),
    dict(prompt="w20 w21 w22 w23 w24", chosen=" w25 w26", rejected=" w27 w28"),
    dict(prompt="w7", chosen=" w31 w32 w33 w34 w35", rejected=" w31 w36"),
]


def tokenizer():
    special = {0: "<unk>", 2: "<eos>", 4: "<pad>"}
    vocabulary = {special.get(number, f"w{number}"): number for number in range(48)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")


def dpo(model, rate):
    """TRL's metrics before each step; each has one batch of all rows."""
    with tempfile.TemporaryDirectory() as out:
        config = DPOConfig(
            out, per_device_train_batch_size=len(ROWS), max_steps=STEPS, learning_rate=rate, lr_scheduler_type="constant",
            warmup_steps=0, max_grad_norm=0.0, weight_decay=0.0, beta=BETA, logging_steps=1, use_cpu=True, report_to=[],
            save_strategy="no", gradient_checkpointing=False, bf16=False, seed=1, disable_tqdm=True,
        )
        extra = {} if isinstance(model, PeftModel) else {"ref_model": copy.deepcopy(model)}
        trainer = DPOTrainer(model, args=config, train_dataset=Dataset.from_list(ROWS), processing_class=tokenizer(), **extra)
        trainer.train()
        steps = [row for row in trainer.state.log_history if "loss" in row]
        names = {"losses": "loss", "accuracies": "rewards/accuracies", "margins": "rewards/margins"}
        return {name: [step[key] for step in steps] for name, key in names.items()}


def losses(model, loss_of):
    """The losses before each step of AdamW over one batch."""
    optimizer = torch.optim.AdamW([it for it in model.parameters() if it.requires_grad], lr=RATE, weight_decay=0.0)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def batch():
    """The batch of TRL's collator: the chosen answers, then the rejected ones."""
    own = tokenizer()
    ids = lambda text: own(text)["input_ids"]
    rows = []
    for kind in ("chosen", "rejected"):
        for row in ROWS:
            prompt = ids(row["prompt"])
            rows.append((prompt, ids(row["prompt"] + row[kind]) + [2]))
    most = max(len(row) for _, row in rows)
    padded = torch.tensor([row + [4] * (most - len(row)) for _, row in rows])
    trained = torch.tensor([[len(prompt) <= at < len(row) for at in range(most)] for prompt, row in rows])
    mask = torch.tensor([[at < len(row) for at in range(most)] for _, row in rows])
    return padded, mask.long(), trained


def log_probs(model, mean=False):
    ids, mask, trained = batch()
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    found = torch.log_softmax(logits, -1).gather(2, ids[:, 1:, None]).squeeze(2) * trained[:, 1:]
    return (found.sum(1) / trained[:, 1:].sum(1) if mean else found.sum(1)).chunk(2)


def orpo_loss(model):
    means = log_probs(model, mean=True)
    stub = SimpleNamespace(beta=BETA, accelerator=SimpleNamespace(device="cpu"))
    odds, *_ = ORPOTrainer.odds_ratio_loss(stub, *means)
    return (-means[0] - odds).mean()


def adapted():
    model = PeftModel.from_pretrained(open_base(), LORA / "plain", is_trainable=True)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    return model


def main():
    torch.manual_seed(0)
    HERE.mkdir(exist_ok=True)
    (HERE / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    tokenizer().save_pretrained(HERE)
    golden = {"dpo": dpo(adapted(), RATE), "full": dpo(open_base(), RATE / 10)}
    golden["orpo"] = losses(adapted(), orpo_loss)
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
