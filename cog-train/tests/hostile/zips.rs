//! Zips, byte by byte: valid ones and hostile ones.

use cog_train::archive::Limits;

use super::Case;

/// An entry of the directory and its local header, which may contradict each other.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Vec<u8>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) local_packed: u32,
    pub(crate) size: u32,
    pub(crate) made_by: u16,
    pub(crate) attributes: u32,
    pub(crate) disk: u16,
    pub(crate) extra: Vec<u8>,
    pub(crate) data: Vec<u8>,
    /// The bytes behind the data: sizes, or what belongs to nobody.
    pub(crate) behind: Vec<u8>,
    /// The place that the directory states.
    pub(crate) at: Option<u32>,
}

pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn entry(name: &str, content: &[u8], method: u16, data: Vec<u8>) -> Entry {
    let packed = u32::try_from(data.len()).unwrap();
    Entry {
        name: name.into(),
        local_name: name.into(),
        flags: 0,
        method,
        crc: crc(content),
        packed,
        local_packed: packed,
        size: u32::try_from(content.len()).unwrap(),
        made_by: 3 << 8,
        attributes: 0,
        disk: 0,
        extra: Vec::new(),
        data,
        behind: Vec::new(),
        at: None,
    }
}

pub(crate) fn stored(name: &str, content: &[u8]) -> Entry {
    entry(name, content, 0, content.to_vec())
}

pub(crate) fn deflated(name: &str, content: &[u8]) -> Entry {
    entry(name, content, 8, deflate(content))
}

impl Entry {
    fn edit(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    fn mode(self, mode: u32) -> Self {
        self.edit(|entry| entry.attributes = mode << 16)
    }
}

/// Numbers in two or four bytes.
fn le(parts: &[(u32, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(value, bytes)| value.to_le_bytes()[..bytes].to_vec()).collect()
}

pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    ended(entries, u32::try_from(entries.len()).unwrap(), b"")
}

/// A zip whose end counts `count` members and holds a comment.
fn ended(entries: &[Entry], count: u32, comment: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = entry.at.unwrap_or(len(&bytes));
        let common = [(u32::from(entry.flags), 2), (u32::from(entry.method), 2), (0, 4)];
        bytes.extend(b"PK\x03\x04\x14\0");
        bytes.extend(le(&common));
        bytes.extend(le(&[(entry.crc, 4), (entry.local_packed, 4), (entry.size, 4)]));
        bytes.extend(le(&[(len(&entry.local_name), 2), (len(&entry.extra), 2)]));
        bytes.extend([&entry.local_name[..], &entry.extra, &entry.data, &entry.behind].concat());

        directory.extend(b"PK\x01\x02");
        directory.extend(le(&[(u32::from(entry.made_by), 2), (20, 2)]));
        directory.extend(le(&common));
        directory.extend(le(&[(entry.crc, 4), (entry.packed, 4), (entry.size, 4)]));
        directory.extend(le(&[(len(&entry.name), 2), (len(&entry.extra), 2), (0, 2)]));
        directory.extend(le(&[(u32::from(entry.disk), 2), (0, 2), (entry.attributes, 4), (at, 4)]));
        directory.extend([&entry.name[..], &entry.extra].concat());
    }
    let at = len(&bytes);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(le(&[(count, 2), (count, 2), (len(&directory), 4), (at, 4), (len(comment), 2)]));
    bytes.extend(comment);
    bytes
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn members() -> Vec<Case> {
    let of = |title, entry: Entry, says: &str| Case::zip(title, &[entry], says);
    let a = || stored("a", b"hello");
    let packed = || deflated("d", &b"hello ".repeat(50));
    let unicode = [&b"\x75\x70\x0a\0\x01\0\0\0\0"[..], b"../zz"].concat();
    vec![
        of("zip parent", stored("../z", b"x"), "member `../z` has `..` in its name"),
        of("zip absolute", stored("/z", b"x"), "member `/z` has an absolute name"),
        of(
            "zip backslash",
            stored("z\\..\\x", b"x"),
            r"member `z\..\x` has a backslash in its name",
        ),
        of("zip link", stored("zl", b"/etc").mode(0o120_777), "member `zl` is a symbolic link"),
        of(
            "zip link of DOS",
            stored("zd", b"/etc").mode(0o120_777).edit(|e| e.made_by = 0),
            "member `zd` is a symbolic link",
        ),
        of("zip device", stored("zv", b"").mode(0o060_644), "member `zv` is a device"),
        of("zip pipe", stored("zp", b"").mode(0o010_644), "member `zp` is a pipe"),
        of("zip socket", stored("zs", b"").mode(0o140_644), "member `zs` is of an unknown type"),
        of(
            "zip folder by mode",
            stored("zf", b"").mode(0o040_755),
            "member `zf` is a file by one of its name and its mode, and a folder by the other",
        ),
        of(
            "zip folder by DOS",
            stored("zo", b"").edit(|e| {
                e.made_by = 0;
                e.attributes = 0x10;
            }),
            "member `zo` is a file by one of its name and its mode, and a folder by the other",
        ),
        of("zip folder with bytes", stored("zb/", b"x"), "member `zb/` is a folder with bytes"),
        of("zip encrypted", a().edit(|e| e.flags = 1), "member `a` is encrypted"),
        of("zip flags", a().edit(|e| e.flags = 1 << 13), "member `a` has the unknown flags 0x2000"),
        of(
            "zip method",
            a().edit(|e| e.method = 12),
            "member `a` is packed by the unsupported method 12",
        ),
        of(
            "zip stored sizes",
            a().edit(|e| e.size = 9),
            "member `a` is stored in 5 bytes but has 9",
        ),
        of(
            "zip other name",
            a().edit(|e| e.local_name = b"b".to_vec()),
            "member `a` is called `b` in its own header",
        ),
        of(
            "zip other size",
            packed().edit(|e| e.local_packed += 1),
            "member `d` has a header that differs from the directory",
        ),
        of(
            "zip sum",
            a().edit(|e| e.crc ^= 1),
            "member `a` does not have the checksum that it states",
        ),
        of(
            "zip sum of nothing",
            stored("e", b"").edit(|e| e.crc = 7),
            "member `e` does not have the checksum that it states",
        ),
        of(
            "zip more",
            packed().edit(|e| {
                e.size -= 1;
                e.crc = crc(&b"hello ".repeat(50)[..299]);
            }),
            "member `d` has more bytes than it states",
        ),
        of(
            "zip fewer",
            packed().edit(|e| e.size += 1),
            "member `d` has fewer bytes than it states",
        ),
        of(
            "zip behind",
            packed().edit(|e| {
                e.data.push(0);
                e.packed += 1;
                e.local_packed += 1;
            }),
            "member `d` has bytes behind its packed data",
        ),
        of(
            "zip corrupt",
            packed().edit(|e| e.data[0] = 0xff),
            "member `d` has corrupt deflate data",
        ),
        of(
            "zip gap",
            a().edit(|e| e.behind = b"gap".to_vec()),
            "member `a` is followed by bytes that belong to no member",
        ),
        of(
            "zip sizes behind",
            a().edit(|e| {
                e.flags = 8;
                e.behind = vec![0; 12];
            }),
            "member `a` has sizes behind its data that differ from the directory",
        ),
        of("zip second name", a().edit(|e| e.extra = unicode), "member `a` has a second name"),
        of(
            "zip extra",
            a().edit(|e| e.extra = vec![1, 0, 9, 0]),
            "member `a` has an extra field that cannot be read",
        ),
        of(
            "zip64 twice",
            a().edit(|e| e.extra = [1, 0, 0, 0].repeat(2)),
            "member `a` has the same extra field twice",
        ),
        of(
            "zip64 missing",
            stored("w", b"").edit(|e| {
                e.size = u32::MAX;
                e.packed = u32::MAX;
            }),
            "member `w` has no zip64 sizes where it needs them",
        ),
        of(
            "zip64 short",
            stored("w", b"").edit(|e| {
                e.size = u32::MAX;
                e.extra = vec![1, 0, 2, 0, 0, 0];
            }),
            "member `w` has broken zip64 sizes",
        ),
        of("zip elsewhere", a().edit(|e| e.disk = 1), "is one part of a zip in several"),
    ]
}

fn shapes() -> Vec<Case> {
    let a = || stored("a", b"hello");
    let good = zip(&[a()]);
    let inner = zip(&[a()]);
    let overlap = [
        a(),
        stored("b", b"hello").edit(|e| {
            e.at = Some(0);
            e.local_name = b"b".to_vec();
        }),
    ];
    let bomb = zip(&[deflated("zeros", &vec![0; 2 << 20])]);
    let ratio = format!("unpacks to more than 200 times its own {} bytes", bomb.len());
    let tight = Limits { ratio_free: 1 << 20, ..Limits::default() };
    let mut nowhere = good.clone();
    let end = nowhere.len() - 22;
    nowhere[end + 16] += 1;
    let mut many = good.clone();
    many[end + 4] = 1;
    let hidden = stored("b", b"0123456789").edit(|e| e.at = Some(36));
    let mut locator = b"PK\x06\x07".to_vec();
    locator.extend([0; 16]);
    let wide = [&good[..end], &locator, &good[end..]].concat();
    vec![
        Case::zip("zip twice", &[a(), a()], "member `a` is there twice"),
        Case::zip(
            "zip case",
            &[stored("B", b""), stored("b", b"")],
            "members `B` and `b` differ only in case",
        ),
        Case::zip("zip overlap", &overlap, "member `a` overlaps the next member"),
        Case::zip(
            "zip inside another",
            &[stored("o", &[0; 40]), hidden],
            "member `o` overlaps the next member",
        ),
        Case::zip(
            "zip not at its start",
            &[a().edit(|e| e.at = Some(3))],
            "has bytes before its first member",
        ),
        Case::new(
            "zip before",
            "x.zip",
            [b"#!/bin/sh\n", &good[..]].concat(),
            "is named like zip but is none",
        ),
        Case::new(
            "zip behind its end",
            "x.zip",
            [&good[..], b"junk"].concat(),
            "has bytes after the end of the zip",
        ),
        Case::new(
            "zip cut",
            "x.zip",
            good[..good.len() - 30].to_vec(),
            "is truncated: the zip has no end",
        ),
        Case::new("zip two ends", "x.zip", ended(&[a()], 1, &inner), "has two ends of a zip"),
        Case::new(
            "zip counts more",
            "x.zip",
            ended(&[a()], 2, b""),
            "is truncated: the zip ends early",
        ),
        Case::new(
            "zip counts fewer",
            "x.zip",
            ended(&[a(), stored("b", b"")], 1, b""),
            "has more in its directory than it counts",
        ),
        Case::new(
            "zip directory elsewhere",
            "x.zip",
            nowhere,
            "has a directory that is not where it should be",
        ),
        Case::new("zip of several", "x.zip", many, "is one part of a zip in several"),
        Case::new("zip64 nowhere", "x.zip", wide, "has a zip64 end that is not where it should be"),
        Case::new("zip bomb", "x.zip", bomb, &ratio).within(tight),
        Case::zip(
            "zip members",
            &[a(), stored("b", b"")],
            "holds more files and folders than the limit of 1",
        )
        .within(Limits { members: 1, ..Limits::default() }),
        Case::zip(
            "zip implied folders",
            &[stored("a/b/c", b"hello")],
            "holds more files and folders than the limit of 2",
        )
        .within(Limits { members: 2, ..Limits::default() }),
        Case::zip(
            "zip names",
            &[stored("abc", b""), stored("abd", b"")],
            "has names of more than the limit of 5 bytes together",
        )
        .within(Limits { all_name_bytes: 5, ..Limits::default() }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [members(), shapes()].concat()
}
