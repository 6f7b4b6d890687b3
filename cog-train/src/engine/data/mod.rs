//! Training rows: where they are read from, in which order they come, how they become batches.
