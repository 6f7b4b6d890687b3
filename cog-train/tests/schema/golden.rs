//! Documents that Cog 0.22's generator made of Python trainers, and the same trainers' declarations in Rust.
#![expect(dead_code, reason = "only the declarations count")]

use cog_train::{Path, Secret, TrainInputs, TrainOutput};
use serde::Serialize;

use super::*;

fn ours<I: TrainInputs, O: TrainOutput>(golden: &str) -> Value {
    let golden: Value = serde_json::from_str(golden).unwrap();
    document(&Api {
        version: golden["info"]["version"].as_str().unwrap(),
        train: Some(Side { table: I::TABLE, output: O::output_type() }),
        predict: None,
    })
}

/// The text too: the same order of names and the same spelling of numbers.
fn assert_same(ours: &Value, golden: &str) {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
    ours.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format)).unwrap();
    assert_eq!(*ours, serde_json::from_str::<Value>(golden).unwrap());
    assert_eq!(String::from_utf8(text).unwrap(), golden.trim_end());
}

#[test]
fn files() {
    #[derive(TrainInputs)]
    struct Inputs {
        /// Training data
        data: Path,
        #[input(description = "More data")]
        extra: Option<Path>,
    }
    #[derive(TrainOutput)]
    struct TrainingOutput {
        weights: Path,
        size: i64,
        head: String,
        suffix: String,
    }
    let golden = include_str!("../golden/files.json");
    assert_same(&ours::<Inputs, TrainingOutput>(golden), golden);
}

#[test]
fn linreg() {
    #[derive(TrainInputs)]
    struct Inputs {
        /// JSONL file with training examples
        train_data: Path,
        /// Step size
        #[input(default = 0.1, ge = 0, le = 1)]
        learning_rate: f64,
        /// Passes over the data
        #[input(default = 10, ge = 1, le = 100)]
        epochs: i64,
        #[input(default = "sgd", choices = ["sgd", "momentum"])]
        optimizer: String,
        #[input(default = 0.0)]
        init_w: f64,
        #[input(default = 0.0)]
        init_b: f64,
    }
    #[derive(TrainOutput)]
    struct TrainingOutput {
        weights: Path,
        final_loss: f64,
        steps: i64,
    }
    let golden = include_str!("../golden/linreg.json");
    assert_same(&ours::<Inputs, TrainingOutput>(golden), golden);
}

#[test]
fn optionals() {
    #[derive(TrainInputs)]
    struct Inputs {
        /// API token
        token: Secret,
        /// Optional without a default
        c_str: Option<String>,
        /// Optional text
        a_str: Option<String>,
        a_int: Option<i64>,
        #[input(ge = 0.0, le = 1.0)]
        a_float: Option<f64>,
        a_bool: Option<bool>,
        a_path: Option<Path>,
        a_secret: Option<Secret>,
        #[input(default = 5, ge = 1)]
        b_int: Option<i64>,
        mode: Option<String>,
    }
    #[derive(TrainOutput)]
    struct TrainingOutput {
        echo: Map<String, Value>,
    }
    let golden = include_str!("../golden/optionals.json");
    let mut ours = ours::<Inputs, TrainingOutput>(golden);
    // The one difference. Python knows an `Optional` with `default=None` and one without a default, which behave
    // alike; in Rust an `Option` without a default is the former.
    let c_str = &mut ours["components"]["schemas"]["TrainingInput"]["properties"]["c_str"];
    assert_eq!(c_str.as_object_mut().unwrap().shift_remove("default"), Some(Value::Null));
    assert_same(&ours, golden);
}
