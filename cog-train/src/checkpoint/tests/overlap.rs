//! Training steps while a save is being written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::*;
use crate::optim::{Adafactor, Adam, AdamW, Ema, Lion, Muon, Optimizer, Sgd};
use crate::params::{Gradients, Params};
use cog_train_nn::rng::Rng;

fn optimizers() -> Vec<Optimizer> {
    vec![
        Optimizer::new(Sgd::default()),
        Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        Optimizer::new(Adam::default()),
        Optimizer::new(AdamW::default()),
        Optimizer::new(Lion::default()),
        Optimizer::new(Adafactor::default()),
        Optimizer::muon(Muon::default(), AdamW::default()),
    ]
}

/// A model in training. `idle` has no gradients.
struct Model {
    params: Params,
    optimizer: Optimizer,
    ema: Ema,
    step: u64,
}

impl Model {
    fn new(mut optimizer: Optimizer) -> Self {
        let normal = |at, dims: &[usize]| {
            Rng::new(1, "model").at(at).normal_tensor(dims, 0.0, 1.0, DType::F32, &Device::Cpu)
        };
        let tensors = [("matrix", &[33, 1001][..]), ("bias", &[40]), ("idle", &[7, 7])];
        let tensors =
            (0..).zip(tensors).map(|(at, (name, dims))| (name, normal(at, dims).unwrap()));
        let params = Params::new(tensors).unwrap();
        let mut ema = Ema::new(0.9);
        optimizer.prepare(&params).unwrap();
        ema.prepare(&params).unwrap();
        Self { params, optimizer, ema, step: 0 }
    }

    fn files(&self) -> Files {
        let named = |name: &str, tensors| (name.to_owned(), tensors);
        Files::from([
            named("weights", self.params.masters()),
            named("optimizer", self.optimizer.state()),
            named("ema", self.ema.state()),
        ])
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { step: self.step, state: Value::Null, files: self.files(), best: false }
    }

    fn step(&mut self) {
        let weight = |name| self.params.get(name).unwrap().compute();
        let loss = weight("matrix").sqr().unwrap().sum_all().unwrap();
        let loss = (loss + weight("bias").sqr().unwrap().sum_all().unwrap()).unwrap();
        let gradients = Gradients::take(&self.params, &mut loss.backward().unwrap()).unwrap();
        self.step += 1;
        self.optimizer.step(&self.params, &gradients, self.step, 0.01, 1.0).unwrap();
        self.ema.update(&self.params, self.step).unwrap();
    }
}

fn all_bits(files: &Files) -> Vec<String> {
    files.values().flat_map(BTreeMap::values).flat_map(bits).collect()
}

fn saved(dir: &Path, step: u64) -> Files {
    let checkpoint = Checkpoint::open(&dir.join(folder(step))).unwrap();
    let file = |file: &str| (file.to_owned(), checkpoint.tensors(file, &Device::Cpu).unwrap());
    checkpoint.files().map(file).collect()
}

/// The writer starts after the step has changed all tensors: each checkpoint still holds the values of its step, and the
/// training has the values of one that does not save.
#[test]
fn checkpoints_hold_the_values_of_their_step_while_training_continues() {
    for (optimizer, other) in optimizers().into_iter().zip(optimizers()) {
        let name = optimizer.describe();
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::open(folder.path(), keep(9)).unwrap();
        let (mut model, mut alone) = (Model::new(optimizer), Model::new(other));
        let mut expected = Vec::new();
        for _ in 0..5 {
            expected.push(all_bits(&model.files()));
            let (stepped, wait) = mpsc::channel();
            let after_the_step = move || {
                wait.recv().unwrap();
                Ok(())
            };
            checkpoints.save_after(model.snapshot(), after_the_step).unwrap();
            model.step();
            stepped.send(()).unwrap();
            alone.step();
        }
        checkpoints.finish().unwrap();
        for (step, expected) in (0..).zip(expected) {
            assert_eq!(all_bits(&saved(folder.path(), step)), expected, "{name} at {step}");
        }
        assert_eq!(all_bits(&model.files()), all_bits(&alone.files()), "{name}");
    }
}

#[test]
fn a_save_is_written_if_it_is_dropped_without_finish() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(Optimizer::new(AdamW::default()));
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    checkpoints.save(model.snapshot()).unwrap();
    drop(checkpoints);
    assert_eq!(all_bits(&saved(folder.path(), 0)), all_bits(&model.files()));
}

#[test]
fn no_checkpoint_appears_after_a_failed_prerequisite() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(Optimizer::new(AdamW::default()));
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let fails = move || {
        flag.store(true, Ordering::Relaxed);
        Err(Error::InvalidConfig { reason: "no".to_owned() })
    };
    checkpoints.save_after(model.snapshot(), fails).unwrap();
    assert!(matches!(checkpoints.finish(), Err(Error::InvalidConfig { .. })));
    assert!(ran.load(Ordering::Relaxed));
    assert_eq!(names(folder.path()), [""; 0]);
}
