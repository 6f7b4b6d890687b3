use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use proptest::prelude::*;

use super::{Format, Kind, Limits, read_from};

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
