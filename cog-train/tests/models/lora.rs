//! Adapters against PEFT. The fixtures are made by `tests/python/lora.py`; with `COG_TRAIN_PYTHON` set to a Python that has
//! PEFT, it also loads what is written here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::engine::{Gradients, Params, Precision, TrainingConfig};
use cog_train::lora::{Adapter, Bias, LoraConfig, Modules};
use cog_train::models::{CausalLm, Pretrained, Targets, Tokens};
use cog_train::nn::{Init, Rng};
use cog_train::optim::{AdamW, Group, Optimizer, Sgd};
use cog_train::{Error, Job};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::{LOGITS, LOSSES, fit_on_rows};

const CASES: &[&str] = &["biases", "dora", "embedding", "layers", "patterns", "plain", "saved"];

type Tensors = BTreeMap<String, Tensor>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lora").join(name)
}

/// Results of PEFT.
#[derive(Deserialize)]
struct Golden {
    ids: Vec<Vec<u32>>,
    logits: Vec<f32>,
    trained: usize,
    #[serde(default)]
    losses: Vec<f64>,
}

fn golden(name: &str) -> Golden {
    serde_json::from_str(&fs::read_to_string(folder(name).join("golden.json")).unwrap()).unwrap()
}

struct Base {
    pretrained: Pretrained,
}

impl Base {
    fn open() -> Self {
        Self { pretrained: Pretrained::open(folder("base")).unwrap() }
    }

    fn tensors(&self) -> Tensors {
        self.pretrained.tensors(&Device::Cpu).unwrap()
    }

    fn model(&self, init: &Init) -> Result<CausalLm, Error> {
        CausalLm::new(init, self.pretrained.config())
    }

    fn adapter(&self, config: &LoraConfig) -> Result<Adapter, Error> {
        config.on(|init| self.model(init))
    }

    /// PEFT's adapter and its tensors.
    fn of_peft(&self, name: &str) -> (Adapter, Tensors) {
        let adapter = self.adapter(&LoraConfig::open(folder(name)).unwrap()).unwrap();
        let trained = adapter.load(folder(name)).unwrap();
        (adapter, trained)
    }

    fn logits(&self, init: &Init, ids: &[Vec<u32>]) -> Result<Tensor, Error> {
        let tokens = Tokens::padded(ids, 0, &Device::Cpu)?;
        init.build(|init| self.model(init))?.logits(&tokens)
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn adapters_of_peft_compute_pefts_logits() {
    let base = Base::open();
    for name in CASES {
        let (golden, (adapter, trained)) = (golden(name), base.of_peft(name));
        let tensors = adapter.tensors(base.tensors(), trained.clone()).unwrap();
        let logits = base.logits(&adapter.init(tensors), &golden.ids).unwrap();
        let apart = furthest(&numbers(&logits), &golden.logits);
        assert!(apart < LOGITS, "{name}: logits are {apart} apart");
        let params = adapter.params(base.tensors(), trained, Precision::F32).unwrap();
        assert_eq!(params.trainable_count(), golden.trained, "{name}");
        // And with another adapter they are not.
        let plain = base.logits(&Init::from_tensors(base.tensors()), &golden.ids).unwrap();
        assert!(furthest(&numbers(&plain), &golden.logits) > 0.1, "{name}");
    }
}

#[test]
fn selections_are_pefts() {
    #[derive(Deserialize)]
    struct Selection {
        config: Map<String, Value>,
        /// The rank and the scale of each.
        layers: BTreeMap<String, (usize, f64)>,
        /// `None` when PEFT refuses the configuration.
        saved: Option<Vec<String>>,
    }
    let base = Base::open();
    let text = fs::read_to_string(folder("selections.json")).unwrap();
    let selections: Vec<Selection> = serde_json::from_str(&text).unwrap();
    assert!(selections.len() > 15);
    for Selection { config, layers, saved } in selections {
        let dir = tempfile::tempdir().unwrap();
        let text = Value::Object(config).to_string();
        fs::write(dir.path().join("adapter_config.json"), &text).unwrap();
        let adapter = base.adapter(&LoraConfig::open(dir.path()).unwrap());
        let Some(saved) = saved else {
            let error = adapter.unwrap_err().to_string();
            assert!(
                error.contains("hint: the model has the layers `down_proj`"),
                "{text}: {error}"
            );
            continue;
        };
        let adapter = adapter.unwrap();
        let found: BTreeMap<String, (usize, f64)> = adapter
            .layers()
            .map(|(path, branch)| (path.to_owned(), (branch.rank(), branch.scale())))
            .collect();
        assert_eq!(found, layers, "{text}");
        let own = adapter.trained().filter(|name| !name.contains("lora_"));
        assert_eq!(own.collect::<Vec<_>>(), saved, "{text}");
    }
}

/// Writes an adapter whose logits stand beside it.
fn write(base: &Base, adapter: &Adapter, trained: &Tensors, ids: &[Vec<u32>], to: &Path) {
    adapter.save(to, trained).unwrap();
    let tensors = adapter.tensors(base.tensors(), trained.clone()).unwrap();
    let logits = base.logits(&adapter.init(tensors), ids).unwrap();
    let golden = json!({"ids": ids, "logits": numbers(&logits)});
    fs::write(to.join("golden.json"), golden.to_string()).unwrap();
}

#[test]
fn an_adapter_is_written_as_it_was_read() {
    let (base, dir) = (Base::open(), tempfile::tempdir().unwrap());
    for name in CASES {
        let (adapter, trained) = base.of_peft(name);
        let written = dir.path().join(name);
        adapter.save(&written, &trained).unwrap();
        let config = |folder: &Path| -> Map<String, Value> {
            let text = fs::read_to_string(folder.join("adapter_config.json")).unwrap();
            let mut config: Map<String, Value> = serde_json::from_str(&text).unwrap();
            // One name may stand for a list of it.
            if let Some(Value::String(name)) = config.get("layers_pattern").cloned() {
                config.insert("layers_pattern".to_owned(), json!([name]));
            }
            config
        };
        assert_eq!(config(&written), config(&folder(name)), "{name}");
        let tensors = |folder: &Path| {
            let file = folder.join("adapter_model.safetensors");
            let weights = cog_train::Weights::open(file.to_str().unwrap()).unwrap();
            let tensors = weights.tensors(&Device::Cpu).unwrap().into_iter();
            // PEFT stores the embedding itself beside its branch.
            let tensors = tensors.filter(|(name, _)| !name.ends_with("base_layer.weight"));
            tensors.map(|(name, tensor)| (name, numbers(&tensor))).collect::<BTreeMap<_, _>>()
        };
        assert!(tensors(&written) == tensors(&folder(name)), "{name}");
    }
}

/// PyTorch's AdamW with its defaults over the fixture's batch. Returns the losses before each step.
fn train(
    base: &Base,
    adapter: &Adapter,
    params: &Params,
    ids: &[Vec<u32>],
    optimizer: Optimizer,
) -> Vec<f64> {
    let model = adapter.init(params.tensors()).build(|init| base.model(init)).unwrap();
    let tokens = Tokens::padded(ids, 0, &Device::Cpu).unwrap();
    let targets = Targets::of_labels(ids, &Device::Cpu).unwrap();
    let scale = 1.0 / f64::from(u32::try_from(targets.count()).unwrap());
    let mut optimizer = optimizer.group("*", Group::new().weight_decay(0.01));
    optimizer.prepare(params).unwrap();
    let step = |step| {
        let sum = model.loss(&tokens, &targets).unwrap();
        let gradients = Gradients::take(params, &mut sum.backward().unwrap()).unwrap();
        assert_eq!(gradients.iter().count(), params.trainable().count());
        optimizer.step(params, &gradients, step, 1e-2, scale).unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap()) * scale
    };
    (1..=20).map(step).collect()
}

#[test]
fn training_an_adapter_follows_pefts_losses() {
    let base = Base::open();
    for name in ["plain", "dora", "saved"] {
        let (golden, (adapter, trained)) = (golden(name), base.of_peft(name));
        assert_eq!(golden.losses.len(), 20);
        let params = adapter.params(base.tensors(), trained, Precision::F32).unwrap();
        let optimizer = Optimizer::new(AdamW::default());
        let losses = train(&base, &adapter, &params, &golden.ids, optimizer);
        for (step, (loss, expected)) in losses.iter().zip(&golden.losses).enumerate() {
            let apart = (loss - expected).abs() / expected;
            assert!(apart < LOSSES, "{name}: step {step}: {loss}, and PEFT's {expected}");
        }
        // The base is as it was.
        for (name, tensor) in
            base.tensors().iter().filter(|(name, _)| !adapter.trained().any(|it| it == *name))
        {
            assert_eq!(numbers(&params.masters()[name]), numbers(tensor), "{name}");
        }
    }
}

#[test]
fn merged_weights_compute_the_same_and_unmerge_to_the_base() {
    let base = Base::open();
    for name in CASES {
        let (golden, (adapter, trained)) = (golden(name), base.of_peft(name));
        let tensors = adapter.tensors(base.tensors(), trained).unwrap();
        let scores = |init: &Init| base.logits(init, &golden.ids);
        let merged = adapter.merge(&tensors, 1e-5, scores).unwrap();
        let difference = merged.difference();
        assert!(difference.largest > 0.0 && difference.same_choices == 12 && difference.rows == 12);
        assert!(merged.tensors().keys().eq(base.tensors().keys()), "{name}");
        let logits = scores(&Init::from_tensors(merged.tensors().clone())).unwrap();
        assert!(furthest(&numbers(&logits), &golden.logits) < LOGITS, "{name}");
        let apart = adapter.unmerge(&merged, &tensors).unwrap();
        for (tensor, found) in &apart {
            assert!(
                furthest(&numbers(found), &numbers(&tensors[tensor])) < 2e-6,
                "{name}: {tensor}"
            );
        }
    }
}

/// A merged bfloat16 base is rounded: a tolerance that it exceeds is an error with the difference.
#[test]
fn a_merge_that_computes_otherwise_is_refused() {
    let (base, golden) = (Base::open(), golden("plain"));
    let (adapter, trained) = base.of_peft("plain");
    let half = |(name, tensor): (String, Tensor)| (name, tensor.to_dtype(DType::BF16).unwrap());
    let mut tensors: Tensors = base.tensors().into_iter().map(half).collect();
    tensors.extend(trained);
    let scores = |init: &Init| base.logits(init, &golden.ids);
    let error = adapter.merge(&tensors, 1e-5, scores).unwrap_err().to_string();
    assert!(
        error.contains("the merged weights do not compute what base and adapter do"),
        "{error}"
    );
    assert!(error.contains("of 12 rows choose the same"), "{error}");
    let merged = adapter.merge(&tensors, 0.1, scores).unwrap();
    assert!(merged.tensors().values().all(|tensor| tensor.dtype() == DType::BF16));
}

#[test]
fn an_adapter_for_another_base_is_an_error_that_lists_its_tensors() {
    let other = Pretrained::open(crate::support::folder("llama3")).unwrap();
    let on = |config: LoraConfig| config.on(|init| CausalLm::new(init, other.config()));
    let error = |name: &str, config: LoraConfig| {
        let adapter = on(config)?;
        adapter.load(folder(name)).map(drop)
    };
    let open = |name: &str| LoraConfig::open(folder(name)).unwrap();
    let text = error("plain", open("plain")).unwrap_err().to_string();
    assert!(text.contains("the adapter does not fit the model"), "{text}");
    assert!(text.contains("lora_") && text.contains("the model needs ["), "{text}");
    assert!(text.ends_with("hint: the adapter was made for the base `base`"), "{text}");
    // Other settings than the file was made with.
    let base = Base::open();
    let config = LoraConfig::new(3).targets(Modules::named(["q_proj"]));
    let text = base.adapter(&config).unwrap().load(folder("plain")).unwrap_err().to_string();
    assert!(
        text.contains(
            "`base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight` has no place"
        ),
        "{text}"
    );
    let config = LoraConfig::new(3).targets(Modules::named(["q_proj", "v_proj", "o_proj"]));
    let text = base.adapter(&config).unwrap().load(folder("plain")).unwrap_err().to_string();
    assert!(
        text.contains(
            "`base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight` is missing"
        ),
        "{text}"
    );
}

/// A new adapter changes nothing, has PEFT's first values, and is a function of the seed.
#[test]
fn a_drawn_adapter_is_the_base() {
    let (base, golden) = (Base::open(), golden("plain"));
    let plain = numbers(&base.logits(&Init::from_tensors(base.tensors()), &golden.ids).unwrap());
    let config = LoraConfig::new(4).alpha(10.0).targets(Modules::AllLinear).bias(Bias::All);
    for config in [config.clone(), config.clone().dora(), config.rslora().dropout(0.1)] {
        let adapter = base.adapter(&config).unwrap();
        let draw = |seed| adapter.draw(&base.tensors(), Rng::new(seed, "lora")).unwrap();
        let drawn = draw(1);
        let tensors = adapter.tensors(base.tensors(), drawn.clone()).unwrap();
        let logits = base.logits(&adapter.init(tensors), &golden.ids).unwrap();
        assert!(furthest(&numbers(&logits), &plain) < 1e-5);
        let a = "model.layers.0.mlp.down_proj.lora_A.weight";
        assert_eq!(numbers(&drawn[a]), numbers(&draw(1)[a]));
        assert_ne!(numbers(&drawn[a]), numbers(&draw(2)[a]));
        // `kaiming_uniform_(a=sqrt(5))` of 24 inputs.
        let most = numbers(&drawn[a]).into_iter().fold(0.0, |most: f32, it| most.max(it.abs()));
        assert!(most <= 24f32.powf(-0.5) && most > 0.9 * 24f32.powf(-0.5), "{most}");
        assert!(adapter.layers().all(|(path, _)| path != "lm_head"));
    }
}

/// The ratio of LoRA+ acts on `B` and not on `A`.
#[test]
fn lora_plus_moves_b_faster() {
    let (base, golden) = (Base::open(), golden("plain"));
    let (adapter, trained) = base.of_peft("plain");
    let moved = |ratio: f64| {
        let params = adapter.params(base.tensors(), trained.clone(), Precision::F32).unwrap();
        let mut optimizer = adapter.lora_plus(Optimizer::new(Sgd::default()), ratio);
        optimizer.prepare(&params).unwrap();
        let model = adapter.init(params.tensors()).build(|init| base.model(init)).unwrap();
        let tokens = Tokens::padded(&golden.ids, 0, &Device::Cpu).unwrap();
        let targets = Targets::of_labels(&golden.ids, &Device::Cpu).unwrap();
        let sum = model.loss(&tokens, &targets).unwrap();
        let gradients = Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
        optimizer.step(&params, &gradients, 1, 1e-3, 1.0).unwrap();
        ["A", "B"].map(|it| {
            let name = format!("model.layers.0.self_attn.q_proj.lora_{it}.weight");
            furthest(&numbers(&params.masters()[&name]), &numbers(&trained[&name]))
        })
    };
    let ([a, b], [a_plus, b_plus]) = (moved(1.0), moved(16.0));
    assert!((a_plus / a - 1.0).abs() < 1e-3, "{a} and {a_plus}");
    assert!((b_plus / b - 16.0).abs() < 0.1, "{b} and {b_plus}");
}

/// The whole way: train in two precisions, save, load, and the logits are those of the trained model. A frozen base costs its
/// own bytes.
#[test]
fn a_trained_adapter_is_loaded_with_its_logits() {
    let (base, golden, dir) = (Base::open(), golden("plain"), tempfile::tempdir().unwrap());
    let configs = [
        ("linear", LoraConfig::new(4).alpha(10.0).targets(Modules::AllLinear)),
        (
            "dora",
            LoraConfig::new(2)
                .alpha(3.0)
                .targets(Modules::regex(r".*\.\d\.mlp\..*"))
                .dora()
                .bias(Bias::All),
        ),
        (
            "head",
            LoraConfig::new(3)
                .alpha(5.0)
                .targets(Modules::named(["q_proj", "o_proj"]))
                .rank_of("layers.1.self_attn.q_proj", 5)
                .modules_to_save(["lm_head", "model.norm"])
                .bias(Bias::Adapted)
                .rslora(),
        ),
        (
            "embed",
            LoraConfig::new(3).alpha(5.0).targets(Modules::named([
                "embed_tokens",
                "lm_head",
                "v_proj",
            ])),
        ),
    ];
    for (name, config) in configs {
        let config = config.task_type("CAUSAL_LM").base_model("base");
        let adapter = base.adapter(&config).unwrap();
        let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora")).unwrap();
        let params = adapter.params(base.tensors(), drawn.clone(), Precision::F32).unwrap();
        let losses = train(&base, &adapter, &params, &golden.ids, Optimizer::new(AdamW::default()));
        assert!(losses[19] < losses[0] - 0.1, "{name}: {losses:?}");
        let written = dir.path().join(name);
        write(&base, &adapter, &params.masters(), &golden.ids, &written);

        let again = base.adapter(&LoraConfig::open(&written).unwrap()).unwrap();
        assert!(again.layers().eq(adapter.layers()), "{name}");
        let loaded = again.load(&written).unwrap();
        let tensors = again.tensors(base.tensors(), loaded).unwrap();
        let found = numbers(&base.logits(&again.init(tensors), &golden.ids).unwrap());
        let trained = adapter.init(params.tensors());
        let expected = numbers(&base.logits(&trained, &golden.ids).unwrap());
        assert_eq!(found, expected, "{name}");

        let params = adapter.params(base.tensors(), drawn, Precision::Bf16).unwrap();
        let frozen = params.count() - params.trainable_count();
        assert_eq!(params.bytes(), 2 * frozen + 6 * params.trainable_count(), "{name}");
        let losses = train(&base, &adapter, &params, &golden.ids, Optimizer::new(AdamW::default()));
        assert!(losses[19] < losses[0] - 0.1, "{name}: {losses:?}");
    }
    if let Ok(python) = std::env::var("COG_TRAIN_PYTHON") {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/lora.py");
        let output =
            std::process::Command::new(python).arg(script).arg("check").arg(dir.path()).output();
        let output = output.unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success() && out.lines().count() == 4, "{out}{err}");
    }
}

/// Weights of 16 bits under a model of 32 stay as they are, in half the memory, and give the bits of widened ones: losses, trained values
/// and merged weights.
#[test]
fn a_base_held_in_16_bits_equals_a_widened_one() {
    let (base, golden) = (Base::open(), golden("plain"));
    let each = |tensors: Tensors, dtype: DType| -> Tensors {
        let convert = |(name, tensor): (String, Tensor)| (name, tensor.to_dtype(dtype).unwrap());
        tensors.into_iter().map(convert).collect()
    };
    let config = LoraConfig::new(4).alpha(16.0).targets(Modules::AllLinear);
    let adapter = base.adapter(&config).unwrap();
    for dtype in [DType::BF16, DType::F16] {
        let narrow = each(base.tensors(), dtype);
        let run = |tensors: Tensors| {
            let drawn = adapter.draw(&tensors, Rng::new(3, "lora")).unwrap();
            let params = adapter.params(tensors, drawn, Precision::F32).unwrap();
            let optimizer = Optimizer::new(AdamW::default());
            let losses = train(&base, &adapter, &params, &golden.ids, optimizer);
            let trained: Vec<f32> =
                adapter.trained().flat_map(|name| numbers(&params.masters()[name])).collect();
            let merged =
                adapter.merge(&params.masters(), 1e-4, |init| base.logits(init, &golden.ids));
            let merged = merged.unwrap();
            let merged: Vec<f32> = merged
                .tensors()
                .values()
                .inspect(|tensor| assert_eq!(tensor.dtype(), DType::F32))
                .flat_map(numbers)
                .collect();
            ((losses, trained, merged), params)
        };
        let (held, params) = run(narrow.clone());
        let (wide, widened) = run(each(narrow.clone(), DType::F32));
        assert!(held == wide, "{dtype:?}");
        let matrices = narrow.values().filter(|tensor| tensor.rank() == 2);
        let saved: usize = matrices.map(|tensor| 2 * tensor.elem_count()).sum();
        assert_eq!(params.bytes() + saved, widened.bytes());
        // A precision of 16 bits holds everything once, in 16 bits.
        let params = params.precision(Precision::Bf16).unwrap();
        let frozen = params.count() - params.trainable_count();
        assert_eq!(params.bytes(), 2 * frozen + 6 * params.trainable_count());
    }
}

/// Trains an adapter with dropout by `fit` over 6 steps of two micro-batches, from the start or from a checkpoint. Returns the
/// trained values.
fn fit_with_dropout(
    base: &Base,
    job: &mut Job,
    dropout: f64,
    checkpointed: bool,
    stop: Option<u64>,
) -> cog_train::anyhow::Result<Vec<f32>> {
    let config = LoraConfig::new(4).alpha(10.0).dropout(dropout).targets(Modules::AllLinear);
    let adapter = base.adapter(&config)?;
    let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora"))?;
    let params = adapter.params(base.tensors(), drawn, Precision::F32)?;
    let model = adapter.init(params.tensors()).build(|init| base.model(init))?;
    let model = model.checkpoint_layers(checkpointed);
    let config = TrainingConfig {
        epochs: 2,
        learning_rate: 1e-2,
        micro_batch: Some(2),
        ..TrainingConfig::default()
    };
    fit_on_rows(&model, &params, 12, config, job, stop)?;
    let masters = params.masters();
    Ok(adapter.trained().flat_map(|name| numbers(&masters[name])).collect())
}

/// A resumed run drops the elements that the straight one drops, and so does a block that is computed again.
#[test]
fn resume_with_dropout_equals_straight_run() {
    let (base, dir) = (Base::open(), tempfile::tempdir().unwrap());
    let job = |name: &str| Job::for_test(dir.path().join(name));
    let straight = fit_with_dropout(&base, &mut job("straight"), 0.5, false, None).unwrap();
    let without = fit_with_dropout(&base, &mut job("without"), 0.0, false, None).unwrap();
    assert!(furthest(&straight, &without) > 1e-3, "dropout has an effect");
    let again = fit_with_dropout(&base, &mut job("again"), 0.5, true, None).unwrap();
    assert_eq!(again, straight);
    for step in [0, 2, 5] {
        let name = format!("stopped-{step}");
        let stopped = fit_with_dropout(&base, &mut job(&name), 0.5, false, Some(step));
        assert!(matches!(stopped.unwrap_err().downcast_ref(), Some(Error::Cancelled)));
        let mut job = Job::for_test_resumed(dir.path().join(&name));
        let resumed = fit_with_dropout(&base, &mut job, 0.5, false, None).unwrap();
        assert_eq!(resumed, straight, "stopped at step {step}");
    }
}
