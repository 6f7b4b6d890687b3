"""Makes the fixtures of `tests/models/lora.rs`: a tiny Llama and adapters of PEFT's beside it, with the logits and losses that PEFT computes.

    python cog-train/tests/python/lora.py              makes the fixtures
    python cog-train/tests/python/lora.py check DIR    loads the adapters in DIR, written by cog-train, and compares their logits

Needs torch, transformers and peft 0.21.
"""

import json
import pathlib
import shutil
import sys
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

GPT2 = dict(
    r=3, lora_alpha=5, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, rank_pattern={"mlp.c_proj": 2}
)
HERE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "lora"
IDS = [[3, 17, 41, 8, 0, 29], [5, 5, 46, 11, 2, 30]]

# Configurations whose selection is compared: the layers, their ranks and scales.
SELECTIONS = [
    dict(target_modules=["q_proj", "mlp.up_proj"]),
    dict(target_modules=["proj"], modules_to_save=None),
    dict(target_modules=["model.layers.1.self_attn.q_proj", "layers.0.mlp.up_proj"]),
    dict(target_modules="all-linear"),
    dict(target_modules="all-linear", exclude_modules=["q_proj", "layers.1.mlp.down_proj"]),
    dict(target_modules="all-linear", exclude_modules=r".*\.0\..*"),
    dict(target_modules=r".*\.(q|v)_proj"),
    dict(target_modules=r"(q|v)_proj"),
    dict(target_modules=["lm_head", "v_proj"]),
    dict(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"]),
    dict(target_modules=["q_proj", "embed_tokens"]),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=0),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[1], layers_pattern=["blocks", "layers"]),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[1], layers_pattern="blocks"),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[]),
    dict(target_modules=["v_proj", "model.layers.0.self_attn.q_proj"], layers_to_transform=[1]),
    dict(target_modules="all-linear", rank_pattern={"q_proj": 3, "layers.0.self_attn.q_proj": 4, "^model.layers.1.mlp.*": 5}),
    dict(target_modules="all-linear", rank_pattern={"up": 3, ".*up_proj": 4}, alpha_pattern={"(k|v)_proj": 6, "self_attn.k_proj": 7}),
    dict(target_modules="all-linear", rank_pattern={"q_proj": 16}, alpha_pattern={"q_proj": 6}, use_rslora=True),
]

CASES = {
    "plain": dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"]),
    "patterns": dict(
        r=3,
        lora_alpha=5,
        target_modules="all-linear",
        rank_pattern={"layers.1.self_attn.q_proj": 2, "gate_proj": 4},
        alpha_pattern={"down_proj": 7, r"model.layers.0.self_attn.[kv]_proj": 2},
        use_rslora=True,
    ),
    "dora": dict(r=2, lora_alpha=3, target_modules=["q_proj", "down_proj"], use_dora=True),
    "saved": dict(
        r=2, lora_alpha=5, target_modules=r"model\.layers\.\d+\.mlp\.(up|down)_proj", modules_to_save=["lm_head", "norm"], bias="all"
    ),
    "biases": dict(
        r=2,
        lora_alpha=5,
        target_modules=["q_proj", "k_proj", "o_proj"],
        exclude_modules=["layers.1.self_attn.k_proj"],
        bias="lora_only",
    ),
    "layers": dict(r=2, lora_alpha=5, target_modules=["v_proj", "up_proj"], layers_to_transform=[1], layers_pattern="layers"),
    "embedding": dict(r=2, lora_alpha=5, target_modules=["embed_tokens", "q_proj", "lm_head"]),
}


def base():
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attention_bias=True,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def write_base():
    model = base()
    model.save_pretrained(HERE / "base")
    (HERE / "base" / "generation_config.json").unlink(missing_ok=True)


def open_base():
    return LlamaForCausalLM.from_pretrained(HERE / "base", attn_implementation="eager").eval()


def logits(model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits


def losses(model, rate=1e-3, steps=20):
    """The curve of AdamW with PyTorch's defaults over one batch; the mean over its targets."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    ids = torch.tensor(IDS)
    curve = []
    for _ in range(steps):
        optimizer.zero_grad()
        scores = model(ids).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(scores, ids[:, 1:].reshape(-1))
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return curve


def write_case(name, options):
    torch.manual_seed(len(name))
    model = get_peft_model(open_base(), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.02 if "magnitude" in key else 0.1))
    model.eval()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    # The digits that the file has.
    model.base_model.model.config._name_or_path = "base"
    for config in model.peft_config.values():
        config.base_model_name_or_path = "base"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    golden = {"ids": IDS, "logits": [round(score, 6) for score in logits(model).flatten().tolist()]}
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    golden["trained"] = trained
    if name in ("plain", "dora", "saved"):
        # A learning rate at which the curve bends.
        fresh = PeftModel.from_pretrained(open_base(), folder, is_trainable=True)
        golden["losses"] = losses(fresh, rate=1e-2)
    (folder / "golden.json").write_text(json.dumps(golden))


def open_gpt2():
    folder = HERE.parent / "models" / "gpt2_causal"
    dropout = dict(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **dropout).eval()


def write_gpt2():
    """An adapter of `Conv1D` layers, whose weights are stored transposed."""
    torch.manual_seed(5)
    model = get_peft_model(open_gpt2(), LoraConfig(task_type="CAUSAL_LM", **GPT2))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.eval()
    folder = HERE / "gpt2"
    shutil.rmtree(folder, ignore_errors=True)
    for config in model.peft_config.values():
        config.base_model_name_or_path = "gpt2_causal"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    golden = {"ids": IDS, "logits": [round(score, 6) for score in logits(model).flatten().tolist()]}
    golden["trained"] = sum(it.numel() for it in model.parameters() if it.requires_grad)
    fresh = PeftModel.from_pretrained(open_gpt2(), folder, is_trainable=True)
    golden["losses"] = losses(fresh, rate=1e-2)
    merged = model.merge_and_unload().state_dict()
    # As the file stores them: one row of each kind of layer.
    names = [f"transformer.h.1.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    golden["merged"] = {name: [round(it, 6) for it in merged[name][1].tolist()] for name in names}
    (folder / "golden.json").write_text(json.dumps(golden))


def write_selections():
    found = []
    for options in SELECTIONS:
        entry = dict(config={"peft_type": "LORA", "r": 8, "lora_alpha": 12, **options}, layers={})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = get_peft_model(open_base(), LoraConfig(r=8, lora_alpha=12, **options))
            for name, module in model.base_model.model.named_modules():
                if hasattr(module, "lora_A") and "default" in module.scaling:
                    entry["layers"][name] = [module.r["default"], module.scaling["default"]]
            trained = (name for name, it in model.base_model.model.named_parameters() if it.requires_grad and "lora_" not in name)
            entry["saved"] = sorted(name.replace("modules_to_save.default.", "") for name in trained)
        except ValueError:
            pass
        found.append(entry)
    (HERE / "selections.json").write_text(json.dumps(found, indent=1) + "\n")


def check(folder):
    """Compares the adapters that cog-train wrote, each beside the logits that it computed."""
    for golden in sorted(pathlib.Path(folder).glob("*/golden.json")):
        expected = json.loads(golden.read_text())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # transformers speaks of its own names.
            warnings.simplefilter("ignore", FutureWarning)
            base = open_gpt2() if golden.parent.name == "gpt2" else open_base()
            model = PeftModel.from_pretrained(base, golden.parent).eval()
        found = logits(model).flatten()
        difference = (found - torch.tensor(expected["logits"])).abs().max().item()
        print(f"{golden.parent.name}: {difference:.2e}")
        assert difference < 1e-4, golden.parent.name


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
    else:
        write_base()
        for name, options in CASES.items():
            write_case(name, options)
        write_gpt2()
        write_selections()
