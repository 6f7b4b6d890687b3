//! Heads that a file lacks, labels, and what is saved.

use std::fs;
use std::path::Path;

use cog_train::candle_core::{Device, Tensor};
use cog_train::engine::Params;
use cog_train::models::{
    CausalLm, Head, Labels, MaskedLm, Pooling, PoolingMode, Pretrained, ProblemType,
    SequenceClassifier, TextEmbedder,
};
use cog_train::nn::{Init, Rng};
use cog_train::{Error, Weights};
use serde_json::{Value, json};

use crate::support::folder;

fn rng() -> Rng {
    Rng::new(42, "init")
}

pub(crate) fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A copy of a fixture.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder(name).join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[test]
fn a_head_that_the_files_lack_is_drawn_and_reported() {
    let base = Pretrained::open(folder("bert_masked")).unwrap();
    let labels = Labels::new(["no", "yes"]).problem_type(ProblemType::SingleLabel);
    let base = base.with_head(Head::SequenceClassification).unwrap().with_labels(labels);
    let build = |init: &Init| SequenceClassifier::new(init, base.config());
    let loaded = base.load(&Device::Cpu, rng(), build).unwrap();
    let drawn = [
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    ];
    assert_eq!(loaded.drawn(), drawn);
    assert!(loaded.unused().iter().all(|name| name.starts_with("cls.")));
    assert_eq!(
        loaded.to_string(),
        "37 tensors loaded\n\
         new, to be trained: `bert.pooler.dense.bias`, `bert.pooler.dense.weight`, `classifier.bias`, `classifier.weight`\n\
         not used: `cls.predictions.bias`, `cls.predictions.transform.LayerNorm.bias`, \
         `cls.predictions.transform.LayerNorm.weight`, `cls.predictions.transform.dense.bias`, \
         `cls.predictions.transform.dense.weight`"
    );
    // transformers' distribution: `initializer_range` is 0.2 in the fixture.
    let weight = values(&loaded.tensors()["bert.pooler.dense.weight"]);
    let count = f32::from(u16::try_from(weight.len()).unwrap());
    let deviation = (weight.iter().map(|value| value * value).sum::<f32>() / count).sqrt();
    assert!((deviation - 0.2).abs() < 0.04, "{deviation}");
    assert!(values(&loaded.tensors()["classifier.bias"]).iter().all(|value| *value == 0.0));

    let out = tempfile::tempdir().unwrap();
    base.save(out.path(), loaded.into_tensors()).unwrap();
    let saved = config(out.path());
    assert_eq!(saved["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(saved["id2label"], json!({"0": "no", "1": "yes"}));
    assert_eq!(saved["label2id"], json!({"no": 0, "yes": 1}));
    assert_eq!(saved["problem_type"], json!("single_label_classification"));
    // The head of masked tokens is gone, and nothing is to be drawn.
    let again = Pretrained::open(out.path()).unwrap();
    assert_eq!(again.config().labels(), base.config().labels());
    assert!(again.names().all(|name| !name.starts_with("cls.")));
    let build = |init: &Init| SequenceClassifier::new(init, again.config());
    assert_eq!(again.load(&Device::Cpu, rng(), build).unwrap().drawn(), [""; 0]);
}

#[test]
fn a_body_that_lacks_a_tensor_is_refused() {
    let copy = copy("bert_base");
    let file = copy.path().join("model.safetensors");
    let mut tensors = Weights::open(file.to_str().unwrap()).unwrap().tensors(&Device::Cpu).unwrap();
    tensors.remove("encoder.layer.1.output.dense.bias").unwrap();
    Weights::save(tensors, &file).unwrap();
    let error = Pretrained::open(copy.path()).unwrap_err().to_string();
    assert!(error.contains("`bert.encoder.layer.1.output.dense.bias` is missing"), "{error}");
}

#[test]
fn another_number_of_labels_draws_the_last_layer_again() {
    let base = Pretrained::open(folder("bert_sequence")).unwrap();
    let relabelled = base.clone().with_labels(Labels::new(["a", "b", "c", "d"]));
    let build = |init: &Init| SequenceClassifier::new(init, relabelled.config());
    let loaded = relabelled.load(&Device::Cpu, rng(), build).unwrap();
    assert_eq!(loaded.drawn(), ["classifier.bias", "classifier.weight"]);
    // As many: only their names change.
    let renamed = base.with_labels(Labels::new(["a", "b", "c"]));
    let build = |init: &Init| SequenceClassifier::new(init, renamed.config());
    assert_eq!(renamed.load(&Device::Cpu, rng(), build).unwrap().drawn(), [""; 0]);
}

#[test]
fn a_family_without_the_head_is_refused_by_name() {
    let base = Pretrained::open(folder("bert_base")).unwrap();
    let error = base.clone().with_head(Head::CausalLm).unwrap_err();
    assert!(matches!(error, Error::Model { .. }));
    assert!(error.to_string().contains("`bert`, which has no head for the next token"), "{error}");
    let build = |init: &Init| CausalLm::new(init, base.config());
    assert!(base.tensors_of(&Device::Cpu, build).is_err());
    let base = Pretrained::open(folder("gpt2_causal")).unwrap();
    let build = |init: &Init| MaskedLm::new(init, base.config());
    let error = base.tensors_of(&Device::Cpu, build).unwrap_err().to_string();
    assert!(
        error.contains(
            "`gpt2`, which has no head for masked language modelling\n\
             hint: take a model of one of `bert`, `distilbert`, `roberta`, `xlm-roberta`, `modernbert`"
        ),
        "{error}"
    );
    let base = Pretrained::open(folder("llama")).unwrap();
    let error = base.with_head(Head::SequenceClassification).unwrap_err().to_string();
    assert!(error.contains("`xlm-roberta`, `modernbert`, `gpt2`"), "{error}");
}

/// Saved tensors equal the loaded ones: the same names, also those without a prefix, matrices as transformers transposes them, and
/// tensors that the model does not use.
#[test]
fn a_save_without_changes_is_the_identity() {
    for name in [
        "bert_base",
        "bert_sequence",
        "gpt2_causal",
        "vit_image",
        "modernbert_token",
        "xlm_roberta_masked",
    ] {
        let base = Pretrained::open(folder(name)).unwrap();
        let out = tempfile::tempdir().unwrap();
        if name == "bert_base" {
            let pooling = Pooling::new(PoolingMode::Cls);
            let build = |init: &Init| TextEmbedder::new(init, base.config(), pooling);
            let tensors = base.tensors_of(&Device::Cpu, build).unwrap();
            assert!(tensors.keys().all(|name| !name.contains("pooler")));
            base.save(out.path(), Params::new(tensors).unwrap().masters()).unwrap();
        } else {
            base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
        }
        let read = |folder: &Path| {
            Weights::open(folder.to_str().unwrap()).unwrap().tensors(&Device::Cpu).unwrap()
        };
        let (before, after) = (read(&folder(name)), read(out.path()));
        assert!(before.keys().eq(after.keys()), "{name}: {:?}", after.keys());
        for (tensor, before) in &before {
            assert_eq!(before.dims(), after[tensor].dims(), "{name}: {tensor}");
            assert_eq!(values(before), values(&after[tensor]), "{name}: {tensor}");
        }
        assert_eq!(config(&folder(name)), config(out.path()), "{name}");
    }
}

/// sentence-transformers keeps a `config.json` for each of its modules.
#[test]
fn files_within_folders_of_the_base_are_carried_over() {
    let copy = copy("bert_base");
    let pooling = r#"{"pooling_mode": "cls"}"#;
    fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    for (file, text) in
        [("1_Pooling/config.json", pooling), ("vocab.txt", "[PAD]"), ("README.md", "# A base")]
    {
        fs::write(copy.path().join(file), text).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let base = Pretrained::open(copy.path()).unwrap();
    base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(out.path().join("1_Pooling/config.json")).unwrap(), pooling);
    assert_eq!(fs::read_to_string(out.path().join("vocab.txt")).unwrap(), "[PAD]");
    assert!(!out.path().join("README.md").exists());
}

#[test]
fn names_of_files_from_tensorflow_are_read_and_kept() {
    let copy = copy("bert_base");
    let file = copy.path().join("model.safetensors");
    let tensors = Weights::open(file.to_str().unwrap()).unwrap().tensors(&Device::Cpu).unwrap();
    let old = |name: String| {
        name.replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let mut tensors: Vec<_> =
        tensors.into_iter().map(|(name, tensor)| (old(name), tensor)).collect();
    let positions = Tensor::arange(0u32, 16, &Device::Cpu).unwrap();
    tensors.push(("embeddings.position_ids".to_owned(), positions));
    Weights::save(tensors, &file).unwrap();
    let base = Pretrained::open(copy.path()).unwrap();
    assert!(base.names().any(|name| name == "bert.embeddings.LayerNorm.weight"));
    let out = tempfile::tempdir().unwrap();
    base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
    let saved = Weights::open(out.path().to_str().unwrap()).unwrap();
    assert!(saved.names().any(|name| name == "embeddings.LayerNorm.gamma"));
}
