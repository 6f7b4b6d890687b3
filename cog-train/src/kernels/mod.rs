//! Fused operations: one folder each, with what it computes, the plain form and the fast one.

pub(crate) mod adamw;
pub(crate) mod device_memory;
pub(crate) mod fused;
pub(crate) mod lion;
pub(crate) mod norm;
pub(crate) mod sgd;
