//! The dropout of configurations: in training alone, as a function of the seed, under each of its keys.

use std::fs;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::engine::{Gradients, Params, TrainingConfig};
use cog_train::models::{
    CausalLm, ImageClassifier, MaskedLm, Pretrained, SequenceClassifier, TokenClassifier, Tokens,
};
use cog_train::nn::{self, Init};
use cog_train::{Error, Job};
use serde_json::{Value, json};

use crate::support::{bits, fit_on_rows, folder};

/// Models of each family and head, with the keys of their dropout.
const CASES: &[(&str, &[&str])] = &[
    (
        "bert_sequence",
        &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
    ),
    ("bert_token", &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]),
    ("bert_masked", &["hidden_dropout_prob", "attention_probs_dropout_prob"]),
    (
        "roberta_sequence",
        &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
    ),
    ("xlm_roberta_masked", &["hidden_dropout_prob", "attention_probs_dropout_prob"]),
    ("distilbert_sequence", &["dropout", "attention_dropout", "seq_classif_dropout"]),
    ("distilbert_token", &["dropout", "attention_dropout"]),
    ("gpt2_causal", &["attn_pdrop", "embd_pdrop", "resid_pdrop"]),
    ("gpt2_sequence", &["attn_pdrop", "embd_pdrop", "resid_pdrop"]),
    ("vit_image", &["hidden_dropout_prob", "attention_probs_dropout_prob"]),
    (
        "modernbert_sequence",
        &["attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"],
    ),
    (
        "modernbert_token",
        &["attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"],
    ),
    ("llama3", &["attention_dropout"]),
    ("gemma2", &["attention_dropout"]),
    ("phi3", &["attention_dropout", "resid_pdrop"]),
];

/// Writes a fixture's folder with other values of some keys.
fn write(name: &str, values: &[(&str, f64)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = "model.safetensors";
    fs::copy(folder(name).join(file), dir.path().join(file)).unwrap();
    let text = fs::read_to_string(folder(name).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    for (key, p) in values {
        config[key] = json!(p);
    }
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

/// A model and its input.
struct Case {
    logits: Box<dyn Fn() -> Result<Tensor, Error>>,
    params: Params,
}

impl Case {
    /// With one value of some keys, and 0 of the others.
    fn new(name: &str, keys: &[&str], p: f64, checkpointed: bool) -> Self {
        let (_, all) = CASES.iter().find(|(known, _)| *known == name).unwrap();
        let value = |key: &&'static str| (*key, if keys.contains(key) { p } else { 0.0 });
        let dir = write(name, &all.iter().map(value).collect::<Vec<_>>());
        let base = Pretrained::open(dir.path()).unwrap();
        let device = &Device::Cpu;
        let texts = [vec![2, 17, 31, 8, 44, 3, 9, 21, 3], vec![2, 5, 40, 13, 27, 3]];
        let tokens = Tokens::padded(&texts, 1, device).unwrap();
        macro_rules! case {
            ($model:ident, $input:expr) => {{
                let build = |init: &Init| $model::new(init, base.config());
                let params = Params::new(base.tensors_of(device, build).unwrap()).unwrap();
                let model = Init::from_tensors(params.tensors()).build(build).unwrap();
                let model = model.checkpoint_layers(checkpointed);
                let input = $input;
                Self { logits: Box::new(move || model.logits(&input)), params }
            }};
        }
        match name.rsplit_once('_').map_or("", |(_, head)| head) {
            "sequence" => case!(SequenceClassifier, tokens),
            "token" => case!(TokenClassifier, tokens),
            "masked" => case!(MaskedLm, tokens),
            "image" => case!(ImageClassifier, {
                let mut stream = nn::Rng::new(5, "pixels").at(0);
                stream.normal_tensor((2, 3, 8, 8), 0.0, 1.0, DType::F32, device).unwrap()
            }),
            _ => case!(CausalLm, tokens),
        }
    }

    fn evaluated(&self) -> Vec<u32> {
        bits(&(self.logits)().unwrap())
    }

    fn trained(&self, index: u64) -> Tensor {
        nn::training(7, index, || (self.logits)().unwrap())
    }

    /// The gradients of a training pass.
    fn gradients(&self, index: u64) -> Vec<u32> {
        nn::training(7, index, || {
            let sum = (self.logits)().unwrap().sqr().unwrap().sum_all().unwrap();
            let found = Gradients::take(&self.params, &mut sum.backward().unwrap()).unwrap();
            found.iter().flat_map(|(_, gradient)| bits(gradient)).collect()
        })
    }
}

#[test]
fn evaluation_is_unaffected_and_no_dropout_is_the_identity() {
    for (name, keys) in CASES {
        let (none, some) = (Case::new(name, keys, 0.0, false), Case::new(name, keys, 0.4, false));
        let expected = none.evaluated();
        assert_eq!(some.evaluated(), expected, "{name}");
        assert_eq!(bits(&none.trained(3)), expected, "{name}: a probability of 0");
    }
}

#[test]
fn each_key_has_an_effect_of_its_own() {
    for (name, keys) in CASES {
        for key in *keys {
            let case = Case::new(name, &[key], 0.4, false);
            assert_ne!(bits(&case.trained(3)), case.evaluated(), "{name}: {key}");
        }
    }
}

#[test]
fn a_seed_and_an_index_drop_the_same_also_under_checkpointing() {
    for (name, keys) in CASES {
        let case = Case::new(name, keys, 0.4, false);
        let (one, again, other) = (case.gradients(3), case.gradients(3), case.gradients(4));
        assert_eq!(one, again, "{name}");
        assert_ne!(one, other, "{name}");
        let checkpointed = Case::new(name, keys, 0.4, true);
        assert_eq!(checkpointed.gradients(3), one, "{name}: computed again");
    }
}

/// Behind the last dropout of a classifier everything is linear, so that the mean over seeds is the evaluation.
#[test]
fn the_mean_over_many_seeds_is_the_evaluation() {
    for (name, key) in [
        ("bert_sequence", "classifier_dropout"),
        ("distilbert_sequence", "seq_classif_dropout"),
        ("modernbert_token", "classifier_dropout"),
    ] {
        let case = Case::new(name, &[key], 0.2, false);
        let plain = (case.logits)().unwrap();
        let (count, mut sum) = (1500, plain.zeros_like().unwrap());
        for index in 0..count {
            sum = (sum + case.trained(index).detach()).unwrap();
        }
        let mean = (sum / f64::from(u32::try_from(count).unwrap())).unwrap();
        let size = plain.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let apart = (mean - plain).unwrap().abs().unwrap().max_all().unwrap();
        let apart = apart.to_scalar::<f32>().unwrap();
        assert!(apart < 0.05 * size.max(1.0), "{name}: {apart} of {size}");
    }
}

#[test]
fn a_probability_that_is_none_is_refused_by_name() {
    for (name, keys) in CASES {
        for key in *keys {
            let dir = write(name, &[(key, 1.5)]);
            let error = Pretrained::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}` is 1.5, not from 0 to 1")), "{error}");
        }
    }
}

/// Trains GPT-2 with all its dropout over 6 steps of two micro-batches, from the start or from a checkpoint.
fn train(
    job: &mut Job,
    p: f64,
    checkpointed: bool,
    stop: Option<u64>,
) -> cog_train::anyhow::Result<Vec<u32>> {
    let keys = ["attn_pdrop", "embd_pdrop", "resid_pdrop"];
    let dir = write("gpt2_causal", &keys.map(|key| (key, p)));
    let base = Pretrained::open(dir.path())?;
    let params = Params::new(base.tensors(&Device::Cpu)?)?;
    let build = |init: &Init| CausalLm::new(init, base.config());
    let model = Init::from_tensors(params.tensors()).build(build)?;
    let model = model.checkpoint_layers(checkpointed);
    let config = TrainingConfig { epochs: 2, micro_batch: Some(2), ..TrainingConfig::default() };
    fit_on_rows(&model, &params, 12, config, job, stop)?;
    Ok(params.masters().values().flat_map(bits).collect())
}

#[test]
fn resume_with_a_models_dropout_equals_straight_run() {
    let dir = tempfile::tempdir().unwrap();
    let job = |name: &str| Job::for_test(dir.path().join(name));
    let straight = train(&mut job("straight"), 0.3, false, None).unwrap();
    assert_eq!(train(&mut job("again"), 0.3, false, None).unwrap(), straight);
    assert_ne!(train(&mut job("without"), 0.0, false, None).unwrap(), straight);
    assert_eq!(train(&mut job("checkpointed"), 0.3, true, None).unwrap(), straight);
    for step in [0, 3] {
        let name = format!("stopped-{step}");
        let stopped = train(&mut job(&name), 0.3, false, Some(step));
        assert!(matches!(stopped.unwrap_err().downcast_ref(), Some(Error::Cancelled)));
        let mut job = Job::for_test_resumed(dir.path().join(&name));
        assert_eq!(train(&mut job, 0.3, false, None).unwrap(), straight, "stopped at {step}");
    }
}
