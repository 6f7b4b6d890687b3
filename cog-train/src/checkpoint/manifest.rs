//! `manifest.json`: the state of a checkpoint, and the sizes and digests of its files.
//!
//! Its first line holds the digest of all other lines, so a flipped bit is detected in the state as well as in a tensor.
//! The file is one JSON object.
//!
//! Digests detect damage. Those of the tensor files are XXH3, as SHA-256 of 200 MB takes more processor time than the rest
//! of a save.

use std::collections::BTreeMap;

use candle_core::DType;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_128;

use crate::fetch;

/// The name of the file.
pub(super) const NAME: &str = "manifest.json";
/// The format version that this code writes, and the only one that it reads.
pub(super) const VERSION: u64 = 2;
/// The bytes before the digest, and those after it.
const BEFORE: &str = "{\"sha256\":\"";
const AFTER: &str = "\",\n";

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) version: u64,
    pub(super) step: u64,
    pub(super) best: bool,
    pub(super) state: Value,
    /// The files by name.
    pub(super) files: BTreeMap<String, FileEntry>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) bytes: u64,
    /// XXH3 of 128 bits, in lower-case hex.
    pub(super) xxh3: String,
    pub(super) tensors: BTreeMap<String, Entry>,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// candle's name of the dtype: `f32`.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
}

impl Entry {
    pub(super) fn new(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype: dtype.as_str().to_owned(), shape: shape.to_vec() }
    }
}

impl Manifest {
    /// Returns the bytes of the file, a pure function of the content.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        // The keys of an object are in the order of their insertion.
        if let Some(state) = value.get_mut("state") {
            state.sort_all_objects();
        }
        let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
        Ok(framed(text.trim_start_matches("{\n")))
    }

    /// Parses the bytes of the file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || format!("`{NAME}` is damaged");
        let (frame, text) =
            bytes.split_at_checked(BEFORE.len() + 64 + AFTER.len()).ok_or_else(damaged)?;
        if frame != &framed_digest(text)[..] {
            return Err(damaged());
        }
        let failed = |error: serde_json::Error| format!("`{NAME}` cannot be read: {error}");
        let value: Value = serde_json::from_slice(bytes).map_err(failed)?;
        match value.get("version").and_then(Value::as_u64) {
            Some(VERSION) => Self::deserialize(value).map_err(failed),
            Some(other) => {
                Err(format!("is of version {other}, and this program reads version {VERSION}"))
            }
            None => Err(format!("`{NAME}` names no version")),
        }
    }
}

/// Returns the digest of a file as the manifest holds it.
pub(super) fn hex(digest: &XxHash3_128) -> String {
    format!("{:032x}", digest.finish_128())
}

/// Prepends a line with the digest of the text.
fn framed(text: &str) -> Vec<u8> {
    let mut bytes = framed_digest(text.as_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn framed_digest(text: &[u8]) -> Vec<u8> {
    format!("{BEFORE}{}{AFTER}", fetch::hex(Sha256::digest(text))).into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(state: Value) -> Manifest {
        let entry = Entry::new(DType::BF16, &[2, 0, 3]);
        let tensors = BTreeMap::from([("a/b.weight".to_owned(), entry)]);
        let entry = FileEntry { bytes: 1 << 60, xxh3: hex(&XxHash3_128::new()), tensors };
        let files = BTreeMap::from([("weights.safetensors".to_owned(), entry)]);
        Manifest { version: VERSION, step: u64::MAX, best: true, state, files }
    }

    #[test]
    fn numbers_are_restored_bit_for_bit() {
        let numbers: Vec<f64> = [
            0.1,
            1.0 / 3.0,
            -0.0,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::MAX,
            f64::EPSILON,
            1e23,
            9_007_199_254_740_993.0,
            123_456_789.123_456_79,
        ]
        .into_iter()
        .chain((1..2000_u64).map(|n| {
            let bits = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            f64::from_bits(bits)
        }))
        .filter(|number| number.is_finite())
        .collect();
        let before = manifest(json!({"numbers": numbers, "whole": [u64::MAX, i64::MIN]}));
        let after = Manifest::from_bytes(&before.to_bytes().unwrap()).unwrap();
        let bits: Vec<u64> = after.state["numbers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap().to_bits())
            .collect();
        assert_eq!(bits, numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
        assert_eq!(after, before);
    }

    #[test]
    fn equal_content_has_equal_bytes_of_one_json_object() {
        let one = manifest(json!({"a": 1, "b": {"c": 2, "d": 3}})).to_bytes().unwrap();
        let other = manifest(json!({"b": {"d": 3, "c": 2}, "a": 1})).to_bytes().unwrap();
        assert_eq!(one, other);
        let value: Value = serde_json::from_slice(&one).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["sha256", "version", "step", "best", "state", "files"]);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_detected() {
        let bytes = manifest(json!({"loss": 0.25})).to_bytes().unwrap();
        for at in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..at]).is_err(), "truncated at {at}");
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(Manifest::from_bytes(&bytes).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn another_version_is_rejected_with_both_versions() {
        let newer = Manifest { version: 3, ..manifest(Value::Null) }.to_bytes().unwrap();
        let reason = Manifest::from_bytes(&newer).unwrap_err();
        assert_eq!(reason, "is of version 3, and this program reads version 2");
    }
}
