"""Checks this folder's definitions against others' and prints what was compared. Run `make.py DIR` first.

    pip install torch safetensors numpy transformers
    python check.py DIR

1. The operations that flops.py counts are those that PyTorch's FlopCounterMode sees, to the last one, once attention is
   counted as PyTorch computes it: all pairs, and QK' a second time in the backward.
2. J1, J4 and J5 have the loss and the gradients of transformers' GPT-2, BERT and Llama with the same weights.
"""

import sys

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

import flops
from jobs import BERT, CNN, GPT, LLAMA, LORA
from train import batch, load


def count_operations(job, model, inputs):
    needed = flops.attention

    def computed(batch, heads, length, head, causal, dk=True):
        return needed(batch, heads, length, head, causal=False) * 7 // 6

    flops.attention = computed
    formula = {"j1": (flops.gpt, GPT), "j2": (flops.llama, LORA), "j3": (flops.cnn, CNN), "j4": (flops.bert, BERT)}
    function, shape = formula.get(job, (flops.llama, LLAMA))
    expected = function(shape)
    flops.attention = needed
    with FlopCounterMode(display=False) as counter:
        model.loss(*inputs).backward()
    seen = counter.get_total_flops()
    assert seen == expected, f"{job}: PyTorch sees {seen} operations, the formula {expected}"
    print(f"{job}: {seen / 1e9:.2f} GFLOP computed by PyTorch, as the formula; {flops.STEP[job] / 1e9:.2f} needed")


def rename(name, pairs):
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


GPT2_NAMES = [
    ("wte", "transformer.wte"), ("wpe", "transformer.wpe"), ("lnf", "transformer.ln_f"), ("blocks.", "transformer.h."),
    ("ln1", "ln_1"), ("ln2", "ln_2"), ("qkv", "attn.c_attn"), ("proj", "attn.c_proj"),
    ("fc1", "mlp.c_fc"), ("fc2", "mlp.c_proj"),
]  # fmt: skip
BERT_NAMES = [
    ("word.", "bert.embeddings.word_embeddings."), ("position.", "bert.embeddings.position_embeddings."),
    ("token_type.", "bert.embeddings.token_type_embeddings."), ("pooler.", "bert.pooler.dense."),
    ("layers.", "bert.encoder.layer."), (".q.", ".attention.self.query."), (".k.", ".attention.self.key."),
    (".v.", ".attention.self.value."), (".o.", ".attention.output.dense."), (".ln1.", ".attention.output.LayerNorm."),
    (".fc1.", ".intermediate.dense."), (".fc2.", ".output.dense."), (".ln2.", ".output.LayerNorm."),
]  # fmt: skip
LLAMA_NAMES = [
    ("emb.", "model.embed_tokens."), ("head.", "lm_head."), ("blocks.", "model.layers."), (".q.", ".self_attn.q_proj."),
    (".k.", ".self_attn.k_proj."), (".v.", ".self_attn.v_proj."), (".o.", ".self_attn.o_proj."),
    (".ln1.", ".input_layernorm."), (".ln2.", ".post_attention_layernorm."), (".gate.", ".mlp.gate_proj."),
    (".up.", ".mlp.up_proj."), (".down.", ".mlp.down_proj."),
]  # fmt: skip


def theirs(job):
    """A model of transformers, and its name for a name of ours."""
    if job == "j1":
        s = GPT
        config = transformers.GPT2Config(
            vocab_size=s.vocab, n_positions=s.length, n_embd=s.width, n_layer=s.layers, n_head=s.heads,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config), lambda name: rename(name, GPT2_NAMES)
    if job == "j4":
        s = BERT
        config = transformers.BertConfig(
            vocab_size=s.vocab, hidden_size=s.width, num_hidden_layers=s.layers, num_attention_heads=s.heads,
            intermediate_size=s.ff, max_position_embeddings=s.positions, num_labels=s.classes,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        first = {"ln.weight": "bert.embeddings.LayerNorm.weight", "ln.bias": "bert.embeddings.LayerNorm.bias"}
        model = transformers.BertForSequenceClassification(config)
        return model, lambda name: first.get(name) or rename(name, BERT_NAMES)
    s = LLAMA
    config = transformers.LlamaConfig(
        vocab_size=s.vocab, hidden_size=s.width, num_hidden_layers=s.layers, num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads, intermediate_size=s.ff, max_position_embeddings=s.length, rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )  # fmt: skip
    last = {"norm.weight": "model.norm.weight"}
    return transformers.LlamaForCausalLM(config), lambda name: last.get(name) or rename(name, LLAMA_NAMES)


def compare(job, model, inputs):
    other, name_of = theirs(job)
    # GPT-2's layers hold their matrices the other way round.
    turned = {n + ".weight" for n, m in other.named_modules() if type(m).__name__ == "Conv1D"}
    turn = lambda name, t: t.T if name in turned else t
    values = {name_of(k): v for k, v in model.state_dict().items()}
    left = other.load_state_dict({k: turn(k, v) for k, v in values.items()}, strict=False)
    assert set(left.missing_keys) <= {"lm_head.weight"} and not left.unexpected_keys, left

    model.zero_grad()
    loss = model.loss(*inputs)
    loss.backward()
    if job == "j4":
        ids, types, mask, labels = inputs
        their_loss = other(ids, mask.long(), types, labels=labels).loss
    else:
        logits = other(inputs[0]).logits
        their_loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), inputs[1].flatten())
    their_loss.backward()
    apart = abs(loss.item() - their_loss.item()) / their_loss.item()
    grads = dict(other.named_parameters())
    worst = 0.0
    for ours_name, p in model.named_parameters():
        their_name = name_of(ours_name)
        expected = turn(their_name, grads[their_name].grad)
        # The bias of keys has no effect: its gradient is rounding alone, and the floor keeps it out.
        worst = max(worst, ((p.grad - expected).norm() / expected.norm().clamp(min=1e-5)).item())
    assert apart < 1e-6 and worst < 1e-4, f"{job}: loss {apart:.1e} apart, gradients {worst:.1e}"
    print(f"{job}: loss {apart:.1e} and gradients {worst:.1e} apart from {type(other).__name__}")


def main():
    for job in flops.STEP:
        model, data = load(job, sys.argv[1])
        inputs = batch(job, data, 0)
        count_operations(job, model, inputs)
        if job in ("j1", "j4", "j5"):
            compare(job, model, inputs)


if __name__ == "__main__":
    main()
