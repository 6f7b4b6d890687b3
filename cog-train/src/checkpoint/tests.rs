//! The laws of checkpoints: exact restore, retention, and crash safety at every point.

mod damage;
mod faults;
mod faulty;
mod model;
mod overlap;
mod power;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use serde_json::{Value, json};

use super::folder::Kind;
use super::*;
use crate::error::Error;

type Files = BTreeMap<String, BTreeMap<String, Tensor>>;

/// Returns tensors of many dtypes and shapes, which differ at every step.
fn files(step: u64) -> Files {
    let cpu = &Device::Cpu;
    let base = Tensor::arange(0_u32, 24, cpu).unwrap().to_dtype(DType::F64).unwrap();
    let values = base.affine(1.25, f64::from(u32::try_from(step).unwrap())).unwrap();
    let shaped = values.reshape((2, 3, 4)).unwrap();
    let of = |dtype| shaped.to_dtype(dtype).unwrap();
    let weights = BTreeMap::from([
        ("a".to_owned(), of(DType::F32)),
        ("block.0/b.weight".to_owned(), of(DType::BF16)),
        ("half".to_owned(), of(DType::F16)),
        ("transposed".to_owned(), of(DType::F32).t().unwrap()),
        ("cut".to_owned(), of(DType::F32).narrow(0, 1, 1).unwrap()),
        ("scalar".to_owned(), Tensor::new(0.1_f64, cpu).unwrap()),
        ("nothing".to_owned(), Tensor::zeros((0, 3), DType::F32, cpu).unwrap()),
    ]);
    let optimizer = BTreeMap::from([
        ("a.m".to_owned(), of(DType::F64)),
        ("a.count".to_owned(), of(DType::I64)),
        ("a.code".to_owned(), of(DType::U8)),
        ("a.index".to_owned(), of(DType::U32)),
        ("a.small".to_owned(), of(DType::I16)),
        ("a.whole".to_owned(), of(DType::I32)),
        ("a.eight".to_owned(), of(DType::F8E4M3)),
    ]);
    Files::from([
        ("weights".to_owned(), weights),
        ("optimizer".to_owned(), optimizer),
        ("ema".to_owned(), BTreeMap::new()),
    ])
}

fn state(step: u64) -> Value {
    json!({"step": step, "loss": 1.0 / 3.0, "nested": {"seed": u64::MAX, "none": null}})
}

fn snapshot(step: u64) -> Snapshot {
    Snapshot { step, state: state(step), files: files(step), best: false }
}

fn keep(last: usize) -> Keep {
    Keep { last, best: true }
}

/// Returns the bits of a tensor without the code under test.
fn bits(tensor: &Tensor) -> Vec<String> {
    let flat = tensor.contiguous().unwrap().flatten_all().unwrap();
    match tensor.dtype() {
        DType::F64 => {
            flat.to_vec1::<f64>().unwrap().iter().map(|v| v.to_bits().to_string()).collect()
        }
        DType::I64 => flat.to_vec1::<i64>().unwrap().iter().map(i64::to_string).collect(),
        _ => {
            let flat = flat.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
            flat.iter().map(|v| v.to_bits().to_string()).collect()
        }
    }
}

fn assert_holds(checkpoint: &Checkpoint, step: u64) {
    assert_eq!((checkpoint.step(), checkpoint.state()), (step, &state(step)));
    let before = files(step);
    assert!(checkpoint.files().eq(before.keys().map(String::as_str)));
    for (file, tensors) in &before {
        let after = checkpoint.tensors(file, &Device::Cpu).unwrap();
        assert!(after.keys().eq(tensors.keys()));
        for (name, tensor) in tensors {
            let after = &after[name];
            assert_eq!((after.dtype(), after.dims()), (tensor.dtype(), tensor.dims()), "{name}");
            assert_eq!(bits(after), bits(tensor), "{name}");
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_restores_every_dtype_shape_and_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run/checkpoints");
    assert!(newest(&dir).unwrap().checkpoint.is_none());
    let mut checkpoints = Checkpoints::open(&dir, keep(2)).unwrap();
    assert!(newest(&dir).unwrap().checkpoint.is_none());
    for step in [7, 8, 1_234_567] {
        checkpoints.save(snapshot(step)).unwrap();
    }
    checkpoints.finish().unwrap();
    assert!(!checkpoints.writing());
    assert_eq!(names(&dir), ["step-000008", "step-1234567"]);
    let found = newest(&dir).unwrap();
    assert!(found.passed_over.is_empty());
    assert_holds(&found.checkpoint.unwrap(), 1_234_567);
    assert_holds(&Checkpoint::open(&dir.join("step-000008")).unwrap(), 8);
}

#[test]
fn changes_after_save_do_not_reach_the_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(temp.path(), keep(9)).unwrap();
    let var = Var::new(&[1_f32, 2.0], &Device::Cpu).unwrap();
    // The second save reuses the buffer of the first; it is too small for the third.
    for (step, values) in [(1, vec![1_f32, 2.0]), (2, vec![3.0, 4.0]), (3, vec![5.0, 6.0, 7.0])] {
        let value = Tensor::new(&*values, &Device::Cpu).unwrap();
        let tensor = if step == 3 {
            value.copy().unwrap()
        } else {
            var.set(&value).unwrap();
            var.as_tensor().clone()
        };
        let files =
            Files::from([("weights".to_owned(), BTreeMap::from([("w".to_owned(), tensor)]))]);
        checkpoints.save(Snapshot { step, state: Value::Null, files, best: false }).unwrap();
        var.set(&Tensor::new(&[-1_f32, -1.0], &Device::Cpu).unwrap()).unwrap();
    }
    checkpoints.finish().unwrap();
    for (step, values) in [(1, vec![1_f32, 2.0]), (2, vec![3.0, 4.0]), (3, vec![5.0, 6.0, 7.0])] {
        let checkpoint = Checkpoint::open(&temp.path().join(folder(step))).unwrap();
        let tensors = checkpoint.tensors("weights", &Device::Cpu).unwrap();
        assert_eq!(tensors["w"].to_vec1::<f32>().unwrap(), values);
    }
}

#[test]
fn equal_snapshots_have_equal_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [one.path(), other.path()] {
        let mut checkpoints = Checkpoints::open(dir, keep(1)).unwrap();
        // A reused buffer makes no difference.
        if dir == other.path() {
            checkpoints.save(snapshot(1)).unwrap();
        }
        checkpoints.save(snapshot(2)).unwrap();
        checkpoints.finish().unwrap();
    }
    let (one, other) = (one.path().join("step-000002"), other.path().join("step-000002"));
    assert_eq!(names(&one).len(), 4);
    for name in names(&one) {
        let read = |dir: &Path| std::fs::read(dir.join(&name)).unwrap();
        assert_eq!(read(&one), read(&other), "{name}");
    }
}

/// The writer collects blocks of 1 MiB: files that end beside the end of one are whole.
#[test]
fn files_of_any_length_beside_a_block_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path(), keep(9)).unwrap();
    let mut save = |step: u64, elements: usize| {
        let values: Vec<u8> = (0..=250).cycle().take(elements).collect();
        let tensor = Tensor::new(&*values, &Device::Cpu).unwrap();
        let files =
            Files::from([("weights".to_owned(), BTreeMap::from([("w".to_owned(), tensor)]))]);
        checkpoints.save(Snapshot { files, ..snapshot(step) }).unwrap();
        checkpoints.finish().unwrap();
        let path = folder.path().join(super::folder(step));
        let length = path.join("weights.safetensors").metadata().unwrap().len();
        let found = Checkpoint::open(&path).unwrap().tensors("weights", &Device::Cpu).unwrap();
        assert!(found["w"].to_vec1::<u8>().unwrap() == values, "{elements} elements");
        usize::try_from(length).unwrap()
    };
    let two_blocks = 2 << 20;
    let header = save(1, two_blocks) - two_blocks;
    for (step, length) in (2..).zip(two_blocks - 1..=two_blocks + 1) {
        assert_eq!(save(step, length - header), length);
    }
}

#[test]
fn the_best_is_kept_and_a_step_can_be_saved_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    for step in 1..=4 {
        checkpoints.save(Snapshot { best: step == 2, ..snapshot(step) }).unwrap();
    }
    checkpoints.finish().unwrap();
    assert_eq!(names(folder.path()), ["step-000002", "step-000004"]);
    // Another process resumes at step 2 and saves it again.
    drop(checkpoints);
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    checkpoints.save(Snapshot { state: json!("again"), ..snapshot(2) }).unwrap();
    checkpoints.finish().unwrap();
    assert_eq!(names(folder.path()), ["step-000002", "step-000004"]);
    let two = Checkpoint::open(&folder.path().join("step-000002")).unwrap();
    assert_eq!((two.state(), two.is_best()), (&json!("again"), false));
}

#[test]
fn invalid_names_are_rejected_and_older_checkpoints_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path(), keep(1)).unwrap();
    checkpoints.save(snapshot(1)).unwrap();
    for name in ["", ".hidden", "a/b", "a\\b", "a\0b"] {
        let files = Files::from([(name.to_owned(), BTreeMap::new())]);
        let error = checkpoints.save(Snapshot { files, ..snapshot(2) }).unwrap_err();
        assert!(error.to_string().contains("cannot be the name of a file"), "{error}");
    }
    let tensor = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([("__metadata__".to_owned(), tensor)]);
    let files = Files::from([("weights".to_owned(), tensors)]);
    checkpoints.save(Snapshot { files, ..snapshot(2) }).unwrap();
    let error = checkpoints.finish().unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }));
    let text = error.to_string();
    assert!(text.contains("step-000002"), "{text}");
    assert!(text.contains("a tensor cannot be called `__metadata__`"), "{text}");
    assert!(text.contains("the checkpoint of step 1 is still there"), "{text}");
    assert_eq!(names(folder.path()), ["step-000001"]);
    checkpoints.save(snapshot(3)).unwrap();
    checkpoints.finish().unwrap();
    assert_eq!(names(folder.path()), ["step-000003"]);
    let error = Checkpoints::open(folder.path(), keep(0)).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }));
}
