//! Contents of a model folder: old and new spellings, tied and untied heads, other names; and what is refused.

use std::fs;
use std::path::Path;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::models::Pretrained;
use cog_train::{Error, Weights};
use serde_json::{Value, json};

use crate::support::{Golden, LOGITS, folder, load};

/// A copy of a fixture that a test changes.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for file in ["config.json", "model.safetensors"] {
            fs::copy(folder(name).join(file), copy.path().join(file)).unwrap();
        }
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        let file = self.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(config.as_object_mut().unwrap());
        fs::write(file, config.to_string()).unwrap();
    }

    pub(crate) fn tensors(
        &self,
        change: impl FnOnce(&mut std::collections::BTreeMap<String, Tensor>),
    ) {
        let file = self.path().join("model.safetensors");
        let mut tensors =
            Weights::open(file.to_str().unwrap()).unwrap().tensors(&Device::Cpu).unwrap();
        change(&mut tensors);
        Weights::save(tensors, &file).unwrap();
    }

    fn distance(&self, name: &str) -> f32 {
        let golden = Golden::read(name);
        golden.distance(&load(self.path()).unwrap().logits(&golden.tokens()).unwrap())
    }

    /// The reason for which the folder is refused, when it is opened or loaded.
    pub(crate) fn refused(&self) -> String {
        let error = load(self.path()).unwrap_err();
        assert!(matches!(error, Error::Model { .. }), "{error:?}");
        error.to_string().replace(&self.path().display().to_string(), "M")
    }
}

#[test]
fn old_spellings_of_the_configuration_mean_the_same() {
    let copy = Copy::of("llama3");
    copy.config(|config| {
        let mut rope = config.remove("rope_parameters").unwrap();
        let rope_object = rope.as_object_mut().unwrap();
        config.insert("rope_theta".to_owned(), rope_object.remove("rope_theta").unwrap());
        let kind = rope_object.remove("rope_type").unwrap();
        rope_object.insert("type".to_owned(), kind);
        config.insert("rope_scaling".to_owned(), rope);
        let dtype = config.remove("dtype").unwrap();
        config.insert("torch_dtype".to_owned(), dtype);
    });
    assert!(copy.distance("llama3") < LOGITS);
    let base = Pretrained::open(copy.path()).unwrap();
    assert_eq!(base.config().dtype(), Some(DType::F32));
    assert_eq!(base.config().end_tokens(), [2, 7]);
}

#[test]
fn a_tied_head_may_be_stored_if_it_is_equal() {
    let copy = Copy::of("llama");
    copy.tensors(|tensors| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".to_owned(), embedding);
    });
    assert!(copy.distance("llama") < LOGITS);
}

#[test]
fn a_tied_head_that_differs_is_refused() {
    let copy = Copy::of("llama");
    copy.tensors(|tensors| {
        let embedding = (&tensors["model.embed_tokens.weight"] * 2.0).unwrap();
        tensors.insert("lm_head.weight".to_owned(), embedding);
    });
    assert_eq!(
        copy.refused(),
        "model `M`: `tie_word_embeddings` is true, and `lm_head.weight` differs from `model.embed_tokens.weight`\n\
         hint: set it to false in `config.json` to train the two apart"
    );
}

#[test]
fn an_untied_head_must_be_stored() {
    let copy = Copy::of("llama3");
    copy.tensors(|tensors| drop(tensors.remove("lm_head.weight")));
    assert_eq!(
        copy.refused(),
        "model `M`: the tensors do not fit `config.json`: `lm_head.weight` is missing\n\
         hint: a model whose output layer is its embedding has `tie_word_embeddings: true` in its `config.json`"
    );
}

/// A `LlamaModel` has no prefix; the rotary frequencies of old files are no parameters.
#[test]
fn a_file_of_the_body_alone_gets_its_prefix() {
    let copy = Copy::of("llama");
    copy.tensors(|tensors| {
        let body = std::mem::take(tensors).into_iter();
        tensors.extend(body.map(|(name, tensor)| (name.replacen("model.", "", 1), tensor)));
        let frequencies = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        tensors.insert("layers.0.self_attn.rotary_emb.inv_freq".to_owned(), frequencies);
    });
    copy.config(|config| drop(config.insert("architectures".to_owned(), json!(["LlamaModel"]))));
    assert!(copy.distance("llama") < LOGITS);
    // And is saved with the names that it had.
    let base = Pretrained::open(copy.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
    let saved = Weights::open(out.path().to_str().unwrap()).unwrap();
    assert_eq!(saved.names().next(), Some("embed_tokens.weight"));
    assert!(load(out.path()).is_ok());
}

#[test]
fn every_tensor_that_does_not_fit_is_reported() {
    let copy = Copy::of("llama");
    copy.tensors(|tensors| {
        tensors.remove("model.norm.weight");
        let device = Device::Cpu;
        let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &device).unwrap();
        tensors.insert("model.layers.0.mlp.up_proj.weight".to_owned(), zeros(&[24, 8], DType::F32));
        tensors.insert("model.layers.1.mlp.up_proj.bias".to_owned(), zeros(&[24], DType::U8));
        tensors.insert("model.layers.2.mlp.up_proj.bias".to_owned(), zeros(&[24], DType::F32));
    });
    assert_eq!(
        copy.refused(),
        "model `M`: the tensors do not fit `config.json`: 4 problems\n  \
         `model.layers.0.mlp.up_proj.weight` has the shape [24, 8], and the model needs [24, 16]\n  \
         `model.layers.1.mlp.up_proj.bias` is of dtype U8, and the model needs one of F32, BF16, F16, F64\n  \
         `model.norm.weight` is missing\n  \
         `model.layers.2.mlp.up_proj.bias` is not of this model"
    );
}

#[test]
fn keys_that_would_change_the_result_are_refused_by_name() {
    for (key, value, reason) in [
        (
            "hidden_act",
            json!("relu6"),
            "the activation is `relu6`, not `silu`, `gelu` or `gelu_pytorch_tanh`",
        ),
        ("attention_dropout", json!(1.5), "`attention_dropout` is 1.5, not from 0 to 1"),
        (
            "num_key_value_heads",
            json!(3),
            "`num_key_value_heads` is 3, which does not divide `num_attention_heads`, 4",
        ),
        ("head_dim", json!(5), "`head_dim` is 5, not an even number above 0"),
        ("logit_scale", json!(0.5), "`logit_scale` is 0.5, and is not supported"),
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 4}),
            "`quantization_config.quant_method` is `gptq`, and only `bitsandbytes` is supported",
        ),
        (
            "mlp_bia",
            json!(true),
            "`mlp_bia` is true, and is not supported; did you mean `mlp_bias`?",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarm"}),
            "`rope_parameters.rope_type` is `yarm`, not `yarn`",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.5}),
            "`rope_parameters.partial_rotary_factor` is 0.5, and only 1 is supported",
        ),
        (
            "model_type",
            json!("lama"),
            "`model_type` is `lama`, which is not supported\nhint: did you mean `llama`? supported are `gemma`",
        ),
    ] {
        let copy = Copy::of("llama");
        copy.config(|config| drop(config.insert(key.to_owned(), value)));
        let expected = format!("model `M/config.json`: {reason}");
        assert!(copy.refused().starts_with(&expected), "{}", copy.refused());
    }
}

#[test]
fn a_folder_that_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Pretrained::open(path).unwrap_err().to_string();
    assert!(refused(&dir.path().join("none")).ends_with("there is no such folder"));
    assert!(refused(dir.path()).contains("has no `config.json`\nhint: "));
    let result = tempfile::tempdir().unwrap();
    let model = result.path().join("weights");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    let hint = format!("has no `config.json`\nhint: `{}` has one", model.display());
    assert!(refused(result.path()).ends_with(&hint), "{}", refused(result.path()));
    fs::write(dir.path().join("adapter_config.json"), "{}").unwrap();
    assert!(refused(dir.path()).contains("is an adapter, not a model\nhint: "));
    fs::write(dir.path().join("config.json"), "[]").unwrap();
    assert!(refused(dir.path()).ends_with("is not a JSON object"));
}

#[test]
fn a_truncated_file_is_refused_when_it_is_opened() {
    let copy = Copy::of("llama");
    let file = copy.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let error = Pretrained::open(copy.path()).unwrap_err();
    assert!(
        matches!(error, Error::Weights { .. }) && error.to_string().contains("truncated"),
        "{error}"
    );
}
