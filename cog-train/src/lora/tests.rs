use candle_core::{DType, Device, Tensor};
use cog_train_nn::{Embedding, Init, Linear, Rng};
use serde_json::{Map, Value, json};

use super::*;
use crate::error::Error;

/// A model with an embedding, one block and an output layer, tied or not.
struct Net {
    words: Embedding,
    block: Linear,
    head: Linear,
}

impl Net {
    fn tied(init: &Init) -> Result<Self, candle_core::Error> {
        let words = Embedding::new(&init.at("embed_tokens"), 7, 4)?;
        let head = Linear::tied(&init.at("lm_head"), words.weight())?;
        Ok(Self { words, block: Linear::new(&init.at("layers").at(0).at("fc"), 4, 4)?, head })
    }

    fn classifier(init: &Init) -> Result<Self, candle_core::Error> {
        let words = Embedding::new(&init.at("embed_tokens"), 7, 4)?;
        let block = Linear::new(&init.at("layers").at(0).at("fc"), 4, 4)?;
        Ok(Self { words, block, head: Linear::new(&init.at("score"), 4, 3)? })
    }

    fn scores(&self, ids: &Tensor) -> Result<Tensor, candle_core::Error> {
        self.head.forward(&self.block.forward(&self.words.forward(ids)?)?)
    }
}

fn named(names: &[&str]) -> LoraConfig {
    LoraConfig::new(2).targets(Modules::named(names.iter().copied()))
}

fn of_json(change: &[(&str, Value)]) -> Result<LoraConfig, String> {
    let mut config = Map::from_iter([("peft_type".to_owned(), json!("LORA"))]);
    config.extend(change.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    LoraConfig::of_json(&config)
}

fn reason(result: Result<Adapter, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn keys_without_effect_are_kept_and_written_back() {
    let rest = [
        ("future_method", Value::Null),
        ("use_future", json!(false)),
        ("future_list", json!([])),
        ("peft_version", json!("0.21.2")),
        ("fan_in_fan_out", json!(true)),
        ("megatron_core", json!("megatron.core")),
        ("auto_mapping", json!({"base_model_class": "Net"})),
    ];
    let config = of_json(&rest).unwrap();
    let written = config.to_json(&Modules::named(["fc"]));
    for (key, value) in rest {
        assert_eq!(written[key], value, "{key}");
    }
    let keys: Vec<&String> = written.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn keys_that_change_the_numbers_are_refused_by_name() {
    for (key, value) in [
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 2]])),
        ("use_qalora", json!(true)),
        ("alora_invocation_tokens", json!([1, 2])),
        ("target_parameters", json!(["experts.up_proj"])),
        ("trainable_token_indices", json!([3])),
        ("velora_config", json!({"scale": 1.0})),
        ("ensure_weight_tying", json!(true)),
        ("future_scale", json!(0.5)),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("olora")),
        ("peft_type", json!("IA3")),
        ("bias", json!("some")),
        ("r", json!(-1)),
        ("r", json!("8")),
        ("lora_alpha", json!("16")),
        ("use_dora", json!(1)),
        ("target_modules", json!([1])),
        ("rank_pattern", json!({"fc": 0.5})),
    ] {
        let reason = of_json(&[(key, value.clone())]).unwrap_err();
        assert!(reason.contains(&format!("`{key}`")), "{reason}");
        assert!(reason.contains(value.to_string().trim_matches('"')), "{reason}");
    }
    assert_eq!(LoraConfig::of_json(&Map::new()).unwrap_err(), "has no `peft_type`");
}

#[test]
fn a_file_without_a_rank_has_pefts_defaults() {
    let config = of_json(&[]).unwrap();
    assert_eq!(config.to_json(&Modules::AllLinear)["r"], 8);
    assert_eq!(config.to_json(&Modules::AllLinear)["lora_alpha"], 8);
}

#[test]
fn settings_out_of_range_are_errors_all_at_once() {
    let config = named(&["fc"]).dropout(1.0).alpha(f64::NAN).rank_of("fc", 0);
    let reason = reason(config.on(Net::tied));
    assert_eq!(
        reason,
        "alpha is NaN, not a finite number\na rank is 0, and must be at least 1\nthe dropout is 1, not from 0 to below 1"
    );
}

#[test]
fn targets_that_match_nothing_list_the_layers() {
    let reason_of = |config: LoraConfig| reason(config.on(Net::tied));
    assert_eq!(
        reason_of(named(&["q_proj"])),
        "no layer of the model matches the targets `q_proj`\n\
         hint: the model has the layers `embed_tokens`, `fc`, `lm_head`, such as `embed_tokens`"
    );
    let lookahead = reason_of(LoraConfig::new(2).targets(Modules::regex("(?!a).*fc")));
    assert!(
        lookahead
            .starts_with("`target_modules` has `(?!a).*fc`, which is no regular expression here"),
        "{lookahead}"
    );
    assert!(reason_of(LoraConfig::new(2)).starts_with("an adapter needs targets"));
    let saved = reason_of(named(&["fc"]).modules_to_save(["classifier"]));
    assert!(saved.starts_with("`modules_to_save` names `classifier`, and no module"), "{saved}");
    let dora = reason_of(named(&["embed_tokens"]).dora());
    assert!(dora.contains("`use_dora` on the embedding `embed_tokens`"), "{dora}");
}

#[test]
fn the_output_layer_is_not_of_all_linear_layers() {
    let all = LoraConfig::new(2).targets(Modules::AllLinear);
    let adapter = all.on(Net::tied).unwrap();
    assert!(adapter.layers().map(|it| it.0).eq(["layers.0.fc"]));
    // A classifier's head is trained in full, and saved.
    let adapter = all.clone().task_type("SEQ_CLS").on(Net::classifier).unwrap();
    assert!(adapter.layers().map(|it| it.0).eq(["layers.0.fc"]));
    let own = adapter.trained().filter(|name| !name.contains("lora_"));
    assert!(own.eq(["score.bias", "score.weight"]));
}

/// PEFT trains a copy of one of two tied layers, which no tensor here could hold.
#[test]
fn a_tied_layer_is_not_trained_in_full() {
    for module in ["lm_head", "embed_tokens"] {
        let reason = reason(named(&["fc"]).modules_to_save([module]).on(Net::tied));
        assert!(reason.contains(&format!("`{module}`, which shares its weight")), "{reason}");
    }
}

#[test]
fn a_tied_layer_is_not_merged() {
    let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(Net::tied).unwrap();
    let ids = Tensor::new(&[[1u32, 6]], &Device::Cpu).unwrap();
    for module in ["lm_head", "embed_tokens"] {
        let adapter = named(&[module]).on(Net::tied).unwrap();
        let trained = adapter.draw(&base, Rng::new(2, "lora")).unwrap();
        let tensors = adapter.tensors(base.clone(), trained).unwrap();
        let scores = |init: &Init| Ok::<_, Error>(init.build(Net::tied)?.scores(&ids)?);
        let error = adapter.merge(&tensors, 1e-4, scores).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{module}` shares its weight")), "{error}");
    }
}

/// An overflow is no small difference.
#[test]
fn scores_that_are_no_numbers_are_not_merged() {
    let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(Net::classifier).unwrap();
    let adapter = named(&["fc"]).on(Net::classifier).unwrap();
    let mut trained = adapter.draw(&base, Rng::new(2, "lora")).unwrap();
    let infinite = Tensor::full(f32::INFINITY, (4, 2), &Device::Cpu).unwrap();
    trained.insert("layers.0.fc.lora_B.weight".to_owned(), infinite);
    let tensors = adapter.tensors(base, trained).unwrap();
    let ids = Tensor::new(&[[1u32, 6]], &Device::Cpu).unwrap();
    let scores = |init: &Init| Ok::<_, Error>(init.build(Net::classifier)?.scores(&ids)?);
    let error = adapter.merge(&tensors, 1e-4, scores).unwrap_err().to_string();
    assert!(error.contains("differ by NaN"), "{error}");
}

#[test]
fn gaussian_values_have_the_standard_deviation_of_the_rank() {
    let layer = |init: &Init| Linear::new(&init.at("fc"), 2000, 3);
    let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(layer).unwrap();
    let config = LoraConfig::new(8).targets(Modules::AllLinear);
    let gaussian = config.clone().initial(InitialValues::Gaussian).on(layer).unwrap();
    let drawn = gaussian.draw(&base, Rng::new(2, "lora")).unwrap();
    let squares = drawn["fc.lora_A.weight"].sqr().unwrap().mean_all().unwrap();
    // Five standard errors of 16,000 values.
    let std = squares.to_scalar::<f32>().unwrap().sqrt();
    assert!((std - 0.125).abs() < 0.125 * 0.028, "{std}");
    let other = config.initial(InitialValues::Other("eva".to_owned())).on(layer).unwrap();
    let error = other.draw(&base, Rng::new(2, "lora")).unwrap_err().to_string();
    assert!(error.contains("`init_lora_weights` is `eva`"), "{error}");
}

#[test]
fn an_adapter_without_safe_tensors_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = named(&["fc"]).on(Net::tied).unwrap();
    std::fs::write(dir.path().join("adapter_model.bin"), b"pickle").unwrap();
    let error = adapter.load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`adapter_model.bin`, which to read is to run code"), "{error}");
    let error = LoraConfig::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    std::fs::write(dir.path().join("adapter_config.json"), b"[]").unwrap();
    let error = LoraConfig::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is no JSON object"), "{error}");
}

/// PEFT before 0.12 had another name for the magnitudes.
#[test]
fn old_names_of_magnitudes_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(Net::tied).unwrap();
    let adapter = named(&["fc"]).dora().on(Net::tied).unwrap();
    let drawn = adapter.draw(&base, Rng::new(2, "lora")).unwrap();
    let old = drawn.iter().map(|(name, tensor)| {
        let suffix = if name.ends_with("magnitude_vector") { ".weight" } else { "" };
        (format!("base_model.model.{name}{suffix}"), tensor.clone())
    });
    crate::Weights::save(old, dir.path().join("adapter_model.safetensors")).unwrap();
    let loaded = adapter.load(dir.path()).unwrap();
    assert!(loaded.keys().eq(drawn.keys()));
    let norms = base["layers.0.fc.weight"].sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
    let apart = (&norms - &loaded["layers.0.fc.lora_magnitude_vector"]).unwrap().abs().unwrap();
    assert!(
        apart.sum_all().unwrap().to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap() < 1e-6
    );
}

/// `PeftConfig` has the keys `base_model_name_or_path` and `revision`.
#[test]
fn the_revision_of_a_base_is_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("name@home");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    for (given, id, revision, name) in [
        ("org/name@v1", "org/name", json!("v1"), "org/name@v1"),
        ("hf://org/name", "org/name", Value::Null, "org/name"),
        (folder, folder, Value::Null, folder),
    ] {
        let config = named(&["fc"]).base_model("before@v0").base_model(given);
        let json = config.to_json(&Modules::AllLinear);
        assert_eq!((&json["base_model_name_or_path"], &json["revision"]), (&json!(id), &revision));
        let read = LoraConfig::of_json(json.as_object().unwrap()).unwrap();
        assert_eq!(read.base_model_name().as_deref(), Some(name));
    }
    assert_eq!(of_json(&[]).unwrap().base_model_name(), None);
    assert_eq!(of_json(&[("base_model_name_or_path", json!(""))]).unwrap().base_model_name(), None);
}
