//! The promises of a training, on a network that is small enough to be stopped at every step.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "small numbers, and equality that is meant"
)]

mod archives;
mod buffers;
mod changed;
mod job;
mod laws;
mod planned;
mod ranks;
mod records;
mod resume;
mod short;
mod summary;
mod sweep;
mod threads;
mod trouble;
