//! Tokenizers of GGUF files, made by `tests/python/gguf_files.py` with the libraries that trained them.

use std::path::{Path, PathBuf};

use cog_train::Weights;
use cog_train::candle_core::Device;
use cog_train::gguf::{self, Gguf, Metadata, Value};
use cog_train::models::{CausalLm, Config, Pretrained};
use cog_train::nn::{Init, Rng};
use cog_train::serde_json;
use cog_train::text::{Chat, ChatTemplate, Ending, SpecialTokens, Tokenizer};
use serde::Deserialize;

use crate::golden::fixtures;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
}

fn file(name: &str) -> PathBuf {
    fixtures().join("gguf").join(format!("{name}.gguf"))
}

fn golden(name: &str) -> Golden {
    let text = std::fs::read_to_string(file(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn ids_equal_those_of_the_library_that_trained_the_tokenizer() {
    for name in ["gpt_2", "smollm", "llama_bpe", "qwen2", "pieces", "pieces_unspaced"] {
        let (tokenizer, golden) = (Tokenizer::open(file(name)).unwrap(), golden(name));
        for (text, ids) in golden.texts.iter().zip(&golden.ids) {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
            // Composed characters stay composed, and an empty text has no space in front.
            let whole = name != "qwen2" || !text.contains('\u{301}');
            if whole {
                assert_eq!(&tokenizer.decode_all(&ids[tokenizer.prefix().len()..]).unwrap(), text);
            }
        }
    }
}

/// A copy of a file with other metadata.
fn changed(name: &str, change: impl FnOnce(&mut Metadata)) -> tempfile::NamedTempFile {
    let mut metadata = Gguf::open(file(name)).unwrap().metadata().clone();
    change(&mut metadata);
    let copy = tempfile::NamedTempFile::new().unwrap();
    gguf::save(copy.path(), &metadata, &[], |_| Ok(Vec::new())).unwrap();
    copy
}

#[test]
fn special_tokens_come_from_their_keys() {
    let tokenizer = Tokenizer::open(file("smollm")).unwrap();
    let special = tokenizer.special();
    assert_eq!((special.bos, special.eos, special.pad), (Some(1), Some(2), Some(2)));
    assert_eq!(special.stop, [0, 2], "the end of a turn and of a text");
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[][..], &[][..]));
    let bos = changed("smollm", |metadata| {
        metadata.insert("tokenizer.ggml.add_bos_token", true);
        metadata.insert("tokenizer.ggml.add_eos_token", true);
    });
    let tokenizer = Tokenizer::open(bos.path()).unwrap();
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[1][..], &[2][..]));
    for name in ["llama_bpe", "pieces"] {
        assert_eq!(Tokenizer::open(file(name)).unwrap().prefix(), [1], "{name}");
        let bare = changed(name, |it| it.insert("tokenizer.ggml.add_bos_token", false));
        assert!(Tokenizer::open(bare.path()).unwrap().prefix().is_empty(), "{name}");
    }
    assert_eq!(Tokenizer::open(file("pieces")).unwrap().special().unk, Some(0));
}

#[test]
fn the_chat_template_is_that_of_the_metadata() {
    let path = file("smollm");
    let tokenizer = Tokenizer::open(&path).unwrap();
    let template = ChatTemplate::open(&path, &tokenizer).unwrap();
    let chat = Chat::of([("user", "2 + 2?")]);
    let prompt = template.render(&chat, Ending::GenerationPrompt).unwrap().text;
    assert_eq!(prompt, "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n");
    let ids = template.encode(&chat, Ending::GenerationPrompt, &tokenizer).unwrap().ids;
    assert_eq!(ids, tokenizer.encode_plain(&prompt).unwrap());
    let error = ChatTemplate::open(file("pieces"), &tokenizer).unwrap_err().to_string();
    assert!(
        error.contains("there is none: no `tokenizer.chat_template` in its metadata"),
        "{error}"
    );
}

#[test]
fn tokenizers_that_cannot_be_read_are_refused() {
    let refused = |name: &str, key: &str, value: Option<Value>| {
        let key = format!("tokenizer.ggml.{key}");
        let copy = changed(name, |metadata| match value {
            Some(value) => metadata.insert(key, value),
            None => drop(metadata.remove(&key)),
        });
        let error = Tokenizer::open(copy.path()).unwrap_err().to_string();
        error.replace(&copy.path().display().to_string(), "M")
    };
    let tokens = || vec!["a".to_owned()];
    for (name, key, value, expected) in [
        ("smollm", "model", None, "there is no `tokenizer.ggml.model`"),
        (
            "smollm",
            "model",
            Some("bert".into()),
            "`tokenizer.ggml.model` is `bert`, not `gpt2` or `llama`",
        ),
        (
            "smollm",
            "pre",
            Some("viking".into()),
            "`tokenizer.ggml.pre` is `viking`, which is not supported\nhint: supported are `gpt-2`, `mpt`, `olmo`, `phi-2`, \
             `default`, `smollm`, `codeshell`, `command-r`, `refact`, `starcoder`, `llama-bpe`, `falcon3`, `llama-v3`, `llama3`, \
             `qwen2`, `deepseek-r1-qwen`, `gpt-4o`, `tekken`",
        ),
        ("smollm", "merges", None, "there is no `tokenizer.ggml.merges`"),
        (
            "smollm",
            "merges",
            Some(vec!["a q\u{3b1}".to_owned()].into()),
            "`tokenizer.ggml.merges` has `a q\u{3b1}`, and not all of its tokens are there",
        ),
        ("smollm", "tokens", None, "there is no `tokenizer.ggml.tokens`: it has no tokenizer"),
        (
            "smollm",
            "tokens",
            Some(tokens().into()),
            "`tokenizer.ggml.token_type` has 420 values for 1 token",
        ),
        (
            "smollm",
            "eos_token_id",
            Some(420_u32.into()),
            "`tokenizer.ggml.eos_token_id` is 420, and there are 420 tokens",
        ),
        ("pieces", "scores", None, "there is no `tokenizer.ggml.scores`, a list of 32-bit floats"),
        (
            "pieces",
            "scores",
            Some(vec![0.5_f32].into()),
            "`tokenizer.ggml.scores` has 1 value for 560 tokens",
        ),
    ] {
        assert_eq!(refused(name, key, value), format!("tokenizer `M`: {expected}"));
    }
    // Every name of rules opens.
    for pre in ["default", "gpt-4o", "tekken"] {
        let copy = changed("smollm", |it| it.insert("tokenizer.ggml.pre", pre));
        let tokenizer = Tokenizer::open(copy.path()).unwrap();
        let ids = tokenizer.encode_plain("It's 12345 €?!").unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), "It's 12345 €?!", "{pre}");
    }
}

/// A folder and a file are made of each other without a change of ids, special tokens or templates.
#[test]
fn a_tokenizer_is_the_same_in_a_folder_and_in_a_file() {
    for name in ["gpt_2", "smollm", "llama_bpe", "qwen2", "pieces", "pieces_unspaced"] {
        let (dir, golden) = (tempfile::tempdir().unwrap(), golden(name));
        let of_file = Tokenizer::open(file(name)).unwrap();
        of_file.save(dir.path()).unwrap();
        let of_folder = Tokenizer::open(dir.path()).unwrap();
        let again = dir.path().join("again.gguf");
        with_model(dir.path(), of_file.vocab_size() + 3).save_gguf(&again, NONE).unwrap();
        for other in [&of_folder, &Tokenizer::open(&again).unwrap()] {
            assert_eq!(other.special(), of_file.special(), "{name}");
            for (text, ids) in golden.texts.iter().zip(&golden.ids) {
                assert_eq!(&other.encode(text).unwrap(), ids, "{name}: {text:?}");
            }
        }
        let template =
            |path: &Path| ChatTemplate::find(path, &of_file).unwrap().map(|it| format!("{it:?}"));
        let source = |path: &Path| template(path).map(|it| it.contains("<|im_start|>assistant"));
        assert_eq!(source(dir.path()), source(&file(name)), "{name}");
        assert_eq!(source(&again), source(&file(name)), "{name}");
    }
}

const NONE: [(String, cog_train::candle_core::Tensor); 0] = [];

/// Puts a model with so many rows in its embedding into the folder of a tokenizer.
fn with_model(folder: &Path, rows: usize) -> Pretrained {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": 4,
        "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 8,
        "tie_word_embeddings": true,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let config = Config::open(folder.join("config.json")).unwrap();
    let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
    let tensors = init.tensors_of(|init| CausalLm::new(init, &config)).unwrap();
    Weights::save(tensors, folder.join("model.safetensors")).unwrap();
    Pretrained::open(folder).unwrap()
}

/// The tokenizers of folders that were not made of files.
#[test]
fn a_tokenizer_of_a_folder_has_its_ids_in_a_file() {
    let texts = golden("gpt_2").texts;
    for name in ["bytes", "pieces"] {
        let dir = tempfile::tempdir().unwrap();
        Tokenizer::open(fixtures().join(name)).unwrap().save(dir.path()).unwrap();
        let templates = dir.path().join("additional_chat_templates");
        std::fs::create_dir(&templates).unwrap();
        std::fs::write(dir.path().join("chat_template.jinja"), "{{ messages[0].content }}")
            .unwrap();
        std::fs::write(templates.join("tool_use.jinja"), "tools").unwrap();
        let of_folder = Tokenizer::open(dir.path()).unwrap();
        let path = dir.path().join("model.gguf");
        with_model(dir.path(), of_folder.vocab_size() + 5).save_gguf(&path, NONE).unwrap();
        let of_file = Tokenizer::open(&path).unwrap();
        let ids = |it: &SpecialTokens| (it.bos, it.eos, it.pad, it.unk, it.stop.clone());
        assert_eq!(ids(of_file.special()), ids(of_folder.special()), "{name}");
        for text in &texts {
            assert_eq!(
                of_file.encode(text).unwrap(),
                of_folder.encode(text).unwrap(),
                "{name}: {text:?}"
            );
        }
        let metadata = Gguf::open(&path).unwrap();
        let value = |key: &str| metadata.metadata().get(key).cloned();
        assert_eq!(value("tokenizer.chat_template"), Some("{{ messages[0].content }}".into()));
        assert_eq!(value("tokenizer.chat_template.tool_use"), Some("tools".into()));
        assert_eq!(value("tokenizer.chat_templates"), Some(vec!["tool_use".to_owned()].into()));
    }
}

/// The error names each feature that llama.cpp lacks.
#[test]
fn tokenizers_that_a_file_cannot_hold_are_refused_by_name() {
    let refused = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let dir = tempfile::tempdir().unwrap();
        Tokenizer::open(fixtures().join(name)).unwrap().save(dir.path()).unwrap();
        let path = dir.path().join("tokenizer.json");
        let mut json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = with_model(dir.path(), 600).check_gguf().unwrap_err().to_string();
        let error = error.split("\nhint: ").next().unwrap().to_owned();
        error.replace(&path.display().to_string(), "M")
    };
    let json = |value: &str| serde_json::from_str::<serde_json::Value>(value).unwrap();
    let cases: [(&str, &str, &str, &str); 7] = [
        (
            "bytes",
            "/model/type",
            r#""WordPiece""#,
            "the model is `WordPiece`, which a GGUF file cannot express",
        ),
        (
            "bytes",
            "/normalizer",
            r#"{"type": "Lowercase"}"#,
            "the normalizer is `Lowercase`, which a GGUF file cannot express",
        ),
        (
            "bytes",
            "/pre_tokenizer",
            r#"{"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated"}"#,
            "a text is split by `x+`, which a GGUF file cannot express",
        ),
        (
            "bytes",
            "/pre_tokenizer/add_prefix_space",
            "true",
            "a text is split by `ByteLevel`, which a GGUF file cannot express",
        ),
        (
            "bytes",
            "/added_tokens/2/rstrip",
            "true",
            "the token `<|im_start|>` has the rule `rstrip`, which a GGUF file cannot express",
        ),
        (
            "bytes",
            "/post_processor",
            r#"{"type": "RobertaProcessing"}"#,
            "the tokens around each sequence come from `RobertaProcessing`, which a GGUF file cannot express",
        ),
        (
            "pieces",
            "/normalizer/normalizers/0/prepend",
            r#""_""#,
            "the normalizer is `Prepend`, `Replace`, and a text is split by nothing, which a GGUF file cannot express",
        ),
    ];
    for (name, place, value, expected) in cases {
        let message = refused(name, &|file| *file.pointer_mut(place).unwrap() = json(value));
        assert_eq!(message, format!("tokenizer `M`: {expected}"), "{place}");
    }
    let message = refused("pieces", &|file| {
        file["normalizer"] = serde_json::Value::Null;
        file["pre_tokenizer"] = json(
            r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}"#,
        );
    });
    assert!(
        message.contains("by the `prepend_scheme` `first`, which a GGUF file cannot express"),
        "{message}"
    );
    let message =
        refused("pieces", &|file| drop(file["model"]["merges"].as_array_mut().unwrap().remove(0)));
    assert!(message.contains("its merges are not those of one score for each piece"), "{message}");
}
