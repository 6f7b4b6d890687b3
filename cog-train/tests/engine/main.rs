//! What a training promises, on a network that is small enough to be stopped at every step.

mod job;
mod laws;
mod resume;
mod trouble;
