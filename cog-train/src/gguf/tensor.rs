//! The entry of a tensor.

use super::types::TensorType;

/// The entry of a tensor in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub(super) kind: TensorType,
    pub(super) shape: Vec<usize>,
    /// Its first byte, counted from the start of the file.
    pub(super) begin: u64,
    pub(super) bytes: usize,
}

impl TensorInfo {
    /// Returns its type.
    #[must_use]
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// Returns its shape, with the fastest dimension last as in PyTorch: a file, and what llama.cpp prints, has it first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns its bytes in the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
