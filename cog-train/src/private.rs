//! What the code that the macros emit needs and nobody else should name. No promise is made about it.

pub mod verify {
    //! Constant checks.

    pub use crate::input::verify::{bound, choice, choices, item, list, single, text};
}

/// The allocator that `run!` installs: training allocates gigabytes a step, and this one keeps its pages.
pub type Allocator = mimalloc::MiMalloc;

/// The one value of [`Allocator`].
pub const ALLOCATOR: Allocator = mimalloc::MiMalloc;

/// What a function trainer returns: an output, or a `Result` of one.
///
/// A trait, not the spelling of the return type, tells the two apart, so that aliases of `Result` work. No output type
/// is a `Result`, hence the two implementations never meet.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a trainer",
    label = "not an output",
    note = "return `cog_train::Path`, `Weights`, `String`, `bool`, a number, `Vec` of these, `BTreeMap<String, _>`, `serde_json::Value`, `TrainingOutput` with `#[derive(TrainOutput)]`, or a `Result` of one"
)]
pub trait Returned: Sized {
    /// The output itself.
    type Output: crate::TrainOutput;

    /// Nobody else can write this type, and so nobody else can implement the trait. (A sealed supertrait would be a
    /// second error beside the first.)
    const SEAL: sealed::Seal;

    /// The output, or why there is none.
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

/// The inputs of a trainer whose declaration has a mistake: the macro reports the mistake and emits this in the place
/// of what it cannot build, so that no second error follows from the first.
pub enum Mistaken {}

impl crate::TrainInputs for Mistaken {
    const TABLE: &'static [crate::input::Spec] = &[];

    fn from_values(_: &crate::input::Values) -> Result<Self, crate::input::Problems> {
        Err(crate::input::Problems::default())
    }
}
