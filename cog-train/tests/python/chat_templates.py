#!/usr/bin/env python3
"""Writes the goldens of `cog_train::text`: what `transformers` makes of the chats and templates in
`tests/fixtures/text`.

    pip install transformers==5.24.0 jinja2
    python cog-train/tests/python/chat_templates.py

It writes two small tokenizers (`bytes/`, a byte-level BPE, and `pieces/`, a BPE with `▁` and byte fallback) when they are
not there, and `chats.golden.json`.
"""

import datetime
import json
import shutil
import tempfile
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "text"

CORPUS = [
    "The capital of France is Paris. The capital of Italy is Rome.",
    "What is the weather in Paris? It is sunny in Paris today, and the wind is light.",
    "<|im_start|>user assistant system tool content name arguments parameters function",
    "Answer briefly. You are a helpful assistant. Below is an instruction.",
    '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
    "To be, or not to be, that is the question: the answer is in the question.",
] * 4

# Sorted: their ids are in this order.
MARKS = """<|im_start|> <|im_end|> <|eot_id|> <|start_header_id|> <|end_header_id|> [INST] [/INST] <start_of_turn>
<end_of_turn> <|user|> <|assistant|> <|system|> <|end|> <|User|> <|Assistant|> <think> </think>""".split()


class Now(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 3)


chat_template_utils.datetime = Now


def save(folder, tokenizer, config, **files):
    folder.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    text = json.dumps(data, ensure_ascii=False, indent=None, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text.replace('{"id":', '\n{"id":') + "\n")
    for name, content in {"tokenizer_config": config, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def byte_level():
    """Special tokens of many families, no BOS by itself, in the layout of transformers 5."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|begin_of_text|>", *MARKS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    config = {
        "backend": "tokenizers",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "TokenizersBackend",
    }
    save(HERE / "bytes", tokenizer, config, generation_config={"eos_token_id": [3, 4]})


def pieces():
    """Adds a BOS, in the layout of transformers 4: added_tokens_decoder, tokens with options, special_tokens_map."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator([word for line in CORPUS for word in line.split()], trainer)
    # The bytes are pieces, not special tokens.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    token = lambda content: {
        "content": content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
    size = tokenizer.get_vocab_size()
    config = {
        "add_bos_token": False,  # ignored beside a tokenizer.json, as transformers does
        "added_tokens_decoder": {
            "0": token("<unk>"),
            "1": token("<s>"),
            "2": token("</s>"),
            str(size): token("<end_of_turn>"),
        },
        "bos_token": {"__type": "AddedToken", **token("<s>")},
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "pad_token": "<pad>",  # not in the vocabulary: appended
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
    }
    save(HERE / "pieces", tokenizer, config)


def main():
    if not (HERE / "bytes").exists():
        byte_level()
    if not (HERE / "pieces").exists():
        pieces()
    chats = json.loads((HERE / "chats.json").read_text())
    loaded = {
        name: AutoTokenizer.from_pretrained(HERE / name, local_files_only=True) for name in ("bytes", "pieces")
    }
    golden = []
    for case in chats["cases"]:
        tokenizer = loaded[case.get("tokenizer", "bytes")]
        template = (HERE / "templates" / f"{case['template']}.jinja").read_text()
        options = dict(case.get("options", {}))
        for key in ("tools", "documents"):
            if key in case:
                options[key] = chats[case[key]]
        options["chat_template"] = template
        messages = chats["chats"][case["chat"]]
        found = {key: case[key] for key in ("template", "chat", "tokenizer", "options", "tools", "documents") if key in case}
        try:
            found["text"] = tokenizer.apply_chat_template(messages, tokenize=False, **options)
            mask = "{% generation" in template or "{%- generation" in template
            mask = mask and not options.get("continue_final_message")
            out = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=mask, **options)
            found["ids"] = out["input_ids"]
            if mask:
                found["mask"] = "".join(str(bit) for bit in out["assistant_masks"])
        except Exception as error:
            found["error"] = str(error)
            print(case["template"], case["chat"], type(error).__name__, error)
        golden.append(found)
    plain = []
    for name, tokenizer in loaded.items():
        for text in chats["texts"]:
            plain.append(
                {
                    "tokenizer": name,
                    "text": text,
                    "ids": tokenizer(text)["input_ids"],
                    "plain": tokenizer(text, add_special_tokens=False)["input_ids"],
                    "decoded": tokenizer.decode(tokenizer(text)["input_ids"]),
                    "skipped": tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True),
                }
            )
    # The class LlamaTokenizer makes its own rules for spaces; which model type is beside it matters too.
    classes = []
    spaced = ["The answer", " lead", "<s>The answer</s>The question", "a  b\n c</s> d", "[INST] x [/INST] y </s><s>[INST] z"]
    for changes, model in [
        ({"tokenizer_class": "LlamaTokenizer", "legacy": False}, "llama"),
        ({"tokenizer_class": "LlamaTokenizerFast"}, "llama"),
        ({"tokenizer_class": "LlamaTokenizer", "legacy": True}, "llama"),
        ({"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}, "llama"),
        ({"tokenizer_class": "LlamaTokenizer"}, None),
        ({"tokenizer_class": "LlamaTokenizer"}, "mistral"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "llama"),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            shutil.copytree(HERE / "pieces", folder, dirs_exist_ok=True)
            config = json.loads((folder / "tokenizer_config.json").read_text())
            (folder / "tokenizer_config.json").write_text(json.dumps({**config, **changes}))
            if model:
                (folder / "config.json").write_text(json.dumps({"model_type": model}))
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            for text in spaced + chats["texts"]:
                ids = tokenizer(text)["input_ids"]
                classes.append({"changes": changes, "model": model, "text": text, "ids": ids, "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    sizes = {name: len(tokenizer) for name, tokenizer in loaded.items()}
    special = {name: tokenizer.special_tokens_map for name, tokenizer in loaded.items()}
    lines = lambda rows: "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"
    (HERE / "chats.golden.json").write_text(
        f'{{"sizes": {json.dumps(sizes)},\n"special": {json.dumps(special)},\n'
        f'"texts": {lines(plain)},\n"classes": {lines(classes)},\n"cases": {lines(golden)}}}\n'
    )
    print(len(golden), "cases")


main()
