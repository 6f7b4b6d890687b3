//! Items for the code that the macros emit, and for nothing else. They are not covered by semantic versioning.

pub use crate::cli::allocator::Allocator;
pub use crate::cli::{App, compute, main, pairs};
pub use crate::run::Given;
#[cfg(feature = "cli")]
pub mod tool {
    //! The program `cog-train`.

    pub use crate::tool::main;
}

pub mod verify {
    //! Constant checks.

    pub use crate::input::verify::{bound, choice, choices, item, list, single, text};
}

/// The return type of a function trainer: an output, or a `Result` of one.
///
/// A trait, and not the tokens of the return type, distinguishes the two, so that aliases of `Result` work. No output
/// type is a `Result`, so the two implementations never overlap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a trainer",
    label = "not an output",
    note = "return `cog_train::Path`, `Weights`, `String`, `bool`, a number, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Value`, `TrainingOutput` with `#[derive(TrainOutput)]`, or a `Result` of one"
)]
pub trait Returned: Sized {
    /// The output itself.
    type Output: crate::TrainOutput;

    /// Seals the trait: no other crate can name the type. (A sealed supertrait would cause a second compile error.)
    const SEAL: sealed::Seal;

    /// Converts the return value to the output or its error.
    ///
    /// # Errors
    ///
    /// The function's own.
    fn into_result(self) -> anyhow::Result<Self::Output>;
}

mod sealed {
    pub struct Seal;
}

impl<T: crate::TrainOutput> Returned for T {
    type Output = T;
    const SEAL: sealed::Seal = sealed::Seal;

    fn into_result(self) -> anyhow::Result<T> {
        Ok(self)
    }
}

impl<T: crate::TrainOutput, E: Into<anyhow::Error>> Returned for Result<T, E> {
    type Output = T;
    const SEAL: sealed::Seal = sealed::Seal;

    fn into_result(self) -> anyhow::Result<T> {
        self.map_err(Into::into)
    }
}

/// The inputs of a trainer whose declaration has a mistake: the macro reports the mistake and emits this type instead
/// of the real one, so that no second error follows from the first.
pub enum InvalidInputs {}

impl crate::TrainInputs for InvalidInputs {
    const TABLE: &'static [crate::input::Spec] = &[];

    fn from_values(_: &crate::input::Values) -> Result<Self, crate::input::Problems> {
        Err(crate::input::Problems::default())
    }
}

/// Checks what the server does with the bytes of a connection, for the fuzz target `serve`.
#[cfg(all(fuzzing, feature = "serve"))]
pub fn check_connection(sent: &[u8]) {
    crate::serve::check(sent);
}
