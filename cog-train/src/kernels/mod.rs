//! Fused operations: one folder each, with what it computes, the plain form and the fast one.
