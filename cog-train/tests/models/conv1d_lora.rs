//! Adapters of GPT-2, whose files store the weights of its layers transposed (`Conv1D`, PEFT's `fan_in_fan_out`). The fixture is made
//! by `tests/python/lora.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cog_train::Weights;
use cog_train::candle_core::{Device, Tensor};
use cog_train::engine::{Gradients, Precision};
use cog_train::lora::{Adapter, LoraConfig, Modules};
use cog_train::models::{CausalLm, Pretrained, Targets, Tokens};
use cog_train::nn::{Init, Rng};
use cog_train::optim::{AdamW, Group, Optimizer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{LOGITS, LOSSES, folder};

/// Results of PEFT.
#[derive(Deserialize)]
struct Golden {
    ids: Vec<Vec<u32>>,
    logits: Vec<f32>,
    trained: usize,
    losses: Vec<f64>,
    /// One row of some merged tensors, as they are stored.
    merged: BTreeMap<String, Vec<f32>>,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lora/gpt2")
}

fn golden() -> Golden {
    serde_json::from_str(&fs::read_to_string(fixture().join("golden.json")).unwrap()).unwrap()
}

fn base() -> Pretrained {
    Pretrained::open(folder("gpt2_causal")).unwrap()
}

fn adapter(base: &Pretrained, config: &LoraConfig) -> Adapter {
    config.on(|init| CausalLm::new(init, base.config())).unwrap()
}

fn logits(base: &Pretrained, init: &Init, ids: &[Vec<u32>]) -> Vec<f32> {
    let model = init.build(|init| CausalLm::new(init, base.config())).unwrap();
    let tokens = Tokens::padded(ids, 0, &Device::Cpu).unwrap();
    numbers(&model.logits(&tokens).unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn adapters_of_conv1d_compute_pefts_logits_and_train_like_them() {
    let (base, golden) = (base(), golden());
    let adapter = adapter(&base, &LoraConfig::open(fixture()).unwrap());
    let paths: Vec<&str> = adapter.layers().map(|(path, _)| path).collect();
    let of_layer = |layer: usize| {
        ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
            .map(|name| format!("transformer.h.{layer}.{name}"))
    };
    assert_eq!(paths, [of_layer(0), of_layer(1)].concat());
    let (tensors, trained) =
        (base.tensors(&Device::Cpu).unwrap(), adapter.load(fixture()).unwrap());
    let whole = adapter.tensors(tensors.clone(), trained.clone()).unwrap();
    let apart = furthest(&logits(&base, &adapter.init(whole), &golden.ids), &golden.logits);
    assert!(apart < LOGITS, "logits are {apart} apart");
    let plain = logits(&base, &Init::from_tensors(tensors.clone()), &golden.ids);
    assert!(furthest(&plain, &golden.logits) > 0.1);

    let params = adapter.params(tensors, trained, Precision::F32).unwrap();
    assert_eq!(params.trainable_count(), golden.trained);
    let model = adapter.init(params.tensors());
    let model = model.build(|init| CausalLm::new(init, base.config())).unwrap();
    let tokens = Tokens::padded(&golden.ids, 0, &Device::Cpu).unwrap();
    let targets = Targets::of_labels(&golden.ids, &Device::Cpu).unwrap();
    let scale = 1.0 / f64::from(u32::try_from(targets.count()).unwrap());
    let mut optimizer =
        Optimizer::new(AdamW::default()).group("*", Group::new().weight_decay(0.01));
    optimizer.prepare(&params).unwrap();
    assert_eq!(golden.losses.len(), 20);
    for (step, expected) in (1..).zip(&golden.losses) {
        let sum = model.loss(&tokens, &targets).unwrap();
        let loss = f64::from(sum.to_scalar::<f32>().unwrap()) * scale;
        assert!((loss - expected).abs() < LOSSES * expected, "step {step}: {loss}, not {expected}");
        let gradients = Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
        optimizer.step(&params, &gradients, step, 1e-2, scale).unwrap();
    }
}

/// A merged and saved model equals PEFT's, in the layout of its files.
#[test]
fn merged_conv1d_weights_are_saved_as_peft_saves_them() {
    let (base, golden, out) = (base(), golden(), tempfile::tempdir().unwrap());
    let adapter = adapter(&base, &LoraConfig::open(fixture()).unwrap());
    let trained = adapter.load(fixture()).unwrap();
    let whole = adapter.tensors(base.tensors(&Device::Cpu).unwrap(), trained).unwrap();
    let tokens = Tokens::padded(&golden.ids, 0, &Device::Cpu).unwrap();
    let merged = adapter.merge(&whole, 1e-4, |init| {
        init.build(|init| CausalLm::new(init, base.config()))?.logits(&tokens)
    });
    base.save(out.path(), merged.unwrap().tensors().clone()).unwrap();
    let stored = Weights::open(out.path().to_str().unwrap()).unwrap();
    for (name, expected) in &golden.merged {
        let row = stored.get(name, &Device::Cpu).unwrap().get(1).unwrap();
        assert!(furthest(&numbers(&row), expected) < 2e-6, "{name}");
    }
    let again = Pretrained::open(out.path()).unwrap();
    let tensors = again.tensors(&Device::Cpu).unwrap();
    let found = logits(&again, &Init::from_tensors(tensors), &golden.ids);
    assert!(furthest(&found, &golden.logits) < LOGITS);
}

/// Writes what it has read; a new adapter states that its layers are transposed, else PEFT warns.
#[test]
fn adapters_of_conv1d_are_written_for_peft() {
    let (base, golden, dir) = (base(), golden(), tempfile::tempdir().unwrap());
    let read = adapter(&base, &LoraConfig::open(fixture()).unwrap());
    let again = dir.path().join("again");
    read.save(&again, &read.load(fixture()).unwrap()).unwrap();
    let settings = |folder: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.join("adapter_config.json")).unwrap())
            .unwrap()
    };
    assert_eq!(settings(&again), settings(&fixture()));
    let tensors = |folder: &Path| {
        let file = folder.join("adapter_model.safetensors");
        let tensors = Weights::open(file.to_str().unwrap()).unwrap();
        let tensors = tensors.tensors(&Device::Cpu).unwrap().into_iter();
        tensors.map(|(name, tensor)| (name, numbers(&tensor))).collect::<BTreeMap<_, _>>()
    };
    assert!(tensors(&again) == tensors(&fixture()));

    let config = LoraConfig::new(4).alpha(6.0).targets(Modules::AllLinear).fan_in_fan_out(true);
    let new = adapter(&base, &config.task_type("CAUSAL_LM").base_model("gpt2_causal"));
    let tensors = base.tensors(&Device::Cpu).unwrap();
    let mut drawn = new.draw(&tensors, Rng::new(3, "lora")).unwrap();
    for tensor in drawn.values_mut() {
        *tensor = (&*tensor + 0.05).unwrap();
    }
    let written = dir.path().join("gpt2");
    new.save(&written, &drawn).unwrap();
    assert_eq!(settings(&written)["fan_in_fan_out"], json!(true));
    let found = logits(&base, &new.init(new.tensors(tensors, drawn).unwrap()), &golden.ids);
    let beside = json!({"ids": golden.ids, "logits": found});
    fs::write(written.join("golden.json"), beside.to_string()).unwrap();
    if let Ok(python) = std::env::var("COG_TRAIN_PYTHON") {
        fs::remove_dir_all(&again).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/lora.py");
        let output =
            std::process::Command::new(python).arg(script).arg("check").arg(dir.path()).output();
        let output = output.unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success() && out.lines().count() == 1, "{out}{err}");
    }
}
