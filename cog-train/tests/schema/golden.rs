//! Documents that Cog 0.22's generator made of Python trainers. The tables are what the derive emits for the same
//! declarations in Rust.

use cog_train::input::Path;
use serde::Serialize;

use super::*;

fn ours(golden: &Value, table: &[Spec], output: OutputType) -> Value {
    document(&Api {
        version: golden["info"]["version"].as_str().unwrap(),
        train: Some(Side { table, output }),
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

fn field(name: &'static str, ty: OutputType) -> OutputField {
    OutputField { name, ty, optional: false }
}

#[test]
fn files() {
    const TABLE: &[Spec] = &[
        Spec::new("data", Path::TYPE).description("Training data"),
        Spec::new("extra", <Option<Path>>::TYPE).description("More data"),
    ];
    let golden = include_str!("../golden/files.json");
    let output = OutputType::Fields(vec![
        field("weights", OutputType::Path),
        field("size", OutputType::Integer),
        field("head", OutputType::String),
        field("suffix", OutputType::String),
    ]);
    assert_same(&ours(&serde_json::from_str(golden).unwrap(), TABLE, output), golden);
}

#[test]
fn linreg() {
    const TABLE: &[Spec] = &[
        Spec::new("train_data", Path::TYPE).description("JSONL file with training examples"),
        Spec::new("learning_rate", f64::TYPE)
            .description("Step size")
            .default(Literal::Float(0.1))
            .ge(Number::Int(0))
            .le(Number::Float(1.0)),
        Spec::new("epochs", i64::TYPE)
            .description("Passes over the data")
            .default(Literal::Int(10))
            .ge(Number::Int(1))
            .le(Number::Int(100)),
        Spec::new("optimizer", String::TYPE)
            .default(Literal::Str("sgd"))
            .choices(&[Literal::Str("sgd"), Literal::Str("momentum")]),
        Spec::new("init_w", f64::TYPE).default(Literal::Float(0.0)),
        Spec::new("init_b", f64::TYPE).default(Literal::Float(0.0)),
    ];
    let golden = include_str!("../golden/linreg.json");
    let output = OutputType::Fields(vec![
        field("weights", OutputType::Path),
        field("final_loss", OutputType::Number),
        field("steps", OutputType::Integer),
    ]);
    assert_same(&ours(&serde_json::from_str(golden).unwrap(), TABLE, output), golden);
}

#[test]
fn optionals() {
    const TABLE: &[Spec] = &[
        Spec::new("token", Secret::TYPE).description("API token"),
        Spec::new("c_str", <Option<String>>::TYPE).description("Optional without a default"),
        Spec::new("a_str", <Option<String>>::TYPE).description("Optional text"),
        Spec::new("a_int", <Option<i64>>::TYPE),
        Spec::new("a_float", <Option<f64>>::TYPE).ge(Number::Float(0.0)).le(Number::Float(1.0)),
        Spec::new("a_bool", <Option<bool>>::TYPE),
        Spec::new("a_path", <Option<Path>>::TYPE),
        Spec::new("a_secret", <Option<Secret>>::TYPE),
        Spec::new("b_int", <Option<i64>>::TYPE).default(Literal::Int(5)).ge(Number::Int(1)),
        Spec::new("mode", <Option<String>>::TYPE),
    ];
    let golden = include_str!("../golden/optionals.json");
    let output = OutputType::Fields(vec![field("echo", OutputType::Object)]);
    let mut ours = ours(&serde_json::from_str(golden).unwrap(), TABLE, output);
    // The one difference. Python knows an `Optional` with `default=None` and one without a default, which behave
    // alike; in Rust an `Option` without a default is the former.
    let c_str = &mut ours["components"]["schemas"]["TrainingInput"]["properties"]["c_str"];
    assert_eq!(c_str.as_object_mut().unwrap().shift_remove("default"), Some(Value::Null));
    assert_same(&ours, golden);
}
