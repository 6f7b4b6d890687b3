//! The names of trainings and predictions.

use std::time::{SystemTime, UNIX_EPOCH};

/// The most characters of an id.
pub(super) const LONGEST: usize = 128;

/// Whether a client's id can be the name of a folder everywhere.
pub(super) fn is_valid(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(plain)
}

/// Makes an id as Cog does: `pred_` and the time in nanoseconds.
pub(super) fn generate() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("pred_{:x}", now.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_valid_id_leaves_its_folder() {
        for id in ["a", "A-1_b", "-", &generate(), &"x".repeat(LONGEST)] {
            assert!(is_valid(id), "{id}");
        }
        for id in [
            "",
            ".",
            "..",
            "../a",
            "/etc",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "ä",
            "a.b",
            "~",
            &"x".repeat(LONGEST + 1),
        ] {
            assert!(!is_valid(id), "{id:?}");
        }
    }
}
