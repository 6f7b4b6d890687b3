//! Tars, byte by byte: valid ones and hostile ones.

use cog_train::archive::Limits;

use super::Case;

/// A header with a right checksum.
pub(crate) fn header(name: &[u8], flag: u8, size: u64) -> Vec<u8> {
    edited(name, flag, size, |_| {})
}

/// A header that is changed before its checksum is computed.
pub(crate) fn edited(name: &[u8], flag: u8, size: u64, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A member and the zeros after it.
pub(crate) fn member(name: &[u8], flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, flag, content.len() as u64);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), b'0', content)
}

pub(crate) fn folder(name: &str) -> Vec<u8> {
    member(name.as_bytes(), b'5', b"")
}

pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        content.extend(format!("{length}{rest}").bytes());
    }
    member(b"pax", b'x', &content)
}

/// The parts and an end.
pub(crate) fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// A frame of stored blocks whose window is what the byte of the format says: 0x88 is 128 MiB, 0x90 is 256.
pub(crate) fn zstandard_window(window: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    for block in bytes.chunks(1 << 16) {
        frame.extend(&(u32::try_from(block.len()).unwrap() << 3).to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame.extend([1, 0, 0]);
    frame
}

/// Refused for a name.
fn names() -> Vec<Case> {
    let of = |title, name: &[u8], says: &str| Case::tar(title, &[member(name, b'0', b"x")], says);
    let long = format!("{}/b", "a/".repeat(600));
    let part = "p".repeat(256);
    let deep = format!("{}x", "d/".repeat(64));
    vec![
        of("parent", b"../evil", "member `../evil` has `..` in its name"),
        of("inner parent", b"a/../../evil", "member `a/../../evil` has `..` in its name"),
        of("only parent", b"..", "member `..` has `..` in its name"),
        of("absolute", b"/etc/passwd", "member `/etc/passwd` has an absolute name"),
        of("drive", b"C:evil", "member `C:evil` has a drive letter in its name"),
        of("backslash", b"a\\evil", r"member `a\evil` has a backslash in its name"),
        of("control", b"a\x1b[2J", r"member `a\u{1b}[2J` has a control character in its name"),
        of("newline", b"a\nb", r"member `a\nb` has a control character in its name"),
        of("not UTF-8", b"a\xff", r"member `a\xff` has a name that is not UTF-8"),
        of("no name", b"", "a member has no name"),
        of("empty part", b"a//b", "member `a//b` has an empty part in its name"),
        of("dot part", b"a/./b", "member `a/./b` has an empty part in its name"),
        of("dot file", b".", "member `.` has an empty part in its name"),
        of("file with a slash", b"a/", "member `a/` is a file named like a folder"),
        Case::tar(
            "long name",
            &[member(b"L", b'L', long.as_bytes()), file("x", b"x")],
            &format!(
                "member `{}...` has a name of 1202 bytes, more than the limit of 1024",
                &long[..200]
            ),
        ),
        Case::tar(
            "long part",
            &[pax(&[("path", &part)]), file("x", b"x")],
            &format!("member `{}...` has a part of more than 255 bytes in its name", &part[..200]),
        ),
        Case::tar(
            "deep",
            &[pax(&[("path", &deep)]), file("x", b"x")],
            &format!("member `{deep}` is deeper than the limit of 64 folders"),
        ),
        Case::tar(
            "bytes behind the name",
            &[member(b"seen\0../hidden", b'0', b"x")],
            "member `seen` has bytes behind its name",
        ),
        Case::tar(
            "NUL in a pax name",
            &[pax(&[("path", "a\0b")]), file("x", b"x")],
            r"member `a\0b` has a control character in its name",
        ),
        Case::tar(
            "parent in a prefix",
            &[edited(b"x", b'0', 0, |block| block[345..350].copy_from_slice(b"../up"))],
            "member `../up/x` has `..` in its name",
        ),
        Case::tar("twice", &[file("a", b"1"), file("a", b"2")], "member `a` is there twice"),
        Case::tar(
            "dot twice",
            &[file("a1", b"1"), file("./a1", b"2")],
            "member `a1` is there twice",
        ),
        Case::tar("folder twice", &[folder("f/"), folder("f")], "member `f` is there twice"),
        Case::tar(
            "differ in case",
            &[file("Model", b"1"), file("model", b"2")],
            "members `Model` and `model` differ only in case",
        ),
        Case::tar(
            "folders differ in case",
            &[file("D/a", b"1"), file("d/b", b"2")],
            "members `D` and `d` differ only in case",
        ),
        Case::tar(
            "file, then folder",
            &[file("n", b"1"), file("n/b", b"2")],
            "`n` is a file and a folder",
        ),
        Case::tar(
            "folder, then file",
            &[file("m/b", b"1"), file("m", b"2")],
            "`m` is a file and a folder",
        ),
    ]
}

/// Refused for what a member is.
fn kinds() -> Vec<Case> {
    let of = |title, name: &str, flag, says: &str| {
        Case::tar(title, &[member(name.as_bytes(), flag, b"")], says)
    };
    let link = |flag, to: &'static [u8]| {
        edited(b"link", flag, 0, |block| block[157..157 + to.len()].copy_from_slice(to))
    };
    vec![
        Case::tar("symbolic link", &[link(b'2', b"/etc")], "member `link` is a symbolic link"),
        Case::tar("hard link", &[link(b'1', b"../../x")], "member `link` is a hard link"),
        of("character device", "tty", b'3', "member `tty` is a device"),
        of("block device", "sda", b'4', "member `sda` is a device"),
        of("pipe", "pipe", b'6', "member `pipe` is a pipe"),
        of("sparse", "holes", b'S', "member `holes` is a sparse file"),
        of("volume", "vol", b'V', "member `vol` is of the unknown type `V`"),
        Case::tar("long link", &[member(b"ll", b'K', b"to")], "member `ll` is a symbolic link"),
        Case::tar(
            "folder with bytes",
            &[member(b"fb", b'5', b"x")],
            "member `fb` is a folder with bytes",
        ),
        Case::tar(
            "pax sparse",
            &[pax(&[("GNU.sparse.major", "1")]), file("x", b"x")],
            "holds a sparse file",
        ),
    ]
}

/// Refused because two readers could disagree, or because the bytes are broken.
#[expect(clippy::too_many_lines, reason = "a table")]
fn shapes() -> Vec<Case> {
    let good = file("a", b"1");
    let broken_sum = |mut block: Vec<u8>| {
        block[0] ^= 1;
        block
    };
    let raw_pax = |content: &[u8]| member(b"pax", b'x', content);
    let mut no_end = tar(&[file("a", &[7; 700])]);
    no_end.truncate(1000);
    let mut trailing = tar(std::slice::from_ref(&good));
    trailing.extend(b"more");
    vec![
        Case::tar(
            "two sizes",
            &[pax(&[("size", "512")]), good.clone()],
            "member `a` has 512 bytes by its pax header and 1 by its own",
        ),
        Case::tar(
            "pax says twice",
            &[pax(&[("path", "b"), ("path", "c")]), good.clone()],
            "says `path` twice in a pax header",
        ),
        Case::tar(
            "pax length",
            &[raw_pax(b"99 path=b\n"), good.clone()],
            "has a pax header that cannot be read",
        ),
        Case::tar(
            "pax charset",
            &[pax(&[("hdrcharset", "BINARY")]), good.clone()],
            "has a pax header that is not in UTF-8",
        ),
        Case::tar("pax no name", &[pax(&[("path", "")]), good.clone()], "has an empty pax name"),
        Case::tar(
            "pax and GNU",
            &[pax(&[("path", "b")]), member(b"L", b'L', b"c\0"), good.clone()],
            "member `c` has a pax name and a GNU name",
        ),
        Case::tar(
            "pax twice",
            &[pax(&[]), pax(&[]), good.clone()],
            "has two pax headers for one member",
        ),
        Case::tar(
            "GNU names twice",
            &[member(b"L", b'L', b"b\0"), member(b"L", b'L', b"c\0"), good.clone()],
            "has two long names for one member",
        ),
        Case::tar(
            "GNU no name",
            &[member(b"L", b'L', b"\0"), good.clone()],
            "has an empty long name",
        ),
        Case::tar(
            "global name",
            &[member(b"pax", b'g', b"10 path=b\n"), good.clone()],
            "says `path` for all its members",
        ),
        Case::tar(
            "pax for nobody",
            &[good.clone(), pax(&[("path", "b")])],
            "ends after a header that belongs to a next member",
        ),
        Case::tar(
            "huge pax",
            &[header(b"pax", b'x', 1 << 30)],
            "has an extended header of 1073741824 bytes, more than the limit of 1048576",
        ),
        Case::tar(
            "GNU backup",
            &[pax(&[("GNU.dumpdir", "x")]), good.clone()],
            "is a part of a GNU backup",
        ),
        Case::tar(
            "first sum",
            &[broken_sum(good.clone())],
            "is not a tar: the checksum of its first header is wrong",
        ),
        Case::tar(
            "sum in binary",
            &[[&good[..148], &[0x80; 8], &good[156..]].concat()],
            "is not a tar: the checksum of its first header is wrong",
        ),
        Case::tar(
            "next sum",
            &[good.clone(), broken_sum(good.clone())],
            "has a header whose checksum is wrong",
        ),
        Case::tar(
            "size no number",
            &[edited(b"sn", b'0', 0, |block| block[124..136].copy_from_slice(b"0000000001z\0"))],
            "member `sn` has a size that is not a number",
        ),
        Case::tar(
            "negative size",
            &[edited(b"neg", b'0', 0, |block| block[124..136].fill(0xff))],
            "member `neg` has a size that is not a number",
        ),
        Case::tar(
            "size of 2^63",
            &[edited(b"huge", b'0', 0, |block| {
                block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
            })],
            "member `huge` has 9223372036854775808 bytes, more than the limit of 274877906944",
        ),
        Case::new("truncated", "x.tar", no_end, "is truncated: the tar ends early"),
        Case::new(
            "goes on",
            "x.tar",
            [good.clone(), vec![0; 512], good.clone()].concat(),
            "has members after its end",
        ),
        Case::new("trailing", "x.tar", trailing, "has bytes after its end"),
        Case::new("nothing", "x.tar", Vec::new(), "is empty"),
        Case::new("no tar", "x.tar", b"hello".repeat(200), "is named like tar but is none"),
        Case::new(
            "no archive",
            "x",
            b"hello".repeat(200),
            "is neither tar, tar.gz, tar.zst nor zip",
        ),
        Case::new(
            "gzip as zip",
            "x.zip",
            gzip(&tar(std::slice::from_ref(&good))),
            "is named like zip but holds gzip data",
        ),
        Case::new("tar as gzip", "x.tgz", tar(&[good]), "is named like gzip but holds tar data"),
    ]
}

/// Refused in the packing around the tar, or for its size.
fn packed() -> Vec<Case> {
    let plain = tar(&[file("a", &(0..200_u8).cycle().take(5000).collect::<Vec<_>>())]);
    let (gz, zst) = (gzip(&plain), zstandard(&plain));
    let flip = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0xff;
        bytes
    };
    let zeros = |count| gzip(&tar(&[file("zeros", &vec![0; count])]));
    let implied: Vec<_> = (0..9).map(|top| file(&format!("{top}/d/f"), b"")).collect();
    let implied = gzip(&tar(&implied));
    let inflated = format!(
        "makes 17 files and folders, which take more than 1 times its own {} bytes",
        implied.len()
    );
    let long_names = [1, 2, 3].map(|count| folder(&"n".repeat(30 + count)));
    let small = Limits { members: 2, bytes: 4096, member_bytes: 10, ..Limits::default() };
    let three = [file("a", b"1"), file("b", b"2"), file("c", b"3")];
    let tight = Limits { ratio_free: 1 << 20, ..Limits::default() };
    let bomb = zeros(2 << 20);
    let ratio = format!("unpacks to more than 200 times its own {} bytes", bomb.len());
    let padding = gzip(&[tar(&[file("a", b"1")]), vec![0; 3 << 20]].concat());
    let padding_ratio = format!("unpacks to more than 200 times its own {} bytes", padding.len());
    vec![
        Case::new(
            "gzip truncated",
            "x.tar.gz",
            gz[..gz.len() - 9].to_vec(),
            "is truncated: its gzip data ends early",
        ),
        Case::new("gzip sum", "x.tgz", flip(&gz, gz.len() - 7), "has corrupt gzip data"),
        Case::new(
            "gzip trailing",
            "x.tgz",
            [&gz[..], b"junk"].concat(),
            "has bytes after the end of its gzip data",
        ),
        Case::new(
            "gzip of a second tar",
            "x.tgz",
            [&gz[..], &gz[..]].concat(),
            "has bytes after its end",
        ),
        Case::new(
            "gzip of no tar",
            "x.tgz",
            gzip(&[9; 600]),
            "is not a tar: the checksum of its first header is wrong",
        ),
        Case::new(
            "zstd truncated",
            "x.tar.zst",
            zst[..zst.len() - 5].to_vec(),
            "is truncated: its zstd data ends early",
        ),
        Case::new("zstd sum", "x.tar.zst", flip(&zst, zst.len() - 1), "has corrupt zstd data"),
        Case::new(
            "zstd trailing",
            "x.tar.zst",
            [&zst[..], b"junk"].concat(),
            "has corrupt zstd data",
        ),
        Case::new("bomb", "x.tgz", bomb, &ratio).within(tight.clone()),
        Case::new("bomb behind the end", "x.tgz", padding, &padding_ratio).within(tight),
        Case::new("implied folders", "x.tgz", implied, &inflated).within(Limits {
            ratio: 1,
            ratio_free: 1 << 16,
            ..Limits::default()
        }),
        Case::tar(
            "an implied folder",
            &[file("a/b/c", b"1")],
            "holds more files and folders than the limit of 2",
        )
        .within(small.clone()),
        Case::tar("names", &long_names, "has names of more than the limit of 65 bytes together")
            .within(Limits { all_name_bytes: 65, ..Limits::default() }),
        Case::new(
            "zstd window",
            "x.tar.zst",
            zstandard_window(0x90, &plain),
            "has zstd data with a window of more than the limit of 128 MiB\n\
             hint: compress it again without `--long`, or with `--long=27`",
        ),
        Case::tar("members", &three, "holds more files and folders than the limit of 2")
            .within(small.clone()),
        Case::tar(
            "bytes",
            &[vec![0; 0], folder("a"), pax(&[("comment", &"c".repeat(4000))])],
            "unpacks to more than the limit of 4096 bytes",
        )
        .within(small.clone()),
        Case::tar(
            "member",
            &[file("big", &[0; 11])],
            "member `big` has 11 bytes, more than the limit of 10",
        )
        .within(small),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [names(), kinds(), shapes(), packed()].concat()
}
