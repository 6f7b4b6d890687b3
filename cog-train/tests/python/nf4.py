"""Makes the fixture of `tests/models/quantized.rs`: the tiny Llama of `models.py` in NF4 with double quantization, an adapter of
PEFT's beside it, the logits and the losses of 20 steps of it.

    pip install torch transformers accelerate peft bitsandbytes
    python cog-train/tests/python/nf4.py

Runs on a CPU. The matrices are dequantized in 32 bits there only where a gradient is needed, hence no `no_grad`.
"""

import json
import pathlib

from models import FIXTURES, LEARNING_RATE, STEPS, batch, digits, write

BASE, NAME = "llama3", "llama3_nf4"


def main() -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.manual_seed(0)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                  bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(FIXTURES / BASE, quantization_config=settings, dtype=torch.float32)
    folder = FIXTURES / NAME
    model.save_pretrained(folder)
    ids, mask, lengths = batch(model.config.vocab_size, 9, 2)
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :4] = -100

    adapter = LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(model, adapter)
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink()
    file = folder / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": BASE}, indent=2) + "\n")
    model.train()
    with model.disable_adapter():
        logits = model(input_ids=ids, attention_mask=mask).logits
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    write(folder, {
        "ids": ids.tolist(),
        "lengths": lengths,
        "labels": labels.tolist(),
        "logits": [digits(row[:n]) for row, n in zip(logits, lengths)],
        "losses": losses,
        "gradients": [],
    })


if __name__ == "__main__":
    main()
