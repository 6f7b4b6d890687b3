//! Any bytes as an archive: no panic, no endless work, and what is handed out keeps the rules.

#![no_main]

use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Read};

use cog_train::archive::{Kind, Limits, read_from};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    members: 64,
    bytes: 1 << 20,
    member_bytes: 1 << 19,
    ratio: 200,
    ratio_free: 1 << 16,
    name_bytes: 300,
    all_name_bytes: 4096,
    depth: 8,
};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // A mutated tar header hardly ever has a right sum, so the sums are made right to get past them.
    if bytes.len() >= 512 && &bytes[257..262] == b"ustar" {
        check(&with_sums(bytes));
    }
});

fn check(bytes: &[u8]) {
    let mut seen = HashMap::new();
    let mut total = 0;
    let done = read_from(Cursor::new(bytes), "fuzz", &LIMITS, |member| {
        let name = member.name().to_owned();
        let mut content = Vec::new();
        // A fault is the reader's to return; here it only must not be forgotten.
        let whole = member.read_to_end(&mut content).is_ok();
        total += content.len() as u64;
        assert!(total <= LIMITS.bytes && content.len() as u64 <= LIMITS.member_bytes);
        if whole {
            assert_eq!(content.len() as u64, member.size(), "{name}");
        }
        assert!(name.len() <= LIMITS.name_bytes && name.split('/').count() <= LIMITS.depth);
        assert!(!name.contains(['\\', '\0']) && !name.chars().any(char::is_control), "{name:?}");
        let plain = |part: &str| !["", ".", ".."].contains(&part) && part.len() <= 255;
        assert!(name.split('/').all(plain), "{name:?}");
        assert!(
            seen.insert(name.to_lowercase(), (member.kind(), whole)).is_none(),
            "{name:?} twice"
        );
        Ok(())
    });
    if done.is_ok() {
        let folders = seen.keys().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at]));
        let made: HashSet<&str> = folders.chain(seen.keys().map(String::as_str)).collect();
        assert!(made.len() as u64 <= LIMITS.members, "{} files and folders", made.len());
        for (name, (_, whole)) in &seen {
            assert!(whole, "{name:?} was broken");
            let mut parents = name.match_indices('/').map(|(at, _)| &name[..at]);
            assert!(parents.all(|parent| seen.get(parent).is_none_or(|it| it.0 == Kind::Folder)));
        }
    }
}

fn with_sums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    bytes
}
