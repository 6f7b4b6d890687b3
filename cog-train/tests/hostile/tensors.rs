//! Hostile safetensors files, byte by byte.

/// A file with this header and this many bytes of data.
pub(crate) fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// A good file: one tensor, `w`, of two floats.
pub(crate) fn good() -> Vec<u8> {
    safetensors(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8)
}

fn one(dtype: &str, shape: &str, offsets: &str, data: usize) -> Vec<u8> {
    safetensors(
        &format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
        data,
    )
}

fn two(first: &str, second: &str, data: usize) -> Vec<u8> {
    let slot = |name: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}"#)
    };
    safetensors(&format!("{{{},{}}}", slot("a", first), slot("b", second)), data)
}

/// Title, bytes, and the reason of their refusal.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let raw = |length: u64, rest: &[u8]| [&length.to_le_bytes(), rest].concat();
    vec![
        ("empty", Vec::new(), "is empty"),
        ("seven bytes", vec![1; 7], "is not a safetensors file: it has 7 bytes"),
        ("text", b"a text of more than eight bytes".to_vec(), "is not a safetensors file"),
        ("no header", raw(0, b""), "has an empty header"),
        (
            "header of 2^63",
            raw(1 << 63, b"{"),
            "has a header of 9223372036854775808 bytes, more than the limit of 100000000",
        ),
        (
            "header over the cap",
            raw(100_000_001, b"{"),
            "has a header of 100000001 bytes, more than the limit of 100000000",
        ),
        ("header cut", raw(50, b"{}"), "is truncated: its header has 50 bytes and 2 are there"),
        ("only a length", raw(2, b""), "is truncated: its header has 2 bytes and 0 are there"),
        ("header not UTF-8", raw(3, b"{\xff}"), "has a header that is not UTF-8"),
        (
            "header no JSON",
            raw(2, b"{,"),
            "has a header that cannot be read: key must be a string at line 1 column 2",
        ),
        (
            "JSON and more",
            raw(3, b"{}x"),
            "has a header that cannot be read: trailing characters at line 1 column 3",
        ),
        (
            "deep JSON",
            safetensors(&format!("{{\"w\":{}", "[".repeat(300)), 0),
            "has a header that cannot be read: tensor `w`: invalid type: sequence, expected an object of `dtype`, `shape` and `data_offsets` at line 1 column 5",
        ),
        (
            "tensor in a list",
            safetensors(r#"{"w":["F32",[2],[0,8]]}"#, 8),
            "has a header that cannot be read: tensor `w`: invalid type: sequence, expected an object of `dtype`, `shape` and `data_offsets` at line 1 column 5",
        ),
        (
            "tensor twice",
            safetensors(
                r#"{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
                0,
            ),
            "has a header that cannot be read: tensor `w` is there twice at line 1 column 107",
        ),
        (
            "key twice",
            safetensors(
                r#"{"w":{"dtype":"F32","dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#,
                0,
            ),
            "has a header that cannot be read: tensor `w`: duplicate field `dtype` at line 1 column 27",
        ),
        (
            "key unknown",
            safetensors(r#"{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"code":1}}"#, 0),
            "has a header that cannot be read: tensor `w`: unknown field `code`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 59",
        ),
        (
            "key missing",
            safetensors(r#"{"w":{"dtype":"F32","shape":[0]}}"#, 0),
            "has a header that cannot be read: tensor `w`: missing field `data_offsets` at line 1 column 32",
        ),
        (
            "metadata twice",
            safetensors(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
            "has a header that cannot be read: `__metadata__` is there twice at line 1 column 33",
        ),
        (
            "metadata key twice",
            safetensors(r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0),
            "has a header that cannot be read: a key of the metadata is there twice at line 1 column 33",
        ),
        (
            "metadata of numbers",
            safetensors(r#"{"__metadata__":{"a":1}}"#, 0),
            "has a header that cannot be read: invalid type: integer `1`, expected a string at line 1 column 22",
        ),
        ("dtype", one("F7", "[2]", "[0,8]", 8), "tensor `w` is of the unknown dtype `F7`"),
        (
            "shape of 2^64",
            one("F32", "[4294967296,4294967296]", "[0,8]", 8),
            "tensor `w` of shape [4294967296, 4294967296] is too large to address",
        ),
        (
            "bytes of 2^64",
            one("F64", "[4611686018427387904]", "[0,8]", 8),
            "tensor `w` of shape [4611686018427387904] is too large to address",
        ),
        (
            "strides of 2^80 before a zero",
            one("F32", "[0,1099511627776,1099511627776]", "[0,0]", 0),
            "tensor `w` of shape [0, 1099511627776, 1099511627776] is too large to address",
        ),
        (
            "elements of 2^80 after a zero",
            one("U8", "[1099511627776,1099511627776,0]", "[0,0]", 0),
            "tensor `w` of shape [1099511627776, 1099511627776, 0] is too large to address",
        ),
        (
            "100 000 dimensions",
            one("F32", &format!("[{}1]", "1,".repeat(99_999)), "[0,4]", 4),
            "has a header that cannot be read: tensor `w`: more than the limit of 64 dimensions at line 1 column 159",
        ),
        (
            "escape codes in a name",
            safetensors(
                r#"{"\u001b[2J\u202e":{"dtype":"F7","shape":[0],"data_offsets":[0,0]}}"#,
                0,
            ),
            r"tensor `\u{1b}[2J\u{202e}` is of the unknown dtype `F7`",
        ),
        (
            "escape codes in a dtype",
            one(r"\u001b[2J", "[0]", "[0,0]", 0),
            r"tensor `w` is of the unknown dtype `\u{1b}[2J`",
        ),
        (
            "escape codes in a key",
            safetensors(r#"{"w":{"\u001b[2J":1}}"#, 0),
            r"has a header that cannot be read: tensor `w`: unknown field `\u{1b}[2J`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 17",
        ),
        (
            "negative shape",
            one("F32", "[-2]", "[0,8]", 8),
            "has a header that cannot be read: tensor `w`: invalid value: integer `-2`, expected usize at line 1 column 31",
        ),
        ("half bytes", one("F4", "[3]", "[0,2]", 2), "tensor `w` does not fill whole bytes"),
        (
            "shape and bytes",
            one("F32", "[3]", "[0,8]", 8),
            "tensor `w` is F32 of shape [3], which is 12 bytes, and has 8",
        ),
        (
            "offsets backwards",
            one("F32", "[2]", "[8,0]", 8),
            "tensor `w` ends at byte 0, before it begins at 8",
        ),
        (
            "data cut",
            one("F32", "[2]", "[0,8]", 7),
            "tensor `w` ends at byte 8 of 7: the file is truncated",
        ),
        (
            "offset of 2^64",
            one("F32", "[2]", "[18446744073709551608,18446744073709551616]", 8),
            "has a header that cannot be read: tensor `w`: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 89",
        ),
        ("data behind", one("F32", "[2]", "[0,8]", 9), "has 1 byte outside of any tensor"),
        ("data before", one("F32", "[2]", "[4,12]", 12), "has a hole of 4 bytes before tensor `w`"),
        ("overlap", two("[0,8]", "[4,12]", 12), "tensor `b` overlaps tensor `a`"),
        ("the same bytes", two("[0,8]", "[0,8]", 8), "tensor `b` overlaps tensor `a`"),
        ("hole", two("[0,8]", "[9,17]", 17), "has a hole of 1 byte before tensor `b`"),
        (
            "pickle",
            b"\x80\x02}q\x00.".to_vec(),
            "`model.safetensors` is a pickle, and to read a pickle is to run its code\nhint: convert it in Python: `safetensors.torch.save_file(torch.load(\"model.safetensors\", weights_only=True), \"model.safetensors\")`",
        ),
        (
            "Git LFS",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "is a pointer to a file that Git LFS keeps\nhint: `git lfs pull` fetches it",
        ),
        (
            "GGUF",
            [b"GGUF".as_slice(), &[3; 40]].concat(),
            "is a GGUF file, not safetensors\nhint: `cog-train convert` writes it as safetensors; `Pretrained::open` takes it as a base model",
        ),
    ]
}
