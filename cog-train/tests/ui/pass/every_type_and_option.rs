//! Every type of an input, and every option; and no warning comes from what the macros write.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]
#![allow(dead_code)]

use cog_train::prelude::*;
use cog_train::serde_json;
use std::collections::BTreeMap;

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Optimizer {
    /// Adam with decoupled decay.
    #[choice(rename = "adamw")]
    AdamW,
    /// Plain.
    PlainSgd,
}

/// All of it.
#[derive(Debug, TrainInputs, PredictInputs)]
pub struct Inputs {
    text: String,
    #[input(min_length = 1, max_length = 8, regex = "^[a-z]+$", default = "abc")]
    rules: String,
    #[input(ge = -1, le = 1)]
    a: i8,
    b: i16,
    c: i32,
    d: i64,
    #[input(choices = [1, 2, 3], default = 2)]
    e: u8,
    f: u16,
    g: u32,
    #[input(default = 18446744073709551615)]
    h: u64,
    i: usize,
    j: isize,
    #[input(default = 0.1, ge = -1e-3, le = 1)]
    k: f32,
    #[input(default = 1)]
    l: f64,
    #[input(default = true)]
    m: bool,
    #[input(default = "data/train.jsonl")]
    file: Path,
    files: Vec<Path>,
    token: Option<Secret>,
    object: serde_json::Map<String, serde_json::Value>,
    #[input(default = [1, "a", true, 0.5])]
    any: serde_json::Value,
    #[input(default = Optimizer::AdamW)]
    optimizer: Optimizer,
    #[input(default = [Optimizer::AdamW, Optimizer::PlainSgd])]
    optimizers: Vec<Optimizer>,
    maybe: Option<Optimizer>,
    #[input(default = [])]
    tags: Option<Vec<String>>,
    #[input(default = ["a"], choices = ["a", "b"], description = "Some", deprecated)]
    some: Vec<String>,
    #[input(default = 3)]
    #[input(ge = 1)]
    option: Option<u32>,
    r#type: bool,
    values: u32,
}

/// The result.
#[derive(Debug, TrainOutput)]
pub struct TrainingOutput {
    weights: Path,
    loss: f64,
    best: Option<Path>,
    losses: Vec<f32>,
    r#type: BTreeMap<String, u64>,
}

/// Under a name of its own.
#[derive(PredictOutput)]
pub struct Answer {
    text: String,
}

/// Nothing is asked for.
#[derive(TrainInputs)]
pub struct Nothing {}

fn main() {
    assert_eq!(<Inputs as TrainInputs>::TABLE.len(), 28);
    assert_eq!(<Inputs as PredictInputs>::TABLE.len(), 28);
    assert_eq!(<Nothing as TrainInputs>::TABLE.len(), 0);
    let _ =
        (<TrainingOutput as TrainOutput>::output_type(), <Answer as PredictOutput>::output_type());
}
