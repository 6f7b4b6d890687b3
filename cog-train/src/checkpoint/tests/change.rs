//! Tensors that change while a save of them is on its way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::*;
use crate::optim::{Adafactor, Adam, AdamW, Ema, Lion, Muon, Optimizer, Rule, Sgd, Update};
use crate::params::{Gradients, Params};
use cog_train_nn::rng::Rng;

/// Somebody's own rule, which knows nothing of checkpoints.
#[derive(Debug)]
struct Follow;

impl Rule for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn weight_decay(&self) -> f64 {
        0.0
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        vec![("last", dims.to_vec()), ("count", Vec::new())]
    }

    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        _: &Update,
    ) -> Result<(), Error> {
        weight.set(&(weight.as_tensor() - (gradient * 0.1)?)?)?;
        slots[0].set(gradient)?;
        Ok(slots[1].set(&(slots[1].as_tensor() + 1.0)?)?)
    }

    fn describe(&self) -> Value {
        json!({ "name": self.name() })
    }
}

fn optimizers() -> Vec<Optimizer> {
    vec![
        Optimizer::new(Sgd::default()),
        Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        Optimizer::new(Adam::default()),
        Optimizer::new(AdamW::default()),
        Optimizer::new(Lion::default()),
        Optimizer::new(Adafactor::default()),
        Optimizer::muon(Muon::default(), AdamW::default()),
        Optimizer::new(Follow),
    ]
}

/// A model in training: `idle` has no gradients.
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
        let weight = |name| self.params.get(name).unwrap().compute().as_tensor();
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
    let checkpoint = Checkpoint::open(&dir.join(Kind::Whole.name(step))).unwrap();
    let file = |file: &str| (file.to_owned(), checkpoint.tensors(file, &Device::Cpu).unwrap());
    checkpoint.files().map(file).collect()
}

/// Whatever changes them, and into whatever memory: a checkpoint has the numbers from before, and the training is the
/// one that nobody saves.
#[test]
fn a_save_that_tensors_change_under_has_the_numbers_before() {
    for (optimizer, other) in optimizers().into_iter().zip(optimizers()) {
        let name = optimizer.describe();
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::open(folder.path(), keep(9)).unwrap();
        let (mut model, mut alone) = (Model::new(optimizer), Model::new(other));
        checkpoints.make_reserve(&model.files());
        let mut before = Vec::new();
        for _ in 0..5 {
            before.push(all_bits(&model.files()));
            checkpoints.begin(model.snapshot(), || Ok(())).unwrap();
            checkpoints.change(|| model.step());
            alone.step();
        }
        checkpoints.finish().unwrap();
        for (step, before) in (0..).zip(before) {
            assert_eq!(all_bits(&saved(folder.path(), step)), before, "{name} at {step}");
        }
        assert_eq!(all_bits(&model.files()), all_bits(&alone.files()), "{name}");
    }
}

/// Also without a change: after work that was cancelled, when it is waited for, and when nobody waits.
#[test]
fn a_save_that_was_begun_is_written() {
    for (changes, waits) in [(true, true), (false, true), (false, false)] {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::new(Optimizer::new(AdamW::default()));
        let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
        let (told, before) = mpsc::channel();
        let tell = move || {
            told.send(()).unwrap();
            Ok(())
        };
        checkpoints.begin(model.snapshot(), tell).unwrap();
        if changes {
            checkpoints.change(|| ());
            before.recv().unwrap();
        }
        if waits {
            checkpoints.finish().unwrap();
        }
        drop(checkpoints);
        assert!(changes || before.recv().is_ok());
        assert_eq!(all_bits(&saved(folder.path(), 0)), all_bits(&model.files()));
    }
}

/// What was to come before it did not: then there is no checkpoint.
#[test]
fn nothing_is_written_after_a_failure_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(Optimizer::new(AdamW::default()));
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let ask = Arc::clone(&asked);
    let fails = move || {
        ask.store(true, Ordering::Relaxed);
        Err(Error::InvalidConfig { reason: "no".to_owned() })
    };
    checkpoints.begin(model.snapshot(), fails).unwrap();
    assert!(!asked.load(Ordering::Relaxed), "it is the writer's to do");
    checkpoints.change(|| model.step());
    assert!(matches!(checkpoints.finish(), Err(Error::InvalidConfig { .. })));
    assert!(asked.load(Ordering::Relaxed));
    assert_eq!(names(folder.path()), [""; 0]);
}

/// A panic within an update loses numbers: no checkpoint is made of the rest, and the one before stays.
#[test]
fn nothing_is_written_of_a_change_that_broke_off() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(Optimizer::new(AdamW::default()));
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    checkpoints.save(model.snapshot()).unwrap();
    checkpoints.begin(Snapshot { step: 1, ..model.snapshot() }, || Ok(())).unwrap();
    let run = std::panic::AssertUnwindSafe(|| {
        checkpoints.change(|| {
            let weight = model.params.get("matrix").unwrap().master().as_tensor();
            let gradient = weight.copy().unwrap();
            cog_train_nn::__private::fused::each([weight], &gradient, |_, _| panic!("on its way"))
                .unwrap();
        });
    });
    assert!(std::panic::catch_unwind(run).is_err());
    let error = checkpoints.finish().unwrap_err().to_string();
    assert!(error.contains("step-000001"), "{error}");
    assert!(error.contains("lost in an update that broke off"), "{error}");
    drop(checkpoints);
    assert_eq!(names(folder.path()), ["step-000000"]);
}
