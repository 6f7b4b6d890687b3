use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use proptest::prelude::*;

use super::{Format, Kind, Limits, read_from, unpack, unpack_cached};
use crate::progress::CancelToken;

type Files = BTreeMap<String, Vec<u8>>;

fn files_of(bytes: &[u8]) -> Files {
    let mut files = Files::new();
    read_from(Cursor::new(bytes), "memory", &Limits::default(), |member| {
        let mut content = Vec::new();
        member.read_to_end(&mut content).expect("a good member");
        if member.kind() == Kind::File {
            files.insert(member.name().to_owned(), content);
        }
        Ok(())
    })
    .expect("a good archive");
    files
}

/// Files in folders; upper-case names are files and lower-case ones folders, so none is both.
fn any_files() -> impl Strategy<Value = Files> {
    let name = "([a-z\u{e4}\u{4e2d} .]{0,20}[a-z]/){0,4}[A-Z0-9_]{1,90}";
    prop::collection::btree_map(name, prop::collection::vec(any::<u8>(), 0..1500), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the tar crate writes, long names and all, is what is read, under each packing.
    #[test]
    fn a_tar_of_another_writer_is_read(files in any_files()) {
        let mut writer = ::tar::Builder::new(Vec::new());
        for (name, content) in &files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o4755);
            writer.append_data(&mut header, name, &content[..]).unwrap();
        }
        let tar = writer.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        for bytes in [&tar, &gzip.finish().unwrap(), &zstd::encode_all(&tar[..], 1).unwrap()] {
            prop_assert_eq!(&files_of(bytes), &files);
        }
    }

    /// What the zip crate writes is what is read: stored or deflated, with plain or wide sizes.
    #[test]
    fn a_zip_of_another_writer_is_read(files in any_files(), deflate: bool, large: bool) {
        let method = if deflate { ::zip::CompressionMethod::Deflated } else { ::zip::CompressionMethod::Stored };
        let options = ::zip::write::SimpleFileOptions::default().compression_method(method).large_file(large);
        let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in &files {
            writer.start_file(name.as_str(), options).unwrap();
            writer.write_all(content).unwrap();
        }
        prop_assert_eq!(files_of(writer.finish().unwrap().get_ref()), files);
    }

    /// One byte changed anywhere never gives other content under a name: a zip has sums over all that counts, and what
    /// it has no sum over must contradict itself.
    #[test]
    fn a_changed_byte_never_changes_a_zips_content(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let content = b"some content, some content, some content".to_vec();
        let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("a/b", ::zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
        let mut bytes = writer.finish().unwrap().into_inner();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let mut whole = Vec::new();
        let done = read_from(Cursor::new(&bytes), "memory", &Limits::default(), |member| {
            let mut read = Vec::new();
            if member.read_to_end(&mut read).is_ok() {
                whole.push((member.name().to_owned(), read));
            }
            Ok(())
        });
        if done.is_ok() {
            prop_assert_eq!(whole, [("a/b".to_owned(), content)]);
        }
    }
}

#[test]
fn formats_are_known_by_name_and_by_content() {
    for (name, format) in [
        ("a.tar", Some(Format::Tar)),
        ("a.TAR.GZ", Some(Format::TarGz)),
        ("a.b.tgz", Some(Format::TarGz)),
        ("a.tar.zst", Some(Format::TarZst)),
        ("a.zip", Some(Format::Zip)),
        ("a.gz", None),
        ("tar", None),
        ("a.zip.txt", None),
    ] {
        assert_eq!(Format::of_name(name), format, "{name}");
    }
    assert_eq!(Format::of_content(b"PK\x05\x06"), Some(Format::Zip));
    assert_eq!(Format::of_content(b"PK\x07\x08"), None);
    assert_eq!(Format::of_content(&[0; 511]), None);
    assert_eq!(Format::of_content(&[0; 512]), Some(Format::Tar));
}

/// A tar of empty files.
fn tar_of(names: &[&str]) -> Vec<u8> {
    let mut writer = ::tar::Builder::new(Vec::new());
    for name in names {
        writer.append_data(&mut ::tar::Header::new_gnu(), name, &b""[..]).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn a_folder_counts_once_whether_implied_or_a_member_or_both() {
    let mut writer = ::tar::Builder::new(Vec::new());
    let mut folder = ::tar::Header::new_gnu();
    folder.set_entry_type(::tar::EntryType::Directory);
    writer.append_data(&mut ::tar::Header::new_gnu(), "a/b/one", &b""[..]).unwrap();
    writer.append_data(&mut folder.clone(), "a/b", &b""[..]).unwrap();
    writer.append_data(&mut folder, "a/b/c", &b""[..]).unwrap();
    writer.append_data(&mut ::tar::Header::new_gnu(), "a/b/c/two", &b""[..]).unwrap();
    let tar = writer.into_inner().unwrap();
    // a, a/b, a/b/c, and two files.
    for (members, fits) in [(5, true), (4, false)] {
        let limits = Limits { members, ..Limits::default() };
        assert_eq!(read_from(Cursor::new(&tar), "memory", &limits, |_| Ok(())).is_ok(), fits);
    }
}

#[test]
fn small_files_count_as_what_they_take_on_a_disk() {
    let names: Vec<String> = (0..20).map(|number| format!("{number}/f")).collect();
    let tar = tar_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // 40 files and folders of 4096 bytes.
    let ratio = (40 * 4096_u64).div_ceil(tar.len() as u64);
    for (ratio, fits) in [(ratio, true), (ratio - 1, false)] {
        let limits = Limits { ratio, ratio_free: 0, ..Limits::default() };
        assert_eq!(read_from(Cursor::new(&tar), "memory", &limits, |_| Ok(())).is_ok(), fits);
    }
}

#[test]
fn a_few_kilobytes_cannot_make_twenty_thousand_folders() {
    let chain = |top: u32| format!("{top}/{}f", "d/".repeat(62));
    let names: Vec<String> = (0..300).map(chain).collect();
    let tar = tar_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut members = 0;
    let error = read_from(Cursor::new(&gzip), "memory", &Limits::default(), |_| {
        members += 1;
        Ok(())
    })
    .unwrap_err()
    .to_string();
    let says = "makes 16385 files and folders, which take more than 200 times its own ";
    assert!(error.contains(says), "{error}");
    // Of 64 files and folders each: the one that goes over the limit was not handed out.
    assert_eq!(members, 16384 / 64);
}

/// Names and contents of what is in a folder.
fn tree(folder: &Path) -> Files {
    let mut found = Files::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.insert(format!("{name}/"), Vec::new());
            found
                .extend(tree(&path).into_iter().map(|(inner, it)| (format!("{name}/{inner}"), it)));
        } else {
            found.insert(name, fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn a_cached_folder_that_differs_from_its_archive_is_unpacked_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar");
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let target = cache.join("digest");
    let mut writer = ::tar::Builder::new(Vec::new());
    for (name, content) in [("a", vec![1; 100_000]), ("b/c/d", b"deep".to_vec()), ("e", vec![])] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        writer.append_data(&mut header, name, &content[..]).unwrap();
    }
    fs::write(&archive, writer.into_inner().unwrap()).unwrap();
    let cached = || {
        unpack_cached(&archive, &target, &Limits::default(), &CancelToken::new()).unwrap();
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "something was left");
        tree(&target)
    };
    let good = cached();
    assert_eq!(good["b/c/d"], b"deep");
    let untouched = fs::metadata(target.join("a")).unwrap().modified().unwrap();
    assert_eq!(cached(), good);
    assert_eq!(fs::metadata(target.join("a")).unwrap().modified().unwrap(), untouched);

    let flip = |at: usize| {
        let mut bytes = vec![1; 100_000];
        bytes[at] = 2;
        fs::write(target.join("a"), bytes).unwrap();
        // As someone does who wants it not to be seen.
        fs::File::open(target.join("a")).unwrap().set_modified(untouched).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 10] = [
        ("first byte", &|| flip(0)),
        ("last byte", &|| flip(99_999)),
        ("longer", &|| fs::write(target.join("b/c/d"), "deeper").unwrap()),
        ("shorter", &|| fs::write(target.join("b/c/d"), "dee").unwrap()),
        ("missing", &|| fs::remove_file(target.join("e")).unwrap()),
        ("added", &|| fs::write(target.join("b/model.safetensors"), "x").unwrap()),
        ("added folder", &|| fs::create_dir(target.join("b/more")).unwrap()),
        ("a folder for a file", &|| {
            fs::remove_file(target.join("e")).unwrap();
            fs::create_dir(target.join("e")).unwrap();
        }),
        ("emptied", &|| {
            fs::remove_dir_all(&target).unwrap();
            fs::create_dir(&target).unwrap();
        }),
        ("a file for the whole", &|| {
            fs::remove_dir_all(&target).unwrap();
            fs::write(&target, "x").unwrap();
        }),
    ];
    for (title, damage) in damages {
        damage();
        assert_eq!(cached(), good, "{title}");
    }
    #[cfg(unix)]
    {
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(target.join("b"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, target.join("b")).unwrap();
        assert_eq!(cached(), good, "a link");
        assert!(!target.join("b").is_symlink());
    }
}

#[test]
fn unpacking_removes_what_a_killed_process_left_beside_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar");
    fs::write(&archive, tar_of(&["a"])).unwrap();
    let cache = dir.path().join("cache");
    for number in 0..2 {
        // Without a lock, as after a kill.
        fs::create_dir_all(cache.join(".unpack-1b2c3d4e5f.partial/m")).unwrap();
        fs::write(cache.join(".unpack-1b2c3d4e5f.partial/m/x"), "half").unwrap();
        let target = cache.join("out");
        let done = match number {
            0 => unpack(&archive, &target, &Limits::default(), &CancelToken::new()),
            _ => unpack_cached(&archive, &target, &Limits::default(), &CancelToken::new()),
        };
        done.unwrap();
        assert_eq!(tree(&cache).into_keys().collect::<Vec<_>>(), ["out/", "out/a"]);
    }
}
