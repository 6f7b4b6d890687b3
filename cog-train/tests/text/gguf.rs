//! Tokenizers of GGUF files, made by `tests/python/gguf_files.py` with the libraries that trained them.

use std::path::PathBuf;

use cog_train::gguf::{self, Gguf, Metadata, Value};
use cog_train::serde_json;
use cog_train::text::{Chat, ChatTemplate, Ending, Tokenizer};
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
            "`tokenizer.ggml.token_type` has 420 values for 1 tokens",
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
            "`tokenizer.ggml.scores` has 1 values for 560 tokens",
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
