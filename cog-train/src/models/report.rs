//! The comparison of a model's tensors with those of its files.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Shape;

use super::bitsandbytes::Nf4;
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
    /// Takes the weights that are quantized in the files out of those that are `needed`. One of another shape, or one that is
    /// not needed and not `known`, is a problem.
    pub(crate) fn of_quantized(
        needed: &mut BTreeMap<String, Shape>,
        quantized: &BTreeMap<String, Nf4>,
        known: impl Fn(&str) -> bool,
    ) -> Self {
        let mut report = Self::default();
        for (name, matrix) in quantized {
            let (shape, shown) = (matrix.shape(), printable_name(name));
            match needed.remove(name) {
                Some(needed) if needed.dims() == shape => {}
                Some(needed) => report.problems.push(format!(
                    "`{shown}` has the shape {shape:?}, and the model needs {:?}",
                    needed.dims()
                )),
                None if known(name) => {}
                None => report.problems.push(format!("`{shown}` is not of this model")),
            }
        }
        report
    }

    /// Compares the tensors that are `needed` with those that are stored. Stored ones that are not needed are a problem unless
    /// `known` says otherwise.
    pub(crate) fn compare(
        mut self,
        needed: &BTreeMap<String, Shape>,
        stored: &Stored,
        source: &Source,
        names: &Names,
        known: impl Fn(&str) -> bool,
    ) -> Self {
        self.configuration = source.configuration();
        for (name, shape) in needed {
            let Some(file_name) = stored.get(name) else {
                self.missing_head |= name == "lm_head.weight";
                self.problems.push(format!("`{}` is missing", printable_name(name)));
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
                self.problems.push(format!(
                    "`{name}` has the shape {found:?}, and the model needs {needed:?}"
                ));
            } else if !FLOATS.contains(&dtype.as_str()) {
                self.problems.push(format!(
                    "`{name}` is of dtype {dtype}, and the model needs one of {}",
                    FLOATS.join(", ")
                ));
            }
        }
        for (name, file_name) in stored {
            if !needed.contains_key(name) && !known(name) {
                let name = printable_name(file_name);
                self.problems.push(format!("`{name}` is not of this model"));
            }
        }
        self
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
