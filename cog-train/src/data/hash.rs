//! SHA-256 digests of what rows are made of.

use sha2::{Digest, Sha256};

use crate::fetch::hex;

/// A digest that grows piece by piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Hash(Sha256);

impl Hash {
    /// Adds bytes as they are: the digest of a file is that of its bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds a piece with its length before it, so that `ab`, `c` is not `a`, `bc`.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Adds a number of 8 bytes.
    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The 32 bytes.
    pub(super) fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The 64 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        hex(self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn known_answer_and_pieces() {
        let mut hash = Hash::default();
        hash.bytes(b"abc");
        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let of = |pieces: [&[u8]; 2]| {
            let mut hash = Hash::default();
            for piece in pieces {
                hash.piece(piece);
            }
            hash.hex()
        };
        assert_ne!(of([b"ab", b"c"]), of([b"a", b"bc"]));
    }
}
