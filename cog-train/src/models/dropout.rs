//! Dropout by the keys of configurations. It is applied within [`training`](cog_train_nn::training).

use candle_core::Error;
use cog_train_nn::{self as nn, Dropout, Linear, Node};

use super::keys::Keys;

/// Reads a probability.
pub(crate) fn probability(keys: &mut Keys, name: &'static str, default: f64) -> f64 {
    optional_probability(keys, name).unwrap_or(default)
}

/// Reads a probability that may be null or absent.
pub(crate) fn optional_probability(keys: &mut Keys, name: &'static str) -> Option<f64> {
    let p: f64 = keys.get(&[name])?;
    if (0.0..=1.0).contains(&p) {
        return Some(p);
    }
    keys.problem(format!("`{}` is {p}, not from 0 to 1", keys.name(name)));
    Some(0.0)
}

/// Computes `to + dropout(linear(x))`, in one operation where nothing is dropped.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn add_dropped(
    linear: &Linear,
    dropout: &Dropout,
    to: &Node,
    x: &Node,
) -> Result<Node, Error> {
    if dropout.is_active() {
        return nn::add(to, &dropout.forward(&linear.forward(x)?)?);
    }
    linear.add_to(to, x, 1.0)
}
