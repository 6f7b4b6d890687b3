//! The text of a prediction, piece by piece.

use super::Job;

impl Job {
    /// Sends a piece of a prediction's text as soon as it is known: to standard output, and with `--format json` as a line of its
    /// own to standard error. The pieces are the beginning of the text that `predict` returns, which is not printed twice.
    ///
    /// ```
    /// use cog_train::prelude::*;
    ///
    /// # /// Counts
    /// # #[derive(PredictInputs)]
    /// # struct Count {
    /// #     /// The last number
    /// #     to: u32,
    /// # }
    /// struct Counter;
    ///
    /// impl Predictor for Counter {
    ///     type Inputs = Count;
    ///     type Output = String;
    ///     # fn setup(_setup: &Setup, _weights: Option<&Weights>) -> Result<Self> { Ok(Self) }
    ///
    ///     fn predict(&mut self, inputs: Count, job: &mut Job) -> Result<String> {
    ///         let mut text = String::new();
    ///         for number in 1..=inputs.to {
    ///             let piece = format!("{number} ");
    ///             job.stream(&piece);
    ///             text += &piece;
    ///         }
    ///         Ok(text)
    ///     }
    /// }
    /// # let dir = tempfile::tempdir()?;
    /// # let mut counter = Counter::setup(&Setup::for_test(), None)?;
    /// # assert_eq!(counter.predict(Count { to: 3 }, &mut Job::for_test(dir.path()))?, "1 2 3 ");
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    pub fn stream(&mut self, piece: &str) {
        if !piece.is_empty() {
            self.report.output(piece);
        }
    }
}
