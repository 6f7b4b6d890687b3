//! Data in an archive is the data beside it: every kind of archive, read by every reader.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use cog_train::data::{
    Csv, Dataset, ImageFolder, Jsonl, TextLines, TextWindows, only_file, unpacked,
};
use cog_train::{CancelToken, Error};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

#[derive(Debug, serde::Deserialize)]
struct Row {
    #[expect(dead_code, reason = "seen by `Debug`")]
    text: String,
    #[expect(dead_code, reason = "seen by `Debug`")]
    score: f64,
}

/// A picture with a gradient, so that every row of it differs.
fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let shade = |x: u32, y: u32| u8::try_from((7 * x + 31 * y) % 256).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    match format {
        ImageFormat::Jpeg => GrayImage::from_fn(width, height, |x, y| Luma([shade(x, y)]))
            .write_to(&mut bytes, format),
        _ => RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, y), shade(y, x), 9]))
            .write_to(&mut bytes, format),
    }
    .unwrap();
    bytes.into_inner()
}

type Files = Vec<(&'static str, Vec<u8>)>;

/// The files of an archive, with one that macOS adds.
fn jsonl() -> Files {
    let rows = "{\"text\": \"\u{e4}\\n\", \"score\": 1}\n\n{\"text\": \"\", \"score\": -0.5}\n";
    vec![("set/train.jsonl", rows.into()), ("__MACOSX/set/._train.jsonl", b"\0".to_vec())]
}

fn csv() -> Files {
    let rows = "text,score\r\n\"a, \"\"b\"\"\nc\",1e3\r\n\u{4e2d},2\r\n";
    vec![("table.csv", rows.into()), ("README", b"not a row".to_vec())]
}

fn text() -> Files {
    vec![("books/one.txt", "first line\n\n\u{1f600} second\nthe end".into())]
}

fn pictures() -> Files {
    vec![
        ("pets/cat/a.png", picture(5, 3, ImageFormat::Png)),
        ("pets/cat/b.jpg", picture(16, 9, ImageFormat::Jpeg)),
        ("pets/dog/c.png", picture(1, 40, ImageFormat::Png)),
        ("pets/dog/.DS_Store", b"x".to_vec()),
    ]
}

#[cfg(feature = "parquet")]
fn table() -> Files {
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message rows { REQUIRED BYTE_ARRAY text (UTF8); REQUIRED DOUBLE score; }";
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts: Vec<ByteArray> = ["\u{e4}", "", "c"].map(ByteArray::from).into();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[1.0, -0.5, 1e300], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    vec![("data/rows.parquet", bytes)]
}

fn tar(files: &Files, into: impl Write) -> impl Write {
    let mut builder = tar::Builder::new(into);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip(files: &Files, method: CompressionMethod, path: &Path) {
    let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}

/// The archives of `files`, by every way of packing them.
fn pack(files: &Files, dir: &Path) -> Vec<PathBuf> {
    let at = |name: &str| dir.join(name);
    drop(tar(files, File::create(at("a.tar")).unwrap()));
    let gz = GzEncoder::new(Vec::new(), Compression::default());
    let mut bytes = Vec::new();
    drop(tar(files, &mut bytes));
    let packed = |mut gz: GzEncoder<Vec<u8>>| {
        gz.write_all(&bytes).unwrap();
        gz.finish().unwrap()
    };
    let gz = packed(gz);
    fs::write(at("b.tar.gz"), &gz).unwrap();
    fs::write(at("c.tgz"), &gz).unwrap();
    fs::write(at("d.tar.zst"), zstd::encode_all(&bytes[..], 3).unwrap()).unwrap();
    zip(files, CompressionMethod::Stored, &at("e.zip"));
    zip(files, CompressionMethod::Deflated, &at("f.zip"));
    ["a.tar", "b.tar.gz", "c.tgz", "d.tar.zst", "e.zip", "f.zip"].map(at).into()
}

/// All rows, and the digest of the data.
fn read<D: Dataset<Item: Debug>>(rows: &D) -> (Vec<String>, String) {
    let each = (0..rows.len()).map(|at| format!("{:?}", rows.item(at).unwrap()));
    (each.collect(), rows.digest().unwrap())
}

type Reader = fn(&Path) -> (Vec<String>, String);

#[test]
fn rows_from_an_archive_are_those_of_its_files() {
    let by_file: [(&str, Files, usize, Reader); 5] = [
        ("JSONL", jsonl(), 2, |dir| {
            read(&Jsonl::<Row>::open(only_file(dir, &["jsonl"]).unwrap()).unwrap())
        }),
        ("CSV", csv(), 2, |dir| {
            read(&Csv::<Row>::open(only_file(dir, &["csv"]).unwrap()).unwrap())
        }),
        ("lines", text(), 3, |dir| {
            read(&TextLines::open(only_file(dir, &["txt"]).unwrap()).unwrap())
        }),
        ("windows", text(), 4, |dir| {
            read(&TextWindows::open(only_file(dir, &["txt"]).unwrap(), 8, 8).unwrap())
        }),
        ("pictures", pictures(), 3, |dir| read(&ImageFolder::open(dir).unwrap())),
    ];
    #[cfg(feature = "parquet")]
    let by_file = by_file.into_iter().chain([("Parquet", table(), 3, parquet as Reader)]);
    let mut tried = 0;
    for (what, files, count, reader) in by_file {
        let temp = tempfile::tempdir().unwrap();
        let plain = temp.path().join("plain");
        for (name, content) in &files {
            let path = plain.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let cancel = CancelToken::new();
        // The folder that the readers see is the one around the classes, in an archive as on the disk.
        let root = if what == "pictures" { plain.join("pets") } else { plain.clone() };
        fs::remove_dir_all(plain.join("__MACOSX")).ok();
        let expected = reader(&root);
        assert_eq!(expected.0.len(), count, "{what}: {:?}", expected.0);
        for archive in pack(&files, temp.path()) {
            let folder = unpacked(&archive, &temp.path().join("cache"), &cancel).unwrap();
            assert_eq!(reader(&folder), expected, "{what} from {}", archive.display());
            tried += 1;
        }
    }
    assert!(tried >= 30, "{tried}");
}

#[cfg(feature = "parquet")]
fn parquet(dir: &Path) -> (Vec<String>, String) {
    use cog_train::data::Parquet;
    read(&Parquet::<Row>::open(only_file(dir, &["parquet"]).unwrap()).unwrap())
}

/// The location of a bad row is its line in the file in the archive.
#[test]
fn a_bad_row_in_an_archive_is_reported_with_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let files: Files =
        vec![("set/train.jsonl", b"{\"text\": \"a\", \"score\": 1}\n{\"text\"\n".to_vec())];
    for archive in pack(&files, temp.path()) {
        let folder = unpacked(&archive, &temp.path().join("cache"), &CancelToken::new()).unwrap();
        let file = only_file(&folder, &["jsonl"]).unwrap();
        let error = Jsonl::<Row>::open(&file).err().unwrap().to_string();
        assert!(error.contains("set/train.jsonl`: 1 row cannot be used\n  line 2: "), "{error}");
    }
}

/// An archive that ends early is refused, whichever byte is the last, and leaves no folder that looks like data. A tar
/// without its end marker alone is whole.
#[test]
fn an_archive_that_ends_early_is_refused_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let files: Files = vec![("set/train.jsonl", b"{\"text\": \"a\", \"score\": 1}\n".repeat(40))];
    let whole = files[0].1.len();
    for archive in pack(&files, temp.path()) {
        let bytes = fs::read(&archive).unwrap();
        let cuts = [1, 2, bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 9];
        for cut in cuts {
            let name = archive.file_name().unwrap();
            let dir = temp.path().join(format!("cut {cut}"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(name), &bytes[..cut]).unwrap();
            let cache = dir.join("cache");
            match unpacked(&dir.join(name), &cache, &CancelToken::new()) {
                Ok(folder) => {
                    let file = only_file(&folder, &["jsonl"]).unwrap();
                    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
                    let tar = name.to_str().unwrap().contains("tar") || name == "c.tgz";
                    assert!(tar && size == whole, "{} cut at {cut}", archive.display());
                }
                Err(error) => {
                    assert!(matches!(error, Error::Archive { .. } | Error::Data { .. }), "{error}");
                    let left: Vec<_> = fs::read_dir(&cache).map_or(Vec::new(), Iterator::collect);
                    assert!(left.is_empty(), "{} cut at {cut}: {left:?}", archive.display());
                }
            }
        }
    }
}

/// Text formats have one rule for the ends of lines, in an archive as beside it.
#[test]
fn rows_are_independent_of_the_ends_of_lines() {
    let temp = tempfile::tempdir().unwrap();
    let row = |text: &str| format!("{{\"text\": \"{text}\", \"score\": 1}}");
    let (jsonl, csv) = ([row("a"), row("b")], ["text,score", "a,1", "b,1"]);
    let mut seen = Vec::new();
    for (name, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
        let dir = temp.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.jsonl"), jsonl.join(end)).unwrap();
        fs::write(dir.join("a.csv"), csv.join(end) + end).unwrap();
        fs::write(dir.join("a.txt"), ["a", "", "b", ""].join(end)).unwrap();
        let rows = [
            read(&Jsonl::<Row>::open(dir.join("a.jsonl")).unwrap()).0,
            read(&Csv::<Row>::open(dir.join("a.csv")).unwrap()).0,
            read(&TextLines::open(dir.join("a.txt")).unwrap()).0,
        ];
        assert!(rows.iter().all(|rows| rows.len() == 2), "{name}: {rows:?}");
        seen.push(rows);
    }
    assert!(seen.iter().all(|rows| *rows == seen[0]));
}
