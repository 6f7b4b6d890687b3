//! The split of a dataset into rows to train on and rows to measure on.

use std::sync::Arc;

use super::dataset::{Dataset, Subset};
use crate::error::{Error, counted};
use cog_train_nn::rng::Rng;

/// The rows to train on and the rows held out, as [`split`] returns them.
pub type Split<D> = (Subset<Arc<D>>, Subset<Arc<D>>);

/// Holds out a `share` of the rows to measure on, and returns (train, held out), each in the order of the data. At least
/// one row is on each side. Which ones is a function of their number, the share and the `seed` alone: pass a fixed seed,
/// not the run's, so that runs with different seeds measure on the same rows.
///
/// ```
/// use cog_train::data::{Dataset, Rows, split};
///
/// let (train, held_out) = split(Rows::new((0..95).collect::<Vec<i32>>()), 0.1, 0)?;
/// assert_eq!((train.len(), held_out.len()), (86, 9));
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfig`] when there are fewer than two rows, or the share is not between 0 and 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of rows"
)]
pub fn split<D: Dataset>(dataset: D, share: f64, seed: u64) -> Result<Split<D>, Error> {
    let count = dataset.len();
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::InvalidConfig {
            reason: format!(
                "the share of rows to hold out is {share}, and must be between 0 and 1"
            ),
        });
    }
    if count < 2 {
        return Err(Error::InvalidConfig {
            reason: format!(
                "the data has {}, and one is needed to measure on\nhint: give at least 2",
                counted(count, "row")
            ),
        });
    }
    let aside = ((count as f64 * share) as usize).clamp(1, count - 1);
    let mut order: Vec<usize> = (0..count).collect();
    Rng::new(seed, "held-out").at(0).shuffle(&mut order);
    let (held_out, train) = order.split_at_mut(aside);
    held_out.sort_unstable();
    train.sort_unstable();
    let dataset = Arc::new(dataset);
    let part = |indices: &[usize]| Subset::new(dataset.clone(), indices.to_vec());
    Ok((part(train)?, part(held_out)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rows;

    #[test]
    fn a_split_is_a_deterministic_partition() {
        for (count, share, aside) in [(95, 0.1, 9), (2, 0.1, 1), (2, 0.9, 1), (10, 0.99, 9)] {
            let make = || split(Rows::new((0..count).collect::<Vec<i32>>()), share, 3).unwrap();
            let (train, held_out) = make();
            assert_eq!(held_out.len(), aside);
            let mut all = [train.indices(), held_out.indices()].concat();
            assert_eq!(make().1.indices(), held_out.indices());
            all.sort_unstable();
            assert!(all.into_iter().eq(0..usize::try_from(count).unwrap()));
        }
        let error = split(Rows::new(vec![1]), 0.5, 0).err().unwrap().to_string();
        assert!(error.starts_with("the data has 1 row, and one is needed"), "{error}");
        assert!(split(Rows::new(vec![1, 2]), 1.0, 0).is_err());
    }
}
