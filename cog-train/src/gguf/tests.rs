use std::path::Path;

use super::*;
use crate::error::Error;

/// Metadata with a value of every type.
fn every_value() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", "llama");
    metadata.insert("u8", u8::MAX);
    metadata.insert("i8", i8::MIN);
    metadata.insert("u16", u16::MAX);
    metadata.insert("i16", i16::MIN);
    metadata.insert("u32", u32::MAX);
    metadata.insert("i32", i32::MIN);
    metadata.insert("f32", f32::MIN_POSITIVE);
    metadata.insert("bool", true);
    metadata.insert("text", "东京 \u{0} \"");
    metadata.insert("u64", u64::MAX);
    metadata.insert("i64", i64::MIN);
    metadata.insert("f64", f64::MAX);
    metadata.insert("u8s", vec![0_u8, 255]);
    metadata.insert("i8s", vec![-128_i8]);
    metadata.insert("u16s", vec![1_u16, 2]);
    metadata.insert("i16s", vec![-1_i16, 2]);
    metadata.insert("u32s", vec![1_u32, 2]);
    metadata.insert("i32s", vec![-1_i32]);
    metadata.insert("f32s", vec![-0.0_f32, 1e-45]);
    metadata.insert("bools", vec![true, false]);
    metadata.insert("texts", vec![String::new(), "a".to_owned()]);
    metadata.insert("u64s", vec![u64::MAX]);
    metadata.insert("i64s", vec![i64::MIN]);
    metadata.insert("f64s", Vec::<f64>::new());
    metadata
}

fn entries() -> Vec<Entry> {
    vec![
        Entry::new("scalar", TensorType::F64, []),
        Entry::new("odd", TensorType::F16, [3, 5]),
        Entry::new("empty", TensorType::F32, [0, 7]),
        Entry::new("blocks", TensorType::Q4_0, [2, 64]),
        Entry::new("super", TensorType::Q6K, [1, 2, 3, 256]),
    ]
}

/// Bytes that differ from tensor to tensor.
fn data(entry: &Entry) -> Vec<u8> {
    let count = entry.kind.bytes_of(&entry.shape).unwrap();
    let seed = entry.name.bytes().fold(7_u8, |seed, byte| seed.wrapping_mul(31) ^ byte);
    (0..count).map(|at| seed.wrapping_add(at.to_le_bytes()[0])).collect()
}

fn saved(path: &Path, metadata: &Metadata) -> Vec<u8> {
    save(path, metadata, &entries(), |entry| Ok(data(entry))).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_written_reads_back_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for alignment in [None, Some(1_u32), Some(8), Some(256)] {
        let mut metadata = every_value();
        if let Some(alignment) = alignment {
            metadata.insert(ALIGNMENT, alignment);
        }
        let first = saved(&path, &metadata);
        let opened = Gguf::open(&path).unwrap();
        assert_eq!(opened.metadata(), &metadata);
        let found: Vec<Entry> = opened
            .names()
            .map(|name| (name, opened.tensor(name).unwrap()))
            .map(|(name, info)| Entry::new(name, info.kind(), info.shape()))
            .collect();
        assert_eq!(found, entries());
        for entry in entries() {
            assert_eq!(opened.read(&entry.name).unwrap(), data(&entry), "{}", entry.name);
        }
        // Writing what was read gives the same file.
        save(&path, opened.metadata(), &found, |entry| opened.read(&entry.name)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }
}

/// The error of a file with these bytes, without its path.
fn refusal(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    match Gguf::open(file.path()) {
        Ok(_) => "opens".to_owned(),
        Err(Error::Weights { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let whole = saved(&path, &every_value());
    let last = entries().iter().map(|entry| data(entry).len()).next_back().unwrap();
    let end = whole.len() - (last.next_multiple_of(32) - last);
    assert_eq!(refusal(&whole[..end]), "opens", "padding behind the last tensor may be missing");
    for length in (0..end).rev().step_by(7).chain(0..64) {
        let reason = refusal(&whole[..length]);
        let known = ["truncated", "the file ends before", "fewer than 4 bytes"];
        assert!(known.iter().any(|it| reason.contains(it)), "{length}: {reason}");
    }
}

/// A header with any byte changed is refused, or has its tensors within the file and apart.
#[test]
fn a_file_with_any_byte_changed_is_refused_or_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = saved(&dir.path().join("model.gguf"), &every_value());
    let size = bytes.len() as u64;
    let header_end = bytes.len() - entries().iter().map(|it| data(it).len()).sum::<usize>();
    let mut opened = 0;
    for at in 0..header_end {
        let kept = bytes[at];
        for other in [0, 1, 0x7f, 0x80, 0xff, kept ^ 1, kept ^ 0x20] {
            bytes[at] = other;
            let Ok(header) = header::read(&bytes[..], size) else { continue };
            opened += 1;
            let mut ends: Vec<(u64, u64)> = header
                .tensors
                .values()
                .filter(|info| info.bytes > 0)
                .map(|info| (info.begin, info.begin + info.bytes as u64))
                .collect();
            ends.sort_unstable();
            assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            assert!(ends.iter().all(|(_, end)| *end <= size));
        }
        bytes[at] = kept;
    }
    assert!(opened > 1000, "most changes of a value are another value: {opened}");
}

/// A header in pieces, for files that no writer makes.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(version: u32, tensors: u64, values: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(values)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut raw = self.u64(text.len() as u64);
        raw.0.extend(text.bytes());
        raw
    }

    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let raw = self.text(name).u32(u32::try_from(dims.len()).unwrap());
        dims.iter().fold(raw, |raw, size| raw.u64(*size)).u32(kind).u64(offset)
    }

    fn data(mut self, count: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + count, 0);
        self
    }
}

#[test]
fn hostile_headers_are_refused_with_the_cause() {
    let one = |name: &str, dims: &[u64], kind, offset| {
        Raw::new(3, 1, 0).tensor(name, dims, kind, offset).data(64)
    };
    let value = |kind: u32| Raw::new(3, 0, 1).text("key").u32(kind);
    let huge = u64::MAX;
    let cases = [
        (Raw::default(), "is not a GGUF file: it has fewer than 4 bytes"),
        (Raw(b"GGML....".to_vec()), "is not a GGUF file: it begins with `GGML`, not `GGUF`"),
        (
            Raw::new(1, 0, 0),
            "is of GGUF's version 1, and 2 and 3 are supported\nhint: convert the model again with llama.cpp",
        ),
        (Raw::new(4, 0, 0), "is of GGUF's version 4, and 2 and 3 are supported"),
        (
            Raw::new(3_u32.swap_bytes(), 0, 0),
            "is a big-endian file, and only little-endian ones are supported\nhint: `gguf-convert-endian FILE little` of the \
             Python package `gguf` converts it",
        ),
        (Raw::new(3, huge, 0), "is truncated: it has 18446744073709551615 tensors in 8 bytes"),
        (
            Raw::new(3, 0, huge),
            "is truncated: it has 18446744073709551615 metadata values in 0 bytes",
        ),
        (Raw::new(3, 0, 1).u64(huge).u64(0), "is truncated: the file ends within its header"),
        (Raw::new(3, 0, 1).text("").u32(4).u32(0), "has a key of 0 bytes"),
        (value(77).u64(0), "`key` is of the unknown type 77"),
        (value(9).u32(77).u64(0), "`key` is an array of the unknown type 77"),
        (value(9).u32(9).u64(1), "`key` is an array of arrays, which is not supported"),
        (
            value(9).u32(4).u64(huge),
            "`key` has 18446744073709551615 values, and the file ends before",
        ),
        (value(9).u32(8).u64(1).u64(huge), "`key` is truncated: the file ends within its header"),
        (value(7).u32(2), "`key` is the byte 2, not 0 or 1"),
        (
            Raw::new(3, 0, 2).text("key").u32(4).u32(0).text("key").u32(4).u32(0),
            "`key` is there twice",
        ),
        (
            Raw::new(3, 0, 1).text(ALIGNMENT).u32(4).u32(0),
            "`general.alignment` is 0, not a power of 2",
        ),
        (
            Raw::new(3, 0, 1).text(ALIGNMENT).u32(4).u32(24),
            "`general.alignment` is 24, not a power of 2",
        ),
        (
            Raw::new(3, 0, 1).text(ALIGNMENT).u32(8).text("32"),
            "`general.alignment` is not a whole number of 32 bits",
        ),
        (one("w", &[2], 99, 0), "tensor `w` is of the unknown type 99"),
        (one("w", &[1; 5], 0, 0), "tensor `w` has 5 dimensions, and at most 4 are possible"),
        (one("", &[1], 0, 0), "tensor `` has a name of 0 bytes, not of 1 to 64"),
        (
            one("w", &[33], 2, 0),
            "tensor `w` is Q4_0 and has rows of 33 elements, which blocks of 32 do not fill",
        ),
        (
            one("w", &[1 << 32, 1 << 32], 0, 0),
            "tensor `w` of shape [4294967296, 4294967296] is too large to address",
        ),
        (
            one("w", &[0, 1 << 40, 1 << 40], 0, 0),
            "tensor `w` of shape [1099511627776, 1099511627776, 0] is too large to address",
        ),
        (one("w", &[2], 0, 8), "tensor `w` begins at byte 8 of the data, not at a multiple of 32"),
        (one("w", &[17], 0, 0), "tensor `w` ends at byte 132 of 128: the file is truncated"),
        (
            one("w", &[2], 0, 1 << 40),
            "tensor `w` ends at byte 1099511627848 of 128: the file is truncated",
        ),
        (
            one("w", &[2], 0, huge - 31),
            "tensor `w` ends at byte 2^64 of 128: the file is truncated",
        ),
        (
            Raw::new(3, 2, 0).tensor("w", &[2], 0, 0).tensor("w", &[2], 0, 32).data(64),
            "tensor `w` is there twice",
        ),
        (
            Raw::new(3, 2, 0).tensor("a", &[9], 0, 0).tensor("b", &[2], 0, 32).data(64),
            "tensor `b` overlaps tensor `a`",
        ),
        (one("\u{1b}[2J", &[2], 99, 0), "tensor `\\u{1b}[2J` is of the unknown type 99"),
    ];
    for (raw, expected) in cases {
        assert_eq!(refusal(&raw.0), expected);
    }
    assert_eq!(refusal(&Raw::new(2, 0, 0).0), "opens");
    let mut bad = Raw::new(3, 0, 1).text("key").u32(8).text("ab");
    *bad.0.last_mut().unwrap() = 0xff;
    assert_eq!(refusal(&bad.0), "`key` is a text that is not UTF-8");
}

/// A file of any length may claim so many values that their vector has no room.
#[test]
fn a_header_has_a_limit() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let raw = Raw::new(3, 0, 1).text("key").u32(9).u32(0).u64(1 << 40);
    std::fs::write(file.path(), raw.0).unwrap();
    // Sparse, and larger than the memory of any machine.
    std::fs::File::options().write(true).open(file.path()).unwrap().set_len(1 << 42).unwrap();
    let error = Gguf::open(file.path()).unwrap_err().to_string();
    assert!(error.ends_with("`key` has 1099511627776 values, and the file ends before"), "{error}");
}

#[test]
fn what_no_file_can_hold_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let reason = |metadata: &Metadata, entries: &[Entry], count: usize| {
        let error = save(&path, metadata, entries, |_| Ok(vec![0; count])).unwrap_err();
        let Error::Weights { reason, .. } = error else { panic!("{error}") };
        reason
    };
    let plain = Metadata::new();
    let entry = |name: &str, shape: &[usize]| Entry::new(name, TensorType::Q8_0, shape);
    let long = "n".repeat(65);
    for (entries, expected) in [
        (
            vec![entry(&long, &[32])],
            format!("tensor `{long}` has a name of 65 bytes, or is there twice"),
        ),
        (
            vec![entry("w", &[32]); 2],
            "tensor `w` has a name of 1 byte, or is there twice".to_owned(),
        ),
        (
            vec![entry("w", &[1, 1, 1, 1, 32])],
            "tensor `w` of shape [1, 1, 1, 1, 32] has more than 4 dimensions".to_owned(),
        ),
        (
            vec![entry("w", &[31])],
            "tensor `w` is Q8_0 and has rows of 31 elements, which blocks of 32 do not fill"
                .to_owned(),
        ),
        (vec![entry("w", &[32])], "tensor `w` has 33 bytes, and its shape needs 34".to_owned()),
    ] {
        assert_eq!(reason(&plain, &entries, 33), expected);
    }
    let mut metadata = Metadata::new();
    metadata.insert(ALIGNMENT, 3_u32);
    assert_eq!(reason(&metadata, &[], 0), "`general.alignment` is not a power of 2 of 32 bits");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left behind");
}
