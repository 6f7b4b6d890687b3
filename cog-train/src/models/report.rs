//! The comparison of a model's tensors with those of its files.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Shape;

use super::keys::list;
use super::names::Names;
use super::source::{Description, Source};
use crate::error::{Error, printable_name};

/// The types of float that a model's tensors may have.
const FLOATS: &[&str] = &["F32", "BF16", "F16", "F64"];

/// The tensors of files by the names that the model gives them.
pub(crate) type Stored = BTreeMap<String, String>;

/// Every difference between what a model needs and what its files hold.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The place of the configuration.
    configuration: &'static str,
    problems: Vec<String>,
    missing_head: bool,
}

impl Report {
    /// Compares the tensors that are `needed` with those that are stored. Stored ones that are not needed are a problem unless
    /// `known` says otherwise.
    pub(crate) fn of(
        needed: &BTreeMap<String, Shape>,
        stored: &Stored,
        source: &Source,
        names: &Names,
        known: impl Fn(&str) -> bool,
    ) -> Self {
        let mut report = Self { configuration: source.configuration(), ..Self::default() };
        for (name, shape) in needed {
            let Some(file_name) = stored.get(name) else {
                report.missing_head |= name == "lm_head.weight";
                report.problems.push(format!("`{}` is missing", printable_name(name)));
                continue;
            };
            let Some(Description { dtype, shape: found }) = source.describe(file_name) else {
                continue;
            };
            let mut needed = shape.dims().to_vec();
            if source.is_transposed(names, name) {
                needed.reverse();
            }
            let name = printable_name(file_name);
            if found != needed {
                report.problems.push(format!(
                    "`{name}` has the shape {found:?}, and the model needs {needed:?}"
                ));
            } else if !FLOATS.contains(&dtype.as_str()) {
                report.problems.push(format!(
                    "`{name}` is of dtype {dtype}, and the model needs one of {}",
                    FLOATS.join(", ")
                ));
            }
        }
        for (name, file_name) in stored {
            if !needed.contains_key(name) && !known(name) {
                let name = printable_name(file_name);
                report.problems.push(format!("`{name}` is not of this model"));
            }
        }
        report
    }

    /// # Errors
    ///
    /// [`Error::Model`] with every difference.
    pub(crate) fn check(self, folder: &Path) -> Result<(), Error> {
        let configuration = self.configuration;
        let hint = if self.missing_head {
            "\nhint: a model whose output layer is its embedding has `tie_word_embeddings: true` in its `config.json`"
        } else {
            ""
        };
        let text = match self.problems.as_slice() {
            [] => return Ok(()),
            [problem] => problem.clone(),
            problems => list(problems),
        };
        Err(Error::model(folder, format!("the tensors do not fit {configuration}: {text}{hint}")))
    }
}
