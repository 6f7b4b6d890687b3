//! Checked values.

use serde_json::{Map, Value};

use super::convert::InputType;
use super::problems::{Problem, Problems};

/// Values that were checked against a table: one for every input, null for an `Option` that was left out.
#[derive(Clone, PartialEq)]
pub struct Values(pub(crate) Map<String, Value>);

impl Values {
    /// The value of a field.
    ///
    /// # Errors
    ///
    /// A problem at `name` when the value does not fit `T`; checking the values against the table comes first and
    /// reports all problems at once.
    pub fn take<T: InputType>(&self, name: &str) -> Result<T, Problems> {
        T::from_value(self.0.get(name).unwrap_or(&Value::Null)).ok_or_else(|| {
            Problems(vec![Problem {
                input: name.to_owned(),
                message: "the value does not fit the type of the field".to_owned(),
                hint: None,
                missing: false,
            }])
        })
    }
}
