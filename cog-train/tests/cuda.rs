//! The same on a GPU as on the CPU: random numbers, norms, trainings, checkpoints, resumed runs.
//!
//! Without a GPU each test says so in a line and passes; under `COG_TRAIN_NEEDS_GPU=1` it fails. The figures that they
//! find go to standard error, as `figure: NAME: VALUE`. `COG_TRAIN_TEST_DEVICE=cpu` runs the tests themselves on the CPU.
#![cfg(feature = "cuda")]
#![expect(clippy::print_stderr, reason = "a test that is left out says so")]

#[path = "engine/job.rs"]
#[allow(dead_code, reason = "shared with the tests of the engine")]
mod job;

use std::collections::BTreeMap;
use std::path::Path;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::{Checkpoints, Keep, Snapshot, newest};
use cog_train::data::Batching;
use cog_train::engine::{
    Gradients, Loss, Params, Precision, StepContext, Training, TrainingConfig, TrainingSummary, fit,
};
use cog_train::optim::{Adafactor, Adam, AdamW, Lion, Muon, Optimizer, Sgd, norm};
use cog_train::prelude::*;
use cog_train::rng::Rng;
use cog_train::serde_json::json;

use job::{At, Batch, Left, Net, ROWS, STEPS, config, loader, rows};

/// The first GPU. `None`, and a line, where there is none.
fn gpu(test: &str) -> Option<Device> {
    let asked = |name: &str, value: &str| std::env::var_os(name).is_some_and(|it| it == value);
    if asked("COG_TRAIN_TEST_DEVICE", "cpu") {
        return Some(Device::Cpu);
    }
    match Device::new_cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().next().unwrap_or_default();
            assert!(!asked("COG_TRAIN_NEEDS_GPU", "1"), "no GPU for `{test}`: {why}");
            eprintln!("skipped: {test}: {why}");
            None
        }
    }
}

/// The first weights of the network, on `device`.
fn params_on(device: &Device) -> Params {
    let first = job::params().masters();
    Params::new(first.into_iter().map(|(name, tensor)| (name, tensor.to_device(device).unwrap())))
        .unwrap()
}

fn train_on(
    device: &Device,
    job: &mut Job,
    optimizer: Optimizer,
    config: TrainingConfig,
    at: At,
) -> Result<(TrainingSummary, BTreeMap<String, Vec<f32>>)> {
    let params = params_on(device);
    let net = Net::new(&params, 0.3, at, job);
    let training = Training {
        config,
        params: &params,
        optimizer,
        train: loader(rows(ROWS), Batching::Rows(6)),
        eval: Some(loader(rows(40).split_off(ROWS), Batching::Rows(8))),
    };
    let fitted = fit(training, &net, job)?;
    job.line(format_args!("the loss was {}", fitted.loss));
    Weights::save(params.masters(), job.dir().join("weights.safetensors"))?;
    Ok((fitted, numbers(params.masters())))
}

fn numbers(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<f32>> {
    let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, flat(tensor))).collect()
}

/// Returns the distance of `one` from `other`: the root of the sum of the squares of the differences.
fn distance(one: &BTreeMap<String, Vec<f32>>, other: &BTreeMap<String, Vec<f32>>) -> f64 {
    let mut squares = 0.0;
    for (name, numbers) in one {
        for (a, b) in numbers.iter().zip(&other[name]) {
            squares += (f64::from(*a) - f64::from(*b)).powi(2);
        }
    }
    squares.sqrt()
}

#[test]
fn random_numbers_are_the_same_bits() {
    let Some(gpu) = gpu("random_numbers_are_the_same_bits") else { return };
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let draw = |device: &Device| {
            let mut stream = Rng::new(11, "test").at(3);
            let normal = stream.normal_tensor((7, 143), -0.5, 2.0, dtype, device).unwrap();
            let uniform = stream.uniform_tensor((1001,), -3.0, 1.0, dtype, device).unwrap();
            [normal, uniform].map(|tensor| {
                assert!(tensor.device().same_device(device) && tensor.dtype() == dtype);
                let here = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
                let numbers: Vec<f64> = here.flatten_all().unwrap().to_vec1().unwrap();
                numbers.into_iter().map(f64::to_bits).collect::<Vec<_>>()
            })
        };
        assert!(draw(&gpu) == draw(&Device::Cpu), "{dtype:?}");
    }
}

/// The GPU adds up each tensor in 32 bits and in another order: 1e-5 is some 80 roundings.
#[test]
fn the_gradient_norm_is_that_of_the_cpu() {
    let Some(gpu) = gpu("the_gradient_norm_is_that_of_the_cpu") else { return };
    let norm_on = |device: &Device, last: f32| {
        let tensor = |at: u64, shape: &[usize]| {
            Rng::new(2, "norm").at(at).normal_tensor(shape, 0.1, 1.0, DType::F32, device).unwrap()
        };
        let gradients: Gradients = [
            ("a".to_owned(), tensor(0, &[1])),
            ("b".to_owned(), tensor(1, &[513, 700]).t().unwrap()),
            ("c".to_owned(), tensor(2, &[33, 3, 7])),
            ("d".to_owned(), Tensor::new(&[1e4f32, last], device).unwrap()),
        ]
        .into_iter()
        .collect();
        norm(&gradients).unwrap()
    };
    let (here, there) = (norm_on(&Device::Cpu, 1.0), norm_on(&gpu, 1.0));
    let off = (there / here - 1.0).abs();
    eprintln!("figure: gradient norm, relative difference: {off:.1e}");
    assert!(off < 1e-5, "{here} and {there}");
    assert!(norm_on(&gpu, f32::INFINITY).is_infinite());
    assert!(norm_on(&gpu, f32::NAN).is_nan());
}

/// The end of 30 steps, as a share of the way that the weights went. Roundings differ at each step and the steps add
/// them up. Lion goes by signs, and a number near zero that changes its sign moves a weight by two whole steps.
#[test]
fn every_optimizer_arrives_where_it_does_on_the_cpu() {
    let Some(gpu) = gpu("every_optimizer_arrives_where_it_does_on_the_cpu") else { return };
    let temp = tempfile::tempdir().unwrap();
    type Make = fn() -> Optimizer;
    let optimizers: [(&str, f64, f64, Make); 6] = [
        ("sgd", 0.05, 1e-3, || {
            Optimizer::new(Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 1e-3,
                ..Sgd::default()
            })
        }),
        ("adamw", 0.02, 1e-3, || Optimizer::new(AdamW::default())),
        ("adam", 0.02, 1e-3, || Optimizer::new(Adam::default())),
        ("lion", 3e-3, 2e-2, || Optimizer::new(Lion::default())),
        ("muon", 0.02, 1e-3, || Optimizer::muon(Muon::default(), AdamW::default())),
        ("adafactor", 0.02, 1e-3, || Optimizer::new(Adafactor::default())),
    ];
    let start = numbers(job::params().masters());
    for (name, learning_rate, tolerance, optimizer) in optimizers {
        let end_on = |device: &Device, folder: &str| {
            let mut job = Job::for_test(temp.path().join(format!("{name}-{folder}")));
            let config = TrainingConfig { learning_rate, patience: None, ..config() };
            train_on(device, &mut job, optimizer(), config, At::Nothing).unwrap()
        };
        let ((fitted, here), (other, there)) = (end_on(&Device::Cpu, "cpu"), end_on(&gpu, "gpu"));
        assert_eq!((fitted.steps, other.steps), (STEPS, STEPS));
        let off = distance(&here, &there) / distance(&here, &start);
        eprintln!("figure: {name}, difference as a share of the way: {off:.1e}");
        assert!(off < tolerance, "{name}: {off} of the way off");
        let losses = (fitted.final_eval.unwrap().loss, other.final_eval.unwrap().loss);
        assert!((losses.0 / losses.1 - 1.0).abs() < tolerance, "{name}: {losses:?}");
    }
}

#[test]
fn a_checkpoint_holds_what_the_gpu_held() {
    let Some(gpu) = gpu("a_checkpoint_holds_what_the_gpu_held") else { return };
    let temp = tempfile::tempdir().unwrap();
    let base = Rng::new(5, "checkpoint")
        .at(0)
        .normal_tensor((5, 9), 60.0, 20.0, DType::F32, &gpu)
        .unwrap();
    let types =
        [DType::F32, DType::F64, DType::F16, DType::BF16, DType::U8, DType::U32, DType::I64];
    let mut tensors: BTreeMap<String, Tensor> =
        types.map(|dtype| (format!("{dtype:?}"), base.to_dtype(dtype).unwrap())).into();
    tensors.insert("turned".to_owned(), base.t().unwrap());
    tensors.insert("narrow".to_owned(), base.narrow(1, 2, 3).unwrap());
    tensors.insert("number".to_owned(), base.sum_all().unwrap());
    tensors.insert("empty".to_owned(), Tensor::zeros((0, 4), DType::F32, &gpu).unwrap());

    let mut checkpoints = Checkpoints::open(temp.path(), Keep { last: 1, best: false }).unwrap();
    let files = BTreeMap::from([("weights".to_owned(), tensors.clone())]);
    checkpoints.save(Snapshot { step: 3, state: json!({}), files, best: false }).unwrap();
    // What is written is what was there, whatever becomes of it while it is being written.
    checkpoints.finish().unwrap();
    let found = newest(temp.path()).unwrap().checkpoint.unwrap();
    let bits = |tensor: &Tensor| {
        let here = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
        let numbers: Vec<f64> = here.flatten_all().unwrap().to_vec1().unwrap();
        (
            tensor.dtype(),
            tensor.dims().to_vec(),
            numbers.into_iter().map(f64::to_bits).collect::<Vec<_>>(),
        )
    };
    for device in [&gpu, &Device::Cpu] {
        let back = found.tensors("weights", device).unwrap();
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert!(back[name].device().same_device(device), "{name}");
            assert!(bits(&back[name]) == bits(tensor), "{name}");
        }
    }
}

#[test]
fn stopped_on_the_gpu_and_resumed_it_is_the_same_run() {
    let Some(gpu) = gpu("stopped_on_the_gpu_and_resumed_it_is_the_same_run") else { return };
    let temp = tempfile::tempdir().unwrap();
    let run =
        |job: &mut Job, at: At| train_on(&gpu, job, Optimizer::new(AdamW::default()), config(), at);
    let straight = |name: &str| {
        let dir = temp.path().join(name);
        run(&mut Job::for_test(&dir), At::Nothing).unwrap();
        assert_eq!(tells_device_memory(&dir), gpu.is_cuda());
        Left::of(&dir)
    };
    let first = straight("first");
    straight("second").assert_same(&first, "run twice");
    let stops = [0, 1, 6, 7, 13, 20, STEPS - 1];
    for step in stops {
        for at in [At::Cancel(step), At::Fail(step)] {
            let dir = temp.path().join(format!("stopped-{step}-{}", at == At::Cancel(step)));
            run(&mut Job::for_test(&dir), at).unwrap_err();
            run(&mut Job::for_test_resumed(&dir), At::Nothing).unwrap();
            Left::of(&dir).assert_same(&first, &format!("stopped at step {step}"));
        }
    }
    eprintln!(
        "figure: runs stopped and resumed, byte for byte the straight one: {}",
        2 * stops.len()
    );
}

fn tells_device_memory(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("metrics.jsonl"))
        .unwrap()
        .contains("\"time/device_memory_bytes\":")
}

/// Asks for 64 TiB where more than one row is computed at once. What comes out is what one row at once gives.
#[test]
fn a_gpu_without_room_gets_fewer_rows_at_once() {
    let Some(gpu) = gpu("a_gpu_without_room_gets_fewer_rows_at_once") else { return };
    if gpu.is_cpu() {
        return; // the CPU's memory is not refused but overdrawn
    }
    let temp = tempfile::tempdir().unwrap();
    let end = |name: &str, micro_batch: Option<usize>| {
        let params = params_on(&gpu);
        let mut job = Job::for_test(temp.path().join(name));
        let net = Net::new(&params, 0.0, At::Nothing, &job);
        let greedy = |batch: &Batch, context: &StepContext| -> Result<Loss> {
            if batch.x.dim(0)? > 1 {
                Tensor::zeros(1 << 44, DType::F32, &gpu)?;
            }
            cog_train::engine::Objective::loss(&net, batch, context)
        };
        let training = Training {
            config: TrainingConfig { micro_batch, patience: None, ..config() },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: loader(rows(ROWS), Batching::Rows(6)),
            eval: None,
        };
        fit(training, &greedy, &mut job).unwrap();
        let log = std::fs::read_to_string(job.dir().join("log.txt")).unwrap_or_default();
        (numbers(params.masters()), log)
    };
    let ((one, quiet), (other, log)) = (end("one", Some(1)), end("many", Some(6)));
    assert!(!quiet.contains("out of memory"), "{quiet}");
    assert!(log.contains("out of memory with 6 rows at once"), "{log}");
    assert!(log.contains("out of memory with 2 rows at once: retrying with 1"), "{log}");
    assert!(one == other, "what is computed row by row is the same");
}

/// Computing in 16 bits, with the masters in 32. On the CPU candle multiplies f16 as it is, and bf16 widened to 32 bits.
#[test]
fn half_precision_learns() {
    let Some(gpu) = gpu("half_precision_learns") else { return };
    let temp = tempfile::tempdir().unwrap();
    for (precision, name) in [(Precision::Bf16, "bf16"), (Precision::F16, "f16")] {
        let params = params_on(&gpu).precision(precision).unwrap();
        let mut job = Job::for_test(temp.path().join(name));
        let net = HalfNet(&params);
        let training = Training {
            config: TrainingConfig { ema: None, ..config() },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: loader(rows(ROWS), Batching::Rows(6)),
            eval: Some(loader(rows(ROWS), Batching::Rows(8))),
        };
        let fitted =
            fit(training, &|batch: &Batch, _: &StepContext| net.loss(batch), &mut job).unwrap();
        let before = fitted.initial_eval.unwrap().loss;
        let after = fitted.final_eval.unwrap().loss;
        eprintln!("figure: {name}, loss before and after: {before:.3}, {after:.3}");
        assert!(after < 0.9 * before, "{name}: {before} and {after}");
    }
}

/// The network of the other tests, with its inputs in the type of the weights and its loss in 32 bits.
struct HalfNet<'a>(&'a Params);

impl HalfNet<'_> {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let tensors = self.0.tensors();
        let x = batch.x.to_dtype(tensors["in.weight"].dtype())?;
        let inner =
            x.matmul(&tensors["in.weight"].t()?)?.broadcast_add(&tensors["in.bias"])?.tanh()?;
        let y = inner.matmul(&tensors["out.weight"].t()?)?.broadcast_add(&tensors["out.bias"])?;
        let errors = (y.squeeze(1)?.to_dtype(DType::F32)? - &batch.y)?.sqr()?;
        Ok(Loss::sum((errors * &batch.weight)?.sum_all()?, batch.count)?)
    }
}
