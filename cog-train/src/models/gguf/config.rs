//! `config.json` of the metadata.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::architecture::{Architecture, EMBEDDING, OUTPUT};
use crate::error::Error;
use crate::gguf::{self, Gguf, Metadata, TensorInfo};
use crate::models::keys::Keys;

/// The parts of a file that a model's configuration is read from.
pub(super) struct Contents<'a> {
    pub(super) path: &'a Path,
    pub(super) metadata: &'a Metadata,
    /// The shapes of the tensors by their names in a file.
    pub(super) shapes: BTreeMap<&'a str, &'a [usize]>,
    /// The factors of the rotary positions by the names of their tensors, or the reason for which they cannot be read.
    pub(super) factors: BTreeMap<&'a str, Result<Vec<f64>, String>>,
}

impl<'a> Contents<'a> {
    /// The contents of a file.
    pub(super) fn of(file: &'a Gguf) -> Self {
        let tensors = file.tensors().iter();
        let shapes = tensors.map(|(name, info)| (name.as_str(), info.shape())).collect();
        let factors = FACTORS.iter().filter_map(|name| {
            let info = file.tensor(name)?;
            Some((*name, floats(file, name, info)))
        });
        Self { path: file.path(), metadata: file.metadata(), shapes, factors: factors.collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    /// A special token.
    fn token(&self, name: &str) -> Option<u64> {
        let id = self.metadata.get(&format!("tokenizer.ggml.{name}_token_id"));
        id.and_then(gguf::Value::as_u64)
    }
}

/// Tensors of factors of the rotary frequencies: of all texts, of long and of short ones.
pub(super) const FACTORS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// Returns the `config.json` that transformers would have of a model.
///
/// # Errors
///
/// [`Error::Model`] with every key that is missing, of another kind, or would change the result and is not supported.
pub(super) fn config(
    contents: &Contents,
    architecture: &Architecture,
    dtype: &str,
) -> Result<Map<String, Value>, Error> {
    let prefix = format!("{}.", architecture.name);
    let own = contents
        .metadata
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), json_of(value))));
    let mut keys = Keys::within(prefix.clone(), own.collect());
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    set("architectures", json!([architecture.class]));
    set("model_type", json!(architecture.model_type));
    set("dtype", json!(dtype));
    let rows = contents.shapes.get(EMBEDDING).and_then(|shape| shape.first().copied());
    match rows {
        Some(rows) => set("vocab_size", json!(rows)),
        None => keys.problem(format!("the tensor `{EMBEDDING}` is missing")),
    }
    for (key, name) in
        [("bos_token_id", "bos"), ("pad_token_id", "padding"), ("unk_token_id", "unknown")]
    {
        contents.token(name).into_iter().for_each(|id| set(key, json!(id)));
    }
    // Of a text, of a turn and of a message.
    let mut ends: Vec<u64> =
        ["eos", "eot", "eom"].iter().filter_map(|it| contents.token(it)).collect();
    ends.dedup();
    match ends.as_slice() {
        [] => {}
        [end] => set("eos_token_id", json!(end)),
        ends => set("eos_token_id", json!(ends)),
    }
    keys.ignore(&["vocab_size"]);
    keys.only("expert_count", &json!(0));
    keys.only("expert_used_count", &json!(0));
    keys.only("attention.causal", &json!(true));
    if architecture.name == "gpt2" {
        gpt2(&mut keys, &mut set);
    } else {
        decoder(contents, architecture, &mut keys, &mut set);
    }
    keys.finish(contents.path)?;
    Ok(config)
}

fn gpt2(keys: &mut Keys, set: &mut impl FnMut(&str, Value)) {
    set("n_positions", json!(keys.size(&["context_length"])));
    set("n_embd", json!(keys.size(&["embedding_length"])));
    set("n_layer", json!(keys.layers(&["block_count"])));
    set("n_inner", json!(keys.size(&["feed_forward_length"])));
    let heads = keys.size(&["attention.head_count"]);
    set("n_head", json!(heads));
    keys.only("attention.head_count_kv", &json!(heads));
    set("layer_norm_epsilon", json!(keys.require::<f64>(&["attention.layer_norm_epsilon"])));
}

fn decoder(
    contents: &Contents,
    architecture: &Architecture,
    keys: &mut Keys,
    set: &mut impl FnMut(&str, Value),
) {
    let positions = keys.size(&["context_length"]);
    let (hidden, layers) = (keys.size(&["embedding_length"]), keys.layers(&["block_count"]));
    let heads = keys.size(&["attention.head_count"]);
    set("max_position_embeddings", json!(positions));
    set("hidden_size", json!(hidden));
    set("num_hidden_layers", json!(layers));
    set("intermediate_size", json!(keys.size(&["feed_forward_length"])));
    set("num_attention_heads", json!(heads));
    set("num_key_value_heads", json!(keys.get_or(&["attention.head_count_kv"], heads)));
    set("rms_norm_eps", json!(keys.require::<f64>(&["attention.layer_norm_rms_epsilon"])));
    let width = keys.get_or(&["attention.key_length"], hidden / heads);
    set("head_dim", json!(width));
    keys.only("attention.value_length", &json!(width));
    keys.only("rope.dimension_count", &json!(width));
    set("tie_word_embeddings", json!(!contents.has(OUTPUT)));
    let has = |name: &str| contents.has(&format!("blk.0.{name}.bias"));
    if matches!(architecture.name, "llama" | "qwen3" | "smollm3") {
        set("attention_bias", json!(has("attn_output")));
    }
    if matches!(architecture.name, "llama" | "smollm3") {
        set("mlp_bias", json!(has("ffn_down")));
    }
    let local = match architecture.name {
        "gemma2" | "gemma3" => {
            let window = keys.get::<usize>(&["attention.sliding_window"]);
            if window.is_some() || architecture.name == "gemma3" {
                set("sliding_window", json!(window));
            }
            // llama.cpp knows the largest model, whose scores have a scale of their own, by its layers.
            let largest = if architecture.name == "gemma2" { 46 } else { 62 };
            let scalar = if layers == largest { hidden / heads } else { width };
            set("query_pre_attn_scalar", json!(scalar));
            for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
                keys.get::<f64>(&[name]).into_iter().for_each(|cap| set(name, json!(cap)));
            }
            architecture.name == "gemma3"
        }
        "phi3" => {
            let window = keys.get::<usize>(&["attention.sliding_window"]);
            set("sliding_window", json!(window.filter(|window| *window > 0)));
            set("original_max_position_embeddings", json!(keys.get::<usize>(&[ORIGINAL])));
            false
        }
        _ => false,
    };
    let rope = rope(contents, keys, positions);
    if local {
        let pattern = keys.get::<usize>(&["attention.sliding_window_pattern"]);
        set("sliding_window_pattern", json!(pattern.unwrap_or(6)));
        let theta = keys.get_or(&["rope.freq_base_swa"], 10_000.0);
        let local = json!({"rope_type": "default", "rope_theta": theta});
        set("rope_parameters", json!({"full_attention": rope, "sliding_attention": local}));
    } else {
        set("rope_parameters", Value::Object(rope));
    }
}

/// The length of the pretraining's texts.
const ORIGINAL: &str = "rope.scaling.original_context_length";

/// The rotary positions. llama.cpp has factors for each frequency as tensors: of long and short texts, or of all.
fn rope(contents: &Contents, keys: &mut Keys, positions: usize) -> Map<String, Value> {
    let mut rope = Map::new();
    let mut set = |key: &str, value: Value| drop(rope.insert(key.to_owned(), value));
    set("rope_theta", json!(keys.get_or(&["rope.freq_base"], 10_000.0)));
    keys.ignore(&["rope.scaling.finetuned"]);
    let old = keys.get::<f64>(&["rope.scale_linear"]).filter(|factor| *factor > 0.0);
    let kind = keys.get::<String>(&["rope.scaling.type"]);
    let attention = keys.get::<f64>(&["rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"]);
    let original = keys.get::<usize>(&[ORIGINAL]).unwrap_or(positions);
    let [all, long, short] = FACTORS.map(|name| match contents.factors.get(name)? {
        Ok(factors) => Some(factors.clone()),
        Err(problem) => {
            keys.problem(problem);
            None
        }
    });
    let (short, long) = (short.or_else(|| all.clone()), long.or(all));
    let kind = match (kind.as_deref(), &short) {
        (None | Some("none" | "longrope"), Some(_)) => "longrope",
        (None, None) if old.is_some() => "linear",
        (None | Some("none"), None) => "none",
        (Some(kind), _) => kind,
    };
    match (kind, short, long) {
        ("none", ..) => set("rope_type", json!("default")),
        ("longrope", Some(short), Some(long)) => {
            set("rope_type", json!("longrope"));
            set("short_factor", json!(short));
            set("long_factor", json!(long));
            set("attention_factor", json!(attention.unwrap_or(1.0)));
            set("original_max_position_embeddings", json!(original));
        }
        ("linear", None, None) => {
            set("rope_type", json!("linear"));
            set("factor", json!(keys.get::<f64>(&["rope.scaling.factor"]).or(old)));
        }
        ("yarn", None, None) => {
            let factor = keys.require::<f64>(&["rope.scaling.factor"]);
            set("rope_type", json!("yarn"));
            set("factor", json!(factor));
            set("original_max_position_embeddings", json!(original));
            keys.only("rope.scaling.yarn_ext_factor", &json!(1.0));
            for (key, name) in [
                ("beta_fast", "rope.scaling.yarn_beta_fast"),
                ("beta_slow", "rope.scaling.yarn_beta_slow"),
            ] {
                keys.get::<f64>(&[name]).into_iter().for_each(|beta| set(key, json!(beta)));
            }
            if let Some(attention) = attention {
                set("attention_factor", json!(attention * (0.1 * factor.ln() + 1.0)));
            }
        }
        (kind, ..) => {
            let name = keys.name("rope.scaling.type");
            let kind = crate::error::printable_name(kind);
            keys.problem(format!(
                "`{name}` is `{kind}`, not `none`, `linear`, `yarn` or, with the tensors of its factors alone, `longrope`"
            ));
        }
    }
    rope
}

/// The values of a small tensor of 32-bit floats.
fn floats(file: &Gguf, name: &str, info: &TensorInfo) -> Result<Vec<f64>, String> {
    if info.kind() != gguf::TensorType::F32 {
        return Err(format!("`{name}` is of type {}, not F32", info.kind()));
    }
    let bytes = file.read(name).map_err(|error| error.to_string())?;
    let (numbers, _) = bytes.as_chunks();
    Ok(numbers.iter().map(|number| f64::from(f32::from_le_bytes(*number))).collect())
}

/// A value of the metadata as JSON.
fn json_of(value: &gguf::Value) -> Value {
    match value {
        gguf::Value::String(text) => json!(text),
        gguf::Value::Bool(value) => json!(value),
        gguf::Value::Array(array) => array.values().iter().map(json_of).collect(),
        other => {
            let whole = other.as_i64().map(|number| json!(number));
            let whole = whole.or_else(|| other.as_u64().map(|number| json!(number)));
            // JSON has no NaN: a text is refused where a number is needed.
            let float = || other.as_f64().filter(|number| number.is_finite()).map(|it| json!(it));
            whole.or_else(float).unwrap_or_else(|| json!("not a finite number"))
        }
    }
}
