"""Makes the fixtures of `tests/models/quantized.rs`: a tiny Llama, `nf4_base`; the same in NF4 with double quantization, `nf4`; an
adapter of PEFT's on it, its logits without the adapter and the losses of 20 steps with it.

    pip install torch transformers accelerate peft bitsandbytes
    python cog-train/tests/python/nf4.py

Runs on a CPU, where bitsandbytes multiplies in 32 bits only if a gradient is needed: hence no `no_grad`.
"""

import json

from models import FIXTURES, LEARNING_RATE, STEPS, batch, digits, randomize, write


def check(layer) -> None:
    """Blocks run through the rows of a matrix. bitsandbytes 0.50 has that wrong on a CPU for some short rows, 16 for one."""
    import bitsandbytes.functional as bnb
    import torch

    state, codes = layer.weight.quant_state, layer.weight.data.flatten()
    scales = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
    codes = torch.stack([codes >> 4, codes & 15], 1).flatten().long()
    values = (state.code[codes].view(-1, state.blocksize) * scales.view(-1, 1)).reshape(state.shape)
    assert torch.equal(values, bnb.dequantize_4bit(layer.weight.data, state))


def main() -> None:
    import bitsandbytes
    import torch
    import transformers as tf
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = tf.LlamaConfig(vocab_size=48, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                            num_key_value_heads=4, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = tf.LlamaForCausalLM(config)
    randomize(model, 1)
    base, folder = FIXTURES / "nf4_base", FIXTURES / "nf4"
    model.save_pretrained(base)
    (base / "generation_config.json").unlink(missing_ok=True)

    settings = tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                     bnb_4bit_compute_dtype=torch.float32)
    model = tf.AutoModelForCausalLM.from_pretrained(base, quantization_config=settings, dtype=torch.float32)
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            check(module)
    model.save_pretrained(folder)
    ids, mask, lengths = batch(config.vocab_size, 9, 2)
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :4] = -100

    adapter = LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(model, adapter)
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink()
    file = folder / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "nf4"}, indent=2) + "\n")
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
