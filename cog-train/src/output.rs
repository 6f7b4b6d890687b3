//! Outputs of trainings and predictions: [`TrainOutput`], [`PredictOutput`], and the tree [`Output`] that they convert
//! to. Nothing here writes a file.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::input::Path;
use crate::weights::Weights;

pub use crate::input::{OutputField, OutputType};

/// A returned value: JSON with files in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A number, a text, a boolean, an object of these, or null.
    Value(Value),
    /// A file or folder that exists.
    File(PathBuf),
    /// A list.
    List(Vec<Output>),
    /// A map, or a `#[derive(TrainOutput)]` struct, in the order of its fields.
    Object(Vec<(String, Output)>),
}

/// An output of `train`: `Path`, `Weights`, `String`, `bool`, a number, `Vec` of these, a map, `serde_json::Value`,
/// or a struct named `TrainingOutput` with `#[derive(TrainOutput)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a trainer",
    label = "not an output",
    note = "return `cog_train::Path`, `Weights`, `String`, `bool`, a number, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Value`, or `TrainingOutput` with `#[derive(TrainOutput)]`"
)]
pub trait TrainOutput: 'static {
    /// Returns the type in the schema.
    fn output_type() -> OutputType;

    /// Converts the value to a tree.
    fn into_output(self) -> Output;
}

/// An output of `predict`: any output of a trainer, or a struct with `#[derive(PredictOutput)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a predictor",
    label = "not an output",
    note = "return `cog_train::Path`, `Weights`, `String`, `bool`, a number, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Value`, or a struct with `#[derive(PredictOutput)]`"
)]
pub trait PredictOutput: 'static {
    /// Returns the type in the schema.
    fn output_type() -> OutputType;

    /// Converts the value to a tree.
    fn into_output(self) -> Output;
}

/// A single output value, alone or inside a list, a map or a struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of an output",
    label = "not a type of an output",
    note = "outputs are `cog_train::Path`, `Weights`, `String`, `bool`, numbers, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Map` and `serde_json::Value`"
)]
pub trait OutputValue: 'static {
    /// Returns the type in the schema.
    fn output_type() -> OutputType;

    /// Converts the value to a tree.
    fn into_output(self) -> Output;
}

/// A field of a derived output struct: an [`OutputValue`] or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of an output field",
    label = "not a type of an output",
    note = "fields are `cog_train::Path`, `Weights`, `String`, `bool`, numbers, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Map`, `serde_json::Value`, and `Option` of these"
)]
pub trait OutputFieldValue: 'static {
    /// Whether it is an `Option`.
    const OPTIONAL: bool;

    /// Returns the type in the schema, without the `Option`.
    fn output_type() -> OutputType;

    /// Converts the value to a tree; null for `None`.
    fn into_output(self) -> Output;
}

impl<T: OutputValue> TrainOutput for T {
    fn output_type() -> OutputType {
        T::output_type()
    }

    fn into_output(self) -> Output {
        OutputValue::into_output(self)
    }
}

impl<T: TrainOutput> PredictOutput for T {
    fn output_type() -> OutputType {
        T::output_type()
    }

    fn into_output(self) -> Output {
        TrainOutput::into_output(self)
    }
}

impl<T: OutputValue> OutputFieldValue for T {
    const OPTIONAL: bool = false;

    fn output_type() -> OutputType {
        T::output_type()
    }

    fn into_output(self) -> Output {
        OutputValue::into_output(self)
    }
}

impl<T: OutputValue> OutputFieldValue for Option<T> {
    const OPTIONAL: bool = true;

    fn output_type() -> OutputType {
        T::output_type()
    }

    fn into_output(self) -> Output {
        self.map_or(Output::Value(Value::Null), OutputValue::into_output)
    }
}

macro_rules! outputs {
    ($($ty:ty, $kind:ident, $value:ident => $tree:expr;)*) => {$(
        impl OutputValue for $ty {
            fn output_type() -> OutputType {
                OutputType::$kind
            }

            fn into_output(self) -> Output {
                let $value = self;
                $tree
            }
        }
    )*};
}

outputs! {
    Path, Path, path => Output::File(path.into());
    Weights, Path, weights => Output::File(weights.path().to_owned());
    String, String, text => Output::Value(text.into());
    bool, Boolean, value => Output::Value(value.into());
    i8, Integer, value => Output::Value(value.into());
    i16, Integer, value => Output::Value(value.into());
    i32, Integer, value => Output::Value(value.into());
    i64, Integer, value => Output::Value(value.into());
    isize, Integer, value => Output::Value(value.into());
    u8, Integer, value => Output::Value(value.into());
    u16, Integer, value => Output::Value(value.into());
    u32, Integer, value => Output::Value(value.into());
    u64, Integer, value => Output::Value(value.into());
    usize, Integer, value => Output::Value(value.into());
    f32, Number, value => Output::Value(f64::from(value).into());
    f64, Number, value => Output::Value(value.into());
    Map<String, Value>, Object, map => Output::Value(Value::Object(map));
    Value, Object, value => Output::Value(value);
}

impl<T: OutputValue> OutputValue for Vec<T> {
    fn output_type() -> OutputType {
        OutputType::Array(Box::new(T::output_type()))
    }

    fn into_output(self) -> Output {
        Output::List(self.into_iter().map(T::into_output).collect())
    }
}

impl<T: OutputValue> OutputValue for BTreeMap<String, T> {
    fn output_type() -> OutputType {
        OutputType::Object
    }

    fn into_output(self) -> Output {
        Output::Object(self.into_iter().map(|(name, value)| (name, value.into_output())).collect())
    }
}

#[expect(clippy::implicit_hasher, reason = "authors return the standard map")]
impl<T: OutputValue> OutputValue for HashMap<String, T> {
    fn output_type() -> OutputType {
        OutputType::Object
    }

    /// Converts the map, sorted by name: equal values give equal bytes.
    fn into_output(self) -> Output {
        OutputValue::into_output(self.into_iter().collect::<BTreeMap<_, _>>())
    }
}
