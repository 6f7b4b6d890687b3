//! Checkpoints: written whole or not there.
