//! Hostile weights and archives: each refused with a message of its own, and nothing left behind. Each kind has valid
//! twins, so that no feature is refused as such.

#[path = "hostile/server.rs"]
#[expect(dead_code, reason = "what was asked is for the other test that uses it")]
mod server;
#[path = "hostile/tars.rs"]
mod tars;
#[path = "hostile/tensors.rs"]
mod tensors;
#[path = "hostile/zips.rs"]
mod zips;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use cog_train::archive::{self, Kind, Limits};
use cog_train::candle_core::Device;
use cog_train::progress::Silent;
use cog_train::{CancelToken, Error, Weights};

/// An archive that must be refused.
#[derive(Clone)]
struct Case {
    title: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    says: String,
    limits: Limits,
}

impl Case {
    fn new(title: &'static str, file: &'static str, bytes: Vec<u8>, says: &str) -> Self {
        Self { title, file, bytes, says: says.to_owned(), limits: Limits::default() }
    }

    fn tar(title: &'static str, parts: &[Vec<u8>], says: &str) -> Self {
        Self::new(title, "x.tar", tars::tar(parts), says)
    }

    fn zip(title: &'static str, entries: &[zips::Entry], says: &str) -> Self {
        Self::new(title, "x.zip", zips::zip(entries), says)
    }

    fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Everything under a folder, with sizes.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            found.push((entry.path().display().to_string(), entry.metadata().unwrap().len()));
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn open(source: &str, cache: &Path) -> Result<Weights, Error> {
    Weights::open_with(source, cache, &CancelToken::new(), &mut Silent)
}

#[test]
fn every_hostile_archive_is_refused_with_its_reason_and_leaves_nothing() {
    let cases = [tars::cases(), zips::cases()].concat();
    assert!(cases.len() >= 45, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(case.file);
        fs::write(&path, &case.bytes).unwrap();
        let before = listing(dir.path());

        let target = dir.path().join("out");
        let said = archive::unpack(&path, &target, &case.limits, &CancelToken::new());
        match said {
            Err(Error::Archive { location, reason })
                if reason == case.says && location == path.display().to_string() => {}
            other => wrong.push(format!("{}: {other:?}, not {:?}", case.title, case.says)),
        }
        assert_eq!(listing(dir.path()), before, "{} left something", case.title);

        if case.limits == Limits::default() {
            let opened = open(path.to_str().unwrap(), &dir.path().join("cache"));
            assert!(opened.is_err(), "{} was opened as weights", case.title);
            assert_eq!(listing(dir.path()), before, "{} left something in the cache", case.title);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let titles: HashSet<_> = cases.iter().map(|case| case.title).collect();
    assert_eq!(titles.len(), cases.len(), "two cases have one title");
}

#[test]
fn the_valid_twins_are_opened() {
    use tars::{file, folder, gzip, member, pax, tar, zstandard};
    let w = &tensors::good()[..];
    let (long, name) = ("n".repeat(120), "model.safetensors");
    let deep = format!("{long}/{name}");
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(w.len() as u64);
    gnu.append_data(&mut header, &deep, w).unwrap();
    let mut zipped = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zipped.add_directory("m", zip::write::SimpleFileOptions::default()).unwrap();
    zipped
        .start_file(
            format!("m/{name}"),
            zip::write::SimpleFileOptions::default().unix_permissions(0o4755).large_file(true),
        )
        .unwrap();
    std::io::Write::write_all(&mut zipped, w).unwrap();
    let plain = tar(&[file(name, w)]);
    let behind = {
        let mut entry = zips::deflated(name, w);
        let sizes = [entry.crc, entry.packed, entry.size].map(u32::to_le_bytes).concat();
        (entry.flags, entry.local_packed) = (8, 0);
        entry.behind = [b"PK\x07\x08", &sizes[..]].concat();
        entry
    };

    let twins: Vec<(&str, &str, Vec<u8>)> = vec![
        ("a tar", "x.tar", plain.clone()),
        ("no extension", "x", plain.clone()),
        ("padded to a record", "x.tar", [plain.clone(), vec![0; 8192]].concat()),
        ("tar -C folder .", "x.tar", tar(&[folder("./"), file("./model.safetensors", w)])),
        ("a folder inside", "x.tar", tar(&[folder("m/"), file("m/model.safetensors", w)])),
        ("a folder behind its file", "x.tar", tar(&[file("m/model.safetensors", w), folder("m/")])),
        (
            "old folders",
            "x.tar",
            tar(&[member(b"m/", 0, b""), member(b"m/model.safetensors", 0, w)]),
        ),
        (
            "pax",
            "x.tar",
            tar(&[
                pax(&[("path", &deep), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "b")]),
                file("x", w),
            ]),
        ),
        ("pax size", "x.tar", tar(&[pax(&[("size", &w.len().to_string())]), file(name, w)])),
        ("pax for all", "x.tar", tar(&[member(b"pax", b'g', b"13 comment=a\n"), file(name, w)])),
        ("GNU", "x.tar", gnu.into_inner().unwrap()),
        ("gzip", "x.tar.gz", gzip(&plain)),
        ("gzip in pieces", "x.tgz", [gzip(&plain[..700]), gzip(&plain[700..])].concat()),
        ("gzip by content", "x", gzip(&plain)),
        ("zstd", "x.tar.zst", zstandard(&plain)),
        (
            "zstd in pieces",
            "x.TAR.ZST",
            [zstandard(&plain[..700]), zstandard(&plain[700..])].concat(),
        ),
        ("zstd of the widest window", "x.tar.zst", tars::zstandard_window(0x88, &plain)),
        ("a zip, stored", "x.zip", zips::zip(&[zips::stored(name, w)])),
        ("a zip, deflated", "x.zip", zips::zip(&[zips::stored("a", b""), zips::deflated(name, w)])),
        ("a zip with sizes behind", "x.zip", zips::zip(&[behind, zips::stored("z", b"z")])),
        ("a zip of the zip crate", "x.zip", zipped.finish().unwrap().into_inner()),
    ];
    for (title, file, bytes) in twins {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::write(&path, &bytes).unwrap();
        let cache = dir.path().join("cache");
        let weights =
            open(path.to_str().unwrap(), &cache).unwrap_or_else(|error| panic!("{title}: {error}"));
        let w = weights.get("w", &Device::Cpu).unwrap();
        assert_eq!(w.to_vec1::<f32>().unwrap(), [0.0, 0.0], "{title}");
        assert!(weights.path().starts_with(&cache), "{title}");

        // Again from the cache, without a byte written.
        let before = listing(&cache);
        let again = open(path.to_str().unwrap(), &cache).unwrap();
        assert_eq!((again.path(), listing(&cache)), (weights.path(), before), "{title}");
    }
}

#[test]
#[cfg(unix)]
fn modes_are_not_those_of_the_archive_and_empty_folders_are_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tar");
    let setuid =
        tars::edited(b"tool", b'0', 0, |block| block[100..108].copy_from_slice(b"0006777\0"));
    fs::write(&path, tars::tar(&[setuid, tars::folder("empty"), tars::folder("./")])).unwrap();
    let target = dir.path().join("out");
    archive::unpack(&path, &target, &Limits::default(), &CancelToken::new()).unwrap();
    let mode = |name| fs::metadata(target.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("tool") & 0o7133, 0, "{:o}", mode("tool"));
    assert_eq!(mode("") & 0o7777, 0o755);
    assert!(target.join("empty").is_dir());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

    let again =
        archive::unpack(&path, &target, &Limits::default(), &CancelToken::new()).unwrap_err();
    assert!(matches!(again, Error::File { action: "create", .. }), "{again}");
}

#[test]
fn a_caller_may_stop_skip_and_read_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.zip");
    let bytes = b"0123456789".repeat(100);
    fs::write(
        &path,
        zips::zip(&[
            zips::deflated("a", &bytes),
            zips::stored("b/", b""),
            zips::stored("b/c", &bytes),
        ]),
    )
    .unwrap();
    let mut seen = Vec::new();
    archive::read(&path, &Limits::default(), |member| {
        let mut some = [0; 3];
        if member.kind() == Kind::File {
            std::io::Read::read_exact(member, &mut some).unwrap();
        }
        seen.push((member.name().to_owned(), member.size(), some));
        Ok(())
    })
    .unwrap();
    let digits = *b"012";
    assert_eq!(
        seen,
        [("a".into(), 1000, digits), ("b".into(), 0, [0; 3]), ("b/c".into(), 1000, digits)]
    );

    let stopped = archive::read(&path, &Limits::default(), |_| Err(Error::Cancelled)).unwrap_err();
    assert!(matches!(stopped, Error::Cancelled), "{stopped}");
    let token = CancelToken::new();
    token.cancel();
    let target = dir.path().join("out");
    let cancelled = archive::unpack(&path, &target, &Limits::default(), &token).unwrap_err();
    assert!(matches!(cancelled, Error::Cancelled), "{cancelled}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_read_error_that_the_callback_swallows_is_returned() {
    let bytes = tars::tar(&[tars::file("a", &[1; 2000])]);
    let source = std::io::Cursor::new(&bytes[..1000]);
    let said = archive::read_from(source, "here", &Limits::default(), |member| {
        let _ = std::io::copy(member, &mut std::io::sink());
        Ok(())
    });
    assert_eq!(said.unwrap_err().to_string(), "archive `here`: is truncated: the tar ends early");
}

#[test]
fn every_hostile_safetensors_file_is_refused_with_its_reason_and_leaves_nothing() {
    let cases = tensors::cases();
    let mut wrong = Vec::new();
    for (title, bytes, says) in &cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, bytes).unwrap();
        let before = listing(dir.path());
        let said = open(path.to_str().unwrap(), &dir.path().join("cache"));
        match said {
            Err(Error::Weights { location, reason })
                if reason == *says && location == path.display().to_string() => {}
            other => wrong.push(format!("{title}: {other:?}, not {says:?}")),
        }
        assert_eq!(listing(dir.path()), before, "{title} left something");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_archive_of_hostile_weights_is_refused_and_leaves_nothing() {
    let cut = &tensors::good()[..40];
    let torch = zips::zip(&[
        zips::stored("archive/data.pkl", b"\x80\x02."),
        zips::stored("archive/data/0", b"1"),
    ]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "cut.tar",
            tars::tar(&[tars::file("model.safetensors", cut)]),
            "is truncated: its header has 54 bytes and 32 are there",
        ),
        (
            "none.tar",
            tars::tar(&[tars::file("README.md", b"hello")]),
            "holds no `.safetensors` file",
        ),
        ("none.zip", zips::zip(&[]), "holds no `.safetensors` file"),
        (
            "two.tar",
            tars::tar(&[tars::folder("a"), tars::folder("b")]),
            "holds no `.safetensors` file",
        ),
        (
            "torch.tar",
            tars::tar(&[tars::file("m/pytorch_model.bin", b"\x80\x02.")]),
            "`pytorch_model.bin` is a pickle",
        ),
        ("model.pt", torch.clone(), "`model.pt` is a pickle"),
        ("model.safetensors", torch.clone(), "`model.safetensors` is a pickle"),
        ("model.zip", torch, "`model.zip` is a pickle"),
        ("model.pth", b"whatever is in it".to_vec(), "`model.pth` is a pickle"),
        ("model.bin", Vec::new(), "`model.bin` is a pickle"),
        ("old", b"\x80\x04\x95.".to_vec(), "`old` is a pickle"),
    ];
    for (file, bytes, says) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::write(&path, bytes).unwrap();
        let before = listing(dir.path());
        let said = open(path.to_str().unwrap(), &dir.path().join("cache")).unwrap_err();
        let Error::Weights { location, reason } = &said else { panic!("{file}: {said:?}") };
        assert!(location.starts_with(&path.display().to_string()), "{file}: {said}");
        assert!(reason.starts_with(says), "{file}: {said}");
        assert_eq!(said.to_string().contains("hint: convert"), says.contains("pickle"), "{said}");
        assert_eq!(listing(dir.path()), before, "{file} left something");
    }
}

/// As a trainer meets them: the names go through errors and reports to a terminal.
#[test]
fn names_from_files_reach_no_terminal_unescaped() {
    #[derive(Default)]
    struct Notes(Vec<String>);
    impl cog_train::progress::Report for Notes {
        fn line(&mut self, _: &str) {}
        fn note(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
        fn metric(&mut self, _: &str, _: u64, _: f64) {}
        fn progress(&mut self, _: &str, _: u64, _: u64) {}
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("\x1b]0;evil\x07.safetensors");
    let slot = |name: &str, dtype: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,1]}}"#)
    };
    let header = format!("{{{}}}", slot(r"layer\u001b[2J", "BOOL"));
    fs::write(&file, tensors::safetensors(&header, 1)).unwrap();
    let mut notes = Notes::default();
    let source = file.to_str().unwrap();
    let weights = Weights::open_with(source, dir.path(), &CancelToken::new(), &mut notes).unwrap();
    let mut texts = notes.0;
    assert_eq!(texts.len(), 1);
    let device = Device::Cpu;
    texts.push(weights.get("layer\x1b[2J", &device).unwrap_err().to_string());
    texts.push(weights.get("layer\x1b[3J", &device).unwrap_err().to_string());
    fs::write(&file, tensors::safetensors("{}", 1)).unwrap();
    texts.push(open(source, dir.path()).unwrap_err().to_string());
    texts.push(open(&format!("{source}.gone"), dir.path()).unwrap_err().to_string());
    let index = dir.path().join("model.safetensors.index.json");
    for document in [
        r#"{"weight_map":{"a\u001b[2J":"../\u001b[2J"}}"#,
        r#"{"weight_map":{"a\u001b[2J":"\u001b[2J.safetensors"}}"#,
        r#"{"\u001b[2J":1}"#,
    ] {
        fs::write(&index, document).unwrap();
        let said = open(dir.path().to_str().unwrap(), dir.path()).unwrap_err();
        texts.push(said.to_string());
    }
    for text in texts {
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    }
}

#[test]
fn a_damaged_cache_of_an_archive_is_unpacked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, cache) = (dir.path().join("x.tar"), dir.path().join("cache"));
    let tar = tars::tar(&[
        tars::file("m/model.safetensors", &tensors::good()),
        tars::file("m/config.json", b"{}"),
    ]);
    fs::write(&path, &tar).unwrap();
    let path = path.to_str().unwrap();
    for source in [path.to_owned(), format!("{path}#sha256={}", server::sha256(&tar))] {
        let weights = open(&source, &cache).unwrap();
        let file = weights.files()[0].clone();
        let value =
            |weights: &Weights| weights.get("w", &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
        let mut altered = tensors::good();
        *altered.last_mut().unwrap() = 0x40;
        for damaged in [altered, tensors::good()[..30].to_vec(), Vec::new()] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(value(&open(&source, &cache).unwrap()), [0.0, 0.0]);
        }
        fs::remove_file(weights.path().join("config.json")).unwrap();
        let again = open(&source, &cache).unwrap();
        assert!(again.path().join("config.json").is_file());
        // A killed process left a copy.
        let left = cache.join("unpacked/.unpack-1b2c3d4e5f.partial");
        fs::create_dir(&left).unwrap();
        open(&source, &cache).unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(cache.join("unpacked")).unwrap().count(), 1);
    }
}

#[test]
fn hostile_addresses_are_refused_with_their_reason_and_leave_nothing() {
    use server::{Server, answer, sha256};
    let good = tensors::good();
    let (right, wrong) = (sha256(&good), sha256(b"other"));
    let server = Server::start(move |request, stream| match request.path.as_str() {
        "/evil.tar" => {
            answer(stream, "200 OK", &[], &tars::tar(&[tars::file("../evil", b"x")]));
        }
        "/evil.safetensors" => answer(stream, "200 OK", &[], &tensors::good()[..20]),
        "/page.safetensors" => answer(stream, "200 OK", &[], b"<html>please log in</html>"),
        "/model.pt" => answer(stream, "200 OK", &[], b"\x80\x02."),
        "/loop" => answer(stream, "302 Found", &["Location: /loop"], b""),
        "/good" | "/model.safetensors" => answer(stream, "200 OK", &[], &tensors::good()),
        "/good.tgz" => {
            let tar = tars::tar(&[tars::file("model.safetensors", &tensors::good())]);
            answer(stream, "200 OK", &[], &tars::gzip(&tar));
        }
        _ => answer(stream, "404 Not Found", &[], b""),
    });
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let url = |path: &str| server.url(path);
    let local = dir.path().join("w.safetensors");
    fs::write(&local, &good).unwrap();
    let local = local.display().to_string();
    let evil = [
        (url("evil.tar"), "member `../evil` has `..` in its name"),
        (url("evil.safetensors"), "is truncated: its header has 54 bytes and 12 are there"),
        (url("page.safetensors"), "is not a safetensors file"),
        (url("model.pt"), "`model.pt` is a pickle"),
        (url("loop"), "more than 10 redirects"),
        (url("nothing"), "the server answered 404 Not Found"),
        (format!("{}#sha256={wrong}", url("good")), "the content has the SHA-256 digest"),
        (format!("{}#sha256=beef", url("good")), "`#sha256=beef` is not a digest"),
        (format!("{local}#sha256={wrong}"), "has the SHA-256 digest"),
        (format!("{local}#sha256=\x1b[2J"), r"`#sha256=\u{1b}[2J` is not a digest"),
        (format!("file://{local}#sha256={wrong}"), "has the SHA-256 digest"),
        (format!("file://{local}.gone"), "no such file"),
        ("file://elsewhere/w.safetensors".to_owned(), "is a file of another machine"),
        ("s3://bucket/w.safetensors".to_owned(), "`s3://` cannot be fetched"),
        ("data:;base64,AAAA".to_owned(), "weights cannot be in a `data:` address"),
        (format!("{}#sha256={right}", dir.path().display()), "is a folder, which has no digest"),
        (String::new(), "no weights are named"),
        ("/dev/null".to_owned(), "is neither a file nor a folder"),
    ];
    let before = listing(dir.path());
    for (source, says) in &evil {
        let said = open(source, &cache).unwrap_err().to_string();
        assert!(said.contains(says), "{source}: {said}");
        assert!(!said.contains("cache"), "{source}: {said}");
        assert_eq!(listing(dir.path()), before, "{source} left something");
    }

    for source in [
        url("good"),
        url("good.tgz"),
        format!("{}#sha256={right}", url("model.safetensors")),
        format!("{local}#sha256={right}"),
        format!("file://{local}#sha256={}", right.to_uppercase()),
    ] {
        let weights = open(&source, &cache).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["w"], "{source}");
    }
}
