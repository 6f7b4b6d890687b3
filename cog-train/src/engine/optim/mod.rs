//! Optimizers: rules with named state over named parameters.
