//! GGUF files that are written from folders.

use std::fs;
use std::path::Path;

use cog_train::candle_core::{DType, Device};
use cog_train::gguf::{Gguf, TensorType, Value};
use cog_train::lora::{LoraConfig, Modules};
use cog_train::models::{CausalLm, Pretrained, Tokens};
use cog_train::nn::{Init, Rng};
use cog_train::serde_json::{self, json};

use crate::gguf::{largest_difference, read_in_python};
use crate::support::{Golden, LOGITS, folder, load};

/// A copy of a fixture with a tokenizer of three tokens, and another configuration.
fn copied(name: &str, change: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let file = dir.path().join("config.json");
    let mut config = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut config);
    fs::write(file, config.to_string()).unwrap();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    });
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    dir
}

/// Writes the model of a folder with its own values.
fn written(from: &Path, to: &Path) -> Result<(), String> {
    let base = Pretrained::open(from).unwrap();
    let tensors = base.tensors(&Device::Cpu).unwrap();
    base.save_gguf(to, tensors).map_err(|error| error.to_string())
}

#[test]
fn a_folder_that_is_written_as_a_file_has_equal_logits() {
    for name in [
        "llama",
        "llama3",
        "qwen2",
        "qwen3",
        "smollm3",
        "gemma",
        "gemma2",
        "gemma3",
        "phi3",
        "phi3_long",
        "gpt2_causal",
        "rope_linear",
        "rope_yarn",
    ] {
        // llama.cpp's Qwen 2 has no windows, every fourth layer of its SmolLM3 is not rotated, and the scores of its Gemma have the
        // scale of their heads' width.
        let whole = |config: &mut serde_json::Value| {
            if name.starts_with("gemma") {
                config["query_pre_attn_scalar"] = config["head_dim"].clone();
                return;
            }
            config["use_sliding_window"] = json!(false);
            for key in ["layer_types", "no_rope_layers", "no_rope_layer_interval"] {
                config[key] = json!(null);
            }
        };
        let is_changed = matches!(name, "qwen2" | "smollm3" | "gemma2" | "gemma3");
        let from = copied(name, |config| {
            if is_changed {
                whole(config);
            }
        });
        let file = from.path().join("model.gguf");
        written(from.path(), &file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rows = [vec![1, 2, 3, 4, 5, 6, 7, 8, 9], vec![10, 11, 12]];
        let tokens = Tokens::padded(&rows, 0, &Device::Cpu).unwrap();
        let [own, read] = [from.path(), &file].map(|it| load(it).unwrap().logits(&tokens).unwrap());
        let distance = largest_difference(&own, &read);
        assert!(distance < 1e-5, "{name}: {distance}");
        let stored = Gguf::open(&file).unwrap();
        let tokens = stored.metadata().get("tokenizer.ggml.tokens").unwrap().as_strings().unwrap();
        assert_eq!(tokens[..4], ["a", "b", "ab", "[PAD3]"]);
        if let Some(read) = read_in_python(&file, None) {
            assert_eq!(read["metadata"]["tokenizer.ggml.pre"], "gpt-2");
            assert_eq!(read["tensors"].as_object().unwrap().len(), stored.tensors().len());
        }
    }
}

/// Norms are in 32 bits, as llama.cpp's conversion has them.
#[test]
fn matrices_of_16_bits_stay_so() {
    let from = copied("llama", |_| {});
    let base = Pretrained::open(from.path()).unwrap();
    let half = base.tensors(&Device::Cpu).unwrap().into_iter();
    let half = half.map(|(name, tensor)| (name, tensor.to_dtype(DType::BF16).unwrap()));
    let file = from.path().join("model.gguf");
    base.save_gguf(&file, half).unwrap();
    let stored = Gguf::open(&file).unwrap();
    for (name, info) in stored.tensors() {
        let expected = if info.shape().len() == 2 { TensorType::Bf16 } else { TensorType::F32 };
        assert_eq!(info.kind(), expected, "{name}");
    }
    assert_eq!(stored.metadata().get("general.file_type"), Some(&Value::U32(32)));
    assert_eq!(Pretrained::open(&file).unwrap().config().dtype(), Some(DType::BF16));
}

#[test]
fn a_merged_folder_is_written_as_a_file() {
    let from = copied("llama", |_| {});
    let golden = Golden::read("llama");
    let base = Pretrained::open(from.path()).unwrap();
    let build = |init: &Init| CausalLm::new(init, base.config());
    let adapter = LoraConfig::new(2).alpha(8.0).targets(Modules::AllLinear).on(build).unwrap();
    let tensors = base.tensors(&Device::Cpu).unwrap();
    let mut drawn = adapter.draw(&tensors, Rng::new(3, "lora")).unwrap();
    for (name, tensor) in drawn.iter_mut().filter(|(name, _)| name.ends_with("lora_B.weight")) {
        *tensor = (tensor.ones_like().unwrap() * if name.contains("q_proj") { 0.2 } else { 0.1 })
            .unwrap();
    }
    let both = adapter.tensors(tensors, drawn).unwrap();
    let logits = |init: &Init| init.build(build)?.logits(&golden.tokens());
    let merged = adapter.merge(&both, 1e-4, logits).unwrap();
    let file = from.path().join("model.gguf");
    base.save_gguf(&file, merged.tensors().clone()).unwrap();
    let apart = adapter.init(both).build(build).unwrap().logits(&golden.tokens()).unwrap();
    let together = load(&file).unwrap().logits(&golden.tokens()).unwrap();
    assert!(largest_difference(&apart, &together) < LOGITS);
    assert!(golden.distance(&together) > 0.01);
}

#[test]
fn values_that_a_file_cannot_hold_are_named() {
    let refused = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let from = copied(name, change);
        let file = from.path().join("model.gguf");
        let error = written(from.path(), &file).unwrap_err();
        assert_eq!(
            Pretrained::open(from.path()).unwrap().check_gguf().unwrap_err().to_string(),
            error
        );
        assert!(!file.exists());
        error.replace(&from.path().display().to_string(), "M")
    };
    for (name, keys, architecture) in [
        ("mistral", "`sliding_window`", "llama"),
        ("rope_dynamic", "the `rope_type` `dynamic`", "llama"),
        ("qwen2", "`sliding_window`", "qwen2"),
        ("smollm3", "`no_rope_layers`", "smollm3"),
        ("gemma2", "`query_pre_attn_scalar`", "gemma2"),
        (
            "gpt2_scaled",
            "`activation_function`, `scale_attn_weights`, `scale_attn_by_inverse_layer_idx`",
            "gpt2",
        ),
    ] {
        let expected =
            format!("model `M`: {keys} cannot be written to a GGUF file of `{architecture}`");
        assert_eq!(refused(name, &|_| {}), expected);
    }
    assert_eq!(
        refused("llama", &|config| config["hidden_act"] = json!("gelu")),
        "model `M`: `hidden_act` cannot be written to a GGUF file of `llama`"
    );
    let from = copied("llama", |_| {});
    fs::remove_file(from.path().join("tokenizer.json")).unwrap();
    let error = written(from.path(), &from.path().join("model.gguf")).unwrap_err();
    assert!(
        error.ends_with("there is no `tokenizer.json`, and a GGUF file has its tokenizer in it"),
        "{error}"
    );
}
