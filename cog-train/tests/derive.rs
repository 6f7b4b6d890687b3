//! The code that the macros emit: the tables and the constructors, read as values.

use cog_train::input::{self, Kind, Literal, Number, Problems, Spec, Type, Unknown, Values};
use cog_train::output::{Output, OutputField, OutputType};
use cog_train::prelude::*;
use serde_json::{Value, json};

/// The rule that updates the weights.
#[derive(Debug, Clone, Copy, PartialEq, Choice)]
enum Optimizer {
    #[choice(rename = "adamw")]
    AdamW,
    PlainSgd,
}

/// Fine-tunes a small language model
/// on your own text.
///
/// Slowly.
#[derive(Debug, TrainInputs, PredictInputs)]
struct Inputs {
    /// JSONL file with training examples
    train_data: Path,
    /// Not this one
    #[input(default = 5e-5, ge = 0, le = 1e-3, description = "Peak learning rate")]
    learning_rate: f32,
    #[input(default = -1, ge = -9223372036854775808, le = 10)]
    epochs: i64,
    #[input(default = "adam", choices = ["adam", "sgd"], deprecated)]
    algorithm: String,
    #[input(min_length = 1, max_length = 32, regex = r"^[a-z\.-]+$")]
    r#type: Option<String>,
    #[input(default = [])]
    tags: Vec<String>,
    #[input(default = [Optimizer::PlainSgd, Optimizer::AdamW])]
    optimizers: Option<Vec<Optimizer>>,
    token: Option<Secret>,
    #[input(default = [true, 0.5])]
    anything: Value,
}

fn row(name: &str) -> &'static Spec {
    <Inputs as TrainInputs>::TABLE.iter().find(|spec| spec.name == name).unwrap()
}

/// A literal without its constructor, for comparison; a variant is its name.
fn value(literal: &Literal) -> Value {
    match *literal {
        Literal::Bool(value) => json!(value),
        Literal::Int(number) => json!(i64::try_from(number).unwrap()),
        Literal::Float(number) => json!(number),
        Literal::Str(text) => json!(text),
        Literal::Variant(name) => json!({ "variant": name() }),
        Literal::List(items) => items.iter().map(value).collect(),
    }
}

fn default(name: &str) -> Option<Value> {
    row(name).default.as_ref().map(value)
}

#[test]
fn rows_are_the_fields_in_their_order() {
    let names: Vec<&str> = <Inputs as TrainInputs>::TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(
        names,
        [
            "train_data",
            "learning_rate",
            "epochs",
            "algorithm",
            "type",
            "tags",
            "optimizers",
            "token",
            "anything"
        ]
    );
    let predict: Vec<&str> =
        <Inputs as PredictInputs>::TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(names, predict);
}

#[test]
fn types_are_read_through_option_and_vec() {
    let of = |kind, list, optional| Type { kind, list, optional };
    assert_eq!(row("train_data").ty, of(Kind::Path, false, false));
    assert_eq!(row("learning_rate").ty, of(Kind::Float, false, false));
    assert_eq!(
        row("epochs").ty,
        of(Kind::Integer { min: i64::MIN.into(), max: i64::MAX.into() }, false, false)
    );
    assert_eq!(row("type").ty, of(Kind::String, false, true));
    assert_eq!(row("tags").ty, of(Kind::String, true, false));
    assert_eq!(row("optimizers").ty, of(Kind::Choice(&["adamw", "plain_sgd"]), true, true));
    assert_eq!(row("token").ty, of(Kind::Secret, false, true));
    assert_eq!(row("anything").ty, of(Kind::Any, false, false));
}

#[test]
fn descriptions_are_doc_comments_unless_given() {
    assert_eq!(row("train_data").description, Some("JSONL file with training examples"));
    assert_eq!(row("learning_rate").description, Some("Peak learning rate"));
    assert_eq!(row("epochs").description, None);
    assert_eq!(
        <Inputs as TrainInputs>::ABOUT,
        "Fine-tunes a small language model on your own text.\n\nSlowly."
    );
    assert_eq!(<Inputs as PredictInputs>::ABOUT, <Inputs as TrainInputs>::ABOUT);
}

#[test]
fn defaults_keep_their_written_value() {
    assert_eq!(default("train_data"), None);
    // In 64 bits, though the field has 32.
    assert_eq!(default("learning_rate"), Some(json!(5e-5)));
    assert_eq!(default("epochs"), Some(json!(-1)));
    assert_eq!(default("algorithm"), Some(json!("adam")));
    assert_eq!(default("type"), None);
    assert_eq!(default("tags"), Some(json!([])));
    assert_eq!(
        default("optimizers"),
        Some(json!([{ "variant": "plain_sgd" }, { "variant": "adamw" }]))
    );
    assert_eq!(default("anything"), Some(json!([true, 0.5])));
}

#[test]
fn rules_keep_their_written_value() {
    assert_eq!(
        (row("learning_rate").ge, row("learning_rate").le),
        (Some(Number::Int(0)), Some(Number::Float(1e-3)))
    );
    assert_eq!(
        (row("epochs").ge, row("epochs").le),
        (Some(Number::Int(i64::MIN.into())), Some(Number::Int(10)))
    );
    assert_eq!((row("type").min_length, row("type").max_length), (Some(1), Some(32)));
    assert_eq!(row("type").regex, Some(r"^[a-z\.-]+$"));
    let choices: Vec<Value> = row("algorithm").choices.unwrap().iter().map(value).collect();
    assert_eq!(choices, ["adam", "sgd"]);
    assert!(row("algorithm").deprecated && !row("epochs").deprecated);
    let plain = row("token");
    assert!(
        plain.ge.is_none()
            && plain.le.is_none()
            && plain.regex.is_none()
            && plain.choices.is_none()
    );
    assert!(plain.min_length.is_none() && plain.max_length.is_none());
}

#[test]
fn an_input_is_required_without_default_and_option() {
    let required: Vec<&str> = <Inputs as TrainInputs>::TABLE
        .iter()
        .filter(|spec| spec.required())
        .map(|spec| spec.name)
        .collect();
    assert_eq!(required, ["train_data"]);
}

fn checked<T: TrainInputs>(given: &Value) -> Result<Values, Problems> {
    input::check(T::TABLE, given, Unknown::Refuse).map(|checked| checked.values)
}

#[test]
fn the_constructor_fills_every_field() {
    let given = json!({
        "train_data": "data/train.jsonl",
        "epochs": 3.0,
        "type": "a.b",
        "tags": ["x", "y"],
        "token": "hf_1234",
    });
    let inputs = <Inputs as TrainInputs>::from_values(&checked::<Inputs>(&given).unwrap()).unwrap();
    assert_eq!(inputs.train_data, Path::from("data/train.jsonl"));
    assert_eq!(inputs.learning_rate.to_bits(), 5e-5_f32.to_bits());
    assert_eq!(inputs.epochs, 3);
    assert_eq!(inputs.algorithm, "adam");
    assert_eq!(inputs.r#type.as_deref(), Some("a.b"));
    assert_eq!(inputs.tags, ["x", "y"]);
    assert_eq!(inputs.optimizers, Some(vec![Optimizer::PlainSgd, Optimizer::AdamW]));
    assert_eq!(inputs.token, Some(Secret::new("hf_1234")));
    assert_eq!(inputs.anything, json!([true, 0.5]));

    let again =
        <Inputs as PredictInputs>::from_values(&checked::<Inputs>(&given).unwrap()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{inputs:?}"));
}

#[test]
fn the_constructor_names_a_value_that_does_not_fit() {
    #[derive(Debug, TrainInputs)]
    struct Other {
        epochs: i64,
    }
    let given = json!({ "epochs": i64::MIN });
    let other = Other::from_values(&checked::<Other>(&given).unwrap()).unwrap();
    assert_eq!(other.epochs, i64::MIN);
    // Values of another table, in which `epochs` is a text.
    let text = [Spec::new("epochs", <String as input::InputType>::TYPE)];
    let values = input::check(&text, &json!({ "epochs": "3" }), Unknown::Refuse).unwrap().values;
    let problems = Other::from_values(&values).unwrap_err();
    assert_eq!(
        problems.iter().map(|problem| problem.input.as_str()).collect::<Vec<_>>(),
        ["epochs"]
    );
}

/// The field named `seed` is read by the runner: leaving it unread is no warning.
#[test]
fn an_input_named_seed_may_stay_unread() {
    #![deny(dead_code)]
    #[derive(TrainInputs)]
    struct Seeded {
        #[input(default = 42)]
        seed: i64,
    }
    assert!(Seeded::from_values(&checked::<Seeded>(&json!({})).unwrap()).is_ok());
}

#[test]
fn a_choice_is_the_name_of_its_variant() {
    assert_eq!(Optimizer::NAMES, ["adamw", "plain_sgd"]);
    for variant in [Optimizer::AdamW, Optimizer::PlainSgd] {
        assert_eq!(Optimizer::from_name(variant.name()), Some(variant));
    }
    assert_eq!(Optimizer::from_name("AdamW"), None);
    let read = <Optimizer as cog_train::input::Item>::from_value;
    assert_eq!(read(&json!("plain_sgd")), Some(Optimizer::PlainSgd));
    assert_eq!(read(&json!(1)), None);
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Path,
    r#final: f64,
    best: Option<Path>,
    losses: Vec<f64>,
}

#[derive(Debug, PredictOutput)]
struct Answer {
    text: String,
}

#[test]
fn outputs_are_their_fields_in_order() {
    let field = |name, ty, optional| OutputField { name, ty, optional };
    assert_eq!(
        <TrainingOutput as TrainOutput>::output_type(),
        OutputType::Fields(vec![
            field("weights", OutputType::Path, false),
            field("final", OutputType::Number, false),
            field("best", OutputType::Path, true),
            field("losses", OutputType::Array(Box::new(OutputType::Number)), false),
        ])
    );
    let output = TrainingOutput {
        weights: Path::from("w.safetensors"),
        r#final: 0.5,
        best: None,
        losses: vec![1.0, 0.5],
    };
    assert_eq!(
        TrainOutput::into_output(output),
        Output::Object(vec![
            ("weights".to_owned(), Output::File("w.safetensors".into())),
            ("final".to_owned(), Output::Value(json!(0.5))),
            ("best".to_owned(), Output::Value(Value::Null)),
            (
                "losses".to_owned(),
                Output::List(vec![Output::Value(json!(1.0)), Output::Value(json!(0.5))])
            ),
        ])
    );
    assert_eq!(
        PredictOutput::into_output(Answer { text: "a".to_owned() }),
        Output::Object(vec![("text".to_owned(), Output::Value(json!("a")))])
    );
}

/// Adds.
#[cog_train::train]
fn add(
    /// The first
    #[input(default = 1, ge = 0)]
    first: u32,
    job: &mut Job,
    second: Option<u32>,
) -> Result<u32> {
    job.check_cancelled()?;
    second.map(|second| first + second).context("no second")
}

#[test]
fn a_function_is_a_trainer_and_a_function() {
    type Inputs = <add as Trainer>::Inputs;
    assert_eq!(<Inputs as TrainInputs>::ABOUT, "Adds.");
    let names: Vec<&str> = <Inputs as TrainInputs>::TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(<Inputs as TrainInputs>::TABLE[0].description, Some("The first"));

    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    assert_eq!(add(1, &mut job, Some(2)).unwrap(), 3);
    assert_eq!(add(1, &mut job, None).unwrap_err().to_string(), "no second");
}
