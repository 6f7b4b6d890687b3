//! Models whose frozen weights are in NF4, against transformers with bitsandbytes and PEFT. The fixture is made by
//! `tests/python/nf4.py`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use cog_train::anyhow;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::engine::{Gradients, Params, Precision, TrainingConfig};
use cog_train::lora::{Adapter, LoraConfig, Modules};
use cog_train::models::{CausalLm, Generation, Pretrained};
use cog_train::nn::{BlockLayout, Init, Quantized, Rng, Scales};
use cog_train::optim::{AdamW, Group, Optimizer};
use cog_train::{Error, Job, Weights};
use serde_json::json;

use crate::folders::Copy;
use crate::support::{Golden, LOGITS, LOSSES, fit_on_rows, folder, load};

const CPU: &Device = &Device::Cpu;

type Tensors = BTreeMap<String, Tensor>;

/// A base, and its adapter's targets.
struct Base(Pretrained);

impl Base {
    /// In the files of bitsandbytes.
    fn nf4() -> Self {
        Self(Pretrained::open(folder("nf4")).unwrap())
    }

    fn tensors(&self) -> Tensors {
        self.0.tensors(CPU).unwrap()
    }

    fn quantized(&self) -> BTreeMap<String, Quantized> {
        self.0.quantized(CPU).unwrap()
    }

    /// The same values as floats.
    fn dequantized(&self) -> Tensors {
        let matrices = self.quantized().into_iter();
        let matrices = matrices.map(|(name, matrix)| (name, matrix.dequantize().unwrap()));
        self.tensors().into_iter().chain(matrices).collect()
    }

    fn model(&self, init: &Init) -> Result<CausalLm, Error> {
        CausalLm::new(init, self.0.config())
    }

    fn adapter(&self, config: &LoraConfig) -> Adapter {
        let adapter = config.on(|init| self.model(init)).unwrap();
        adapter.quantized(self.quantized()).unwrap()
    }

    fn of_peft(&self) -> (Adapter, Tensors) {
        let file = folder("nf4/adapter");
        let adapter = self.adapter(&LoraConfig::open(&file).unwrap());
        let trained = adapter.load(&file).unwrap();
        (adapter, trained)
    }

    fn logits(&self, init: &Init, golden: &Golden) -> Result<Tensor, Error> {
        init.build(|init| self.model(init))?.logits(&golden.tokens())
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
fn logits_equal_those_of_bitsandbytes() {
    let golden = Golden::read("nf4");
    let model = load(&folder("nf4")).unwrap();
    let distance = golden.distance(&model.logits(&golden.tokens()).unwrap());
    assert!(distance < LOGITS, "logits are {distance} apart");
    // Those of the base that is not quantized are not.
    let plain = load(&folder("nf4_base")).unwrap();
    assert!(golden.distance(&plain.logits(&golden.tokens()).unwrap()) > 0.1);
}

/// The files hold what is made of the base's floats, and the head and the embeddings stay floats.
#[test]
fn matrices_quantized_when_loaded_equal_those_of_bitsandbytes() {
    let files = Base::nf4();
    let base =
        Base(Pretrained::open(folder("nf4_base")).unwrap().quantize(BlockLayout::Nf4).unwrap());
    assert!(base.tensors().keys().eq(files.tensors().keys()));
    let (made, read) = (base.quantized(), files.quantized());
    assert!(made.keys().eq(read.keys()) && made.len() == 14);
    for (name, expected) in &read {
        let found = &made[name];
        assert_eq!(found.dims(), expected.dims(), "{name}");
        assert_eq!(found.to_bytes().unwrap(), expected.to_bytes().unwrap(), "{name}");
        let codes = |matrix: &Quantized| match matrix.scales() {
            Some((Scales::Nested { codes, .. }, 64)) => codes.to_vec1::<u8>().unwrap(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(codes(found), codes(expected), "{name}");
        let [found, expected] =
            [found, expected].map(|matrix| numbers(&matrix.dequantize().unwrap()));
        assert!(furthest(&found, &expected) < 1e-6, "{name}");
    }
    // Of files in NF4 nothing is left to quantize.
    let again = Base(Pretrained::open(folder("nf4")).unwrap().quantize(BlockLayout::Nf4).unwrap());
    assert!(again.quantized().keys().eq(read.keys()));
}

#[test]
fn a_layout_that_rows_do_not_fit_is_refused() {
    let base = Pretrained::open(folder("nf4_base")).unwrap();
    let error = base.quantize(BlockLayout::Q8_0).unwrap_err().to_string();
    let expected = "`model.layers.0.mlp.down_proj.weight` [24, 40] cannot be quantized to Q8_0: its rows are no \
                    multiples of 32\nhint: NF4 takes rows of any length";
    assert!(error.ends_with(expected), "{error}");
}

/// PyTorch's AdamW over the golden batch. Returns the losses before each step.
fn train(adapter: &Adapter, base: &Base, params: &Params, golden: &Golden) -> Vec<f64> {
    let model = adapter.init(params.tensors()).build(|init| base.model(init)).unwrap();
    let (tokens, targets) = (golden.tokens(), golden.targets());
    let scale = 1.0 / f64::from(u32::try_from(targets.count()).unwrap());
    let mut optimizer =
        Optimizer::new(AdamW::default()).group("*", Group::new().weight_decay(0.01));
    optimizer.prepare(params).unwrap();
    let step = |step| {
        let sum = model.loss(&tokens, &targets).unwrap();
        let gradients = Gradients::take(params, &mut sum.backward().unwrap()).unwrap();
        assert_eq!(gradients.iter().count(), params.trainable().count());
        optimizer.step(params, &gradients, step, 1e-3, scale).unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap()) * scale
    };
    (1..=20).map(step).collect()
}

#[test]
fn training_an_adapter_follows_pefts_losses_on_bitsandbytes() {
    let (base, golden) = (Base::nf4(), Golden::read("nf4"));
    let (adapter, trained) = base.of_peft();
    let params = adapter.params(base.tensors(), trained, Precision::F32).unwrap();
    let losses = train(&adapter, &base, &params, &golden);
    assert_eq!(golden.losses().len(), 20);
    for (step, (loss, expected)) in losses.iter().zip(golden.losses()).enumerate() {
        let apart = (loss - expected).abs() / expected;
        assert!(apart < LOSSES, "step {step}: {loss}, and PEFT's {expected}");
    }
}

/// Each kind of branch, with the base in blocks and as floats.
#[test]
fn training_on_blocks_follows_training_on_the_dequantized_base() {
    let (base, golden) = (Base::nf4(), Golden::read("nf4"));
    let config = LoraConfig::new(4).alpha(10.0).targets(Modules::AllLinear);
    for config in
        [config.clone().rslora(), config.clone().dora(), config.modules_to_save(["lm_head"])]
    {
        let adapter = base.adapter(&config);
        let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora")).unwrap();
        let params = adapter.params(base.tensors(), drawn.clone(), Precision::F32).unwrap();
        let losses = train(&adapter, &base, &params, &golden);

        let floats = config.on(|init| base.model(init)).unwrap();
        let on_floats = floats.draw(&base.dequantized(), Rng::new(3, "lora")).unwrap();
        for (name, tensor) in &on_floats {
            assert!(furthest(&numbers(tensor), &numbers(&drawn[name])) < 1e-5, "{name}");
        }
        let params = floats.params(base.dequantized(), on_floats, Precision::F32).unwrap();
        let expected = train(&floats, &base, &params, &golden);
        assert!(losses[19] < losses[0] - 0.01, "{losses:?}");
        for (loss, expected) in losses.iter().zip(&expected) {
            assert!((loss - expected).abs() < 1e-5 * expected, "{loss} and {expected}");
        }
    }
}

#[test]
fn a_quantized_base_costs_its_own_bytes() {
    let base = Base::nf4();
    let adapter = base.adapter(&LoraConfig::new(4).targets(Modules::AllLinear));
    let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora")).unwrap();
    for (precision, bytes) in [(Precision::F32, 4), (Precision::Bf16, 2)] {
        let params = adapter.params(base.tensors(), drawn.clone(), precision).unwrap();
        let floats: usize = base.tensors().values().map(Tensor::elem_count).sum();
        let trained = params.trainable_count();
        let blocks: usize = base.quantized().values().map(Quantized::byte_count).sum();
        let of_trained = if bytes == 4 { 4 } else { 4 + 2 };
        assert_eq!(params.bytes(), floats * bytes + blocks + trained * of_trained);
        let elements = |matrix: &Quantized| matrix.dims().0 * matrix.dims().1;
        let quantized: usize = base.quantized().values().map(elements).sum();
        assert_eq!(params.count(), floats + quantized + trained);
        // Half a byte for each element, one for each scale, and 256 values of scales for each matrix.
        assert!(blocks < quantized / 2 + quantized / 64 + 14 * (257 * 4 + 8));
    }
}

/// A step in bfloat16 learns, and its model generates.
#[test]
fn a_quantized_base_trains_in_bfloat16() {
    let (base, golden) = (Base::nf4(), Golden::read("nf4"));
    let adapter = base.adapter(&LoraConfig::new(4).alpha(40.0).targets(Modules::AllLinear));
    let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora")).unwrap();
    let params = adapter.params(base.tensors(), drawn, Precision::Bf16).unwrap();
    let losses = train(&adapter, &base, &params, &golden);
    assert!(losses[19] < losses[0] - 0.1, "{losses:?}");
    let model = adapter.init(params.tensors()).build(|init| base.model(init)).unwrap();
    let text = &golden.texts()[0];
    let proceed = |_| ControlFlow::Continue(());
    let generated = model.generate(text, &Generation::new(4), proceed).unwrap();
    assert_eq!(generated.tokens.len(), 4);
}

fn fit_with_dropout(base: &Base, job: &mut Job, stop: Option<u64>) -> anyhow::Result<Vec<f32>> {
    let config = LoraConfig::new(4).alpha(10.0).dropout(0.5).dora().targets(Modules::AllLinear);
    let adapter = base.adapter(&config);
    let drawn = adapter.draw(&base.tensors(), Rng::new(3, "lora"))?;
    let params = adapter.params(base.tensors(), drawn, Precision::F32)?;
    let model = adapter.init(params.tensors()).build(|init| base.model(init))?;
    let config = TrainingConfig { epochs: 2, learning_rate: 1e-2, ..TrainingConfig::default() };
    fit_on_rows(&model, &params, 8, config, job, stop)?;
    let masters = params.masters();
    Ok(adapter.trained().flat_map(|name| numbers(&masters[name])).collect())
}

#[test]
fn resume_on_blocks_equals_straight_run() {
    let (base, dir) = (Base::nf4(), tempfile::tempdir().unwrap());
    let straight = dir.path().join("straight");
    let straight = fit_with_dropout(&base, &mut Job::for_test(straight), None).unwrap();
    let stopped = dir.path().join("stopped");
    let error = fit_with_dropout(&base, &mut Job::for_test(&stopped), Some(2)).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)));
    let mut job = Job::for_test_resumed(&stopped);
    assert_eq!(fit_with_dropout(&base, &mut job, None).unwrap(), straight);
}

/// The merged model is one of floats: it computes what base and adapter do, and is saved without a trace of blocks.
#[test]
fn a_merged_model_is_dequantized() {
    let (base, golden, dir) = (Base::nf4(), Golden::read("nf4"), tempfile::tempdir().unwrap());
    let (adapter, trained) = base.of_peft();
    let params = adapter.params(base.tensors(), trained, Precision::F32).unwrap();
    let scores = |init: &Init| base.logits(init, &golden);
    let merged = adapter.merge(&params.masters(), 1e-5, scores).unwrap();
    assert!(merged.difference().largest > 0.0);
    base.0.save(dir.path(), merged.tensors().clone()).unwrap();
    let saved = Pretrained::open(dir.path()).unwrap();
    assert!(saved.quantized(CPU).unwrap().is_empty());
    let apart = scores(&adapter.init(params.tensors())).unwrap();
    let together = load(dir.path()).unwrap().logits(&golden.tokens()).unwrap();
    assert!(furthest(&numbers(&apart), &numbers(&together)) < LOGITS);
    let floats = adapter.unmerge(&merged, &params.masters()).unwrap();
    for (name, expected) in base.dequantized() {
        assert!(furthest(&numbers(&floats[&name]), &numbers(&expected)) < 2e-6, "{name}");
    }
}

/// Tensors that are not given are those of the base, dequantized.
#[test]
fn a_base_is_saved_in_floats() {
    let (base, dir) = (Base::nf4(), tempfile::tempdir().unwrap());
    base.0.save(dir.path(), base.tensors()).unwrap();
    let saved = Pretrained::open(dir.path()).unwrap().tensors(CPU).unwrap();
    let expected = base.dequantized();
    assert!(saved.keys().eq(expected.keys()));
    assert!(saved.iter().all(|(name, tensor)| numbers(tensor) == numbers(&expected[name])));
}

#[test]
fn an_adapter_on_blocks_is_saved_as_any_other() {
    let (base, dir) = (Base::nf4(), tempfile::tempdir().unwrap());
    let (adapter, trained) = base.of_peft();
    let params = adapter.params(base.tensors(), trained.clone(), Precision::F32).unwrap();
    adapter.save(dir.path(), &params.masters()).unwrap();
    let names = |folder: &Path| {
        let file = folder.join("adapter_model.safetensors");
        let weights = Weights::open(file.to_str().unwrap()).unwrap();
        weights.names().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(dir.path()), names(&folder("nf4/adapter")));
    let again = adapter.load(dir.path()).unwrap();
    assert!(again.iter().all(|(name, tensor)| numbers(tensor) == numbers(&trained[name])));
}

#[test]
fn a_quantized_weight_is_not_trained_in_full() {
    let base = Base::nf4();
    let config =
        LoraConfig::new(2).targets(Modules::named(["q_proj"])).modules_to_save(["up_proj"]);
    let adapter = config.on(|init| base.model(init)).unwrap();
    let error = adapter.quantized(base.quantized()).unwrap_err().to_string();
    let expected = "`model.layers.0.mlp.up_proj.weight` is quantized (NF4), and cannot be trained in full\n\
                    hint: take its module out of `modules_to_save`, or load the base without quantization";
    assert_eq!(error, expected);
}

#[test]
fn other_quantizations_are_refused_by_name() {
    let settings = |change: &[(&str, serde_json::Value)]| {
        let copy = Copy::of("nf4");
        copy.config(|config| {
            let settings = config["quantization_config"].as_object_mut().unwrap();
            settings.extend(change.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        });
        copy.refused()
    };
    for (change, expected) in [
        (
            vec![("quant_method", json!("gptq"))],
            "`quantization_config.quant_method` is `gptq`, and only `bitsandbytes`",
        ),
        (
            vec![("bnb_4bit_quant_type", json!("fp4"))],
            "`quantization_config.bnb_4bit_quant_type` is `fp4`, and only `nf4`",
        ),
        (
            vec![("load_in_8bit", json!(true)), ("_load_in_8bit", json!(true))],
            "`quantization_config.load_in_8bit` is true, and of bitsandbytes only NF4",
        ),
        (
            vec![("load_in_2bit", json!(true))],
            "`quantization_config.load_in_2bit` is true, and is not supported",
        ),
    ] {
        let error = settings(&change);
        assert!(error.contains(expected), "{error}");
    }
}

/// A matrix of the fixture, and its JSON text.
const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";
const STATE: &str = "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4";

/// The reason for which the fixture is refused with other tensors.
fn refused_with(change: impl FnOnce(&mut Tensors)) -> String {
    let copy = Copy::of("nf4");
    copy.tensors(change);
    copy.refused()
}

#[test]
fn files_of_other_quantizations_are_refused_by_the_weight() {
    let weight = WEIGHT;
    let error = refused_with(|tensors| {
        let text = tensors.remove(STATE).unwrap();
        tensors.insert(STATE.replace("nf4", "fp4"), text);
    });
    assert!(
        error.contains(&format!("`{weight}` is in FP4 of bitsandbytes, and only NF4")),
        "{error}"
    );
    let error = refused_with(|tensors| {
        let ones = Tensor::ones(24, DType::F32, CPU).unwrap();
        tensors.insert("model.layers.0.mlp.up_proj.SCB".to_owned(), ones);
    });
    assert!(error.contains(&format!("`{weight}` is in int8 of bitsandbytes")), "{error}");
    let error = refused_with(|tensors| drop(tensors.remove(&format!("{weight}.absmax"))));
    assert!(error.contains(&format!("`{weight}.absmax` is missing")), "{error}");
    let error = refused_with(|tensors| {
        let short = tensors[weight].narrow(0, 0, 7).unwrap();
        tensors.insert(weight.to_owned(), short);
    });
    assert!(
        error.contains(&format!("`{weight}` has 7 of U8, and the matrix needs 480 of U8")),
        "{error}"
    );
}

#[test]
fn a_quantization_state_is_read_strictly() {
    let with_text = |from: &str, to: &str| {
        refused_with(|tensors| {
            let text = String::from_utf8(tensors[STATE].to_vec1().unwrap()).unwrap();
            assert!(text.contains(from), "{text}");
            let text = text.replace(from, to).into_bytes();
            tensors.insert(STATE.to_owned(), Tensor::new(text, CPU).unwrap());
        })
    };
    for (from, to, expected) in [
        ("\"nf4\"", "\"af4\"", "`quant_type` is \"af4\", and only \"nf4\" is supported"),
        ("\"blocksize\": 64", "\"blocksize\": 48", "`blocksize` is 48, not a power of two"),
        (
            "[40, 24]",
            "[30, 32]",
            "`model.layers.0.mlp.up_proj.weight` has the shape [30, 32], and the model needs [40, 24]",
        ),
        ("[40, 24]", "[960]", "`shape` is [960], not that of a matrix"),
        ("{", "[", "is no JSON object"),
        ("\"dtype\"", "\"order\": 1, \"dtype\"", "`order` is 1, and is not supported"),
    ] {
        let error = with_text(from, to);
        assert!(error.contains(expected), "{error}");
    }
}
