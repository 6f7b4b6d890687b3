//! Rows from a Parquet file. The feature `parquet` has it.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::dataset::{Dataset, missing};
use super::held::Pass;
use super::problems::Problems;
use crate::error::Error;
use crate::progress::CancelToken;

/// A Parquet file. The columns' names are the fields of `T`; bytes are lists of numbers, dates, times and decimals are
/// texts.
///
/// A Parquet file can only be read group by group, and one group may be a large part of it, which does not go together
/// with rows in any order. So opening it decodes it once, row by row, into a nameless temporary file (in `TMPDIR`; about
/// as large as the rows are as JSON), from which rows are read where they stand. The memory that it takes is 8 bytes a
/// row.
///
/// ```no_run
/// use cog_train::data::{Dataset, Parquet};
///
/// #[derive(serde::Deserialize)]
/// struct Text {
///     text: String,
/// }
///
/// let texts = Parquet::<Text>::open("train.parquet")?;
/// println!("{}", texts.item(0)?.text);
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct Parquet<T> {
    name: String,
    digest: String,
    rows: File,
    /// Where rows begin in `rows`, and its end.
    offsets: Vec<u64>,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + 'static> Parquet<T> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every row that is no `T`, and for a file that cannot be decoded or has no rows;
    /// [`Error::File`] when it cannot be read, or the temporary file cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &CancelToken::new())
    }

    /// [`Parquet::open`], which can be cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Parquet::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        let path = path.as_ref();
        let digest = digest(path, cancel)?;
        let name = path.display().to_string();
        let fail = |reason: String| Error::Data { place: name.clone(), reason };
        let file = File::open(path).map_err(Error::file("read", path))?;
        // The decoder is not written for broken files alone, and some of them make it panic.
        let decoded = catch_unwind(AssertUnwindSafe(|| spill::<T>(file, &name, cancel)));
        let (rows, offsets) =
            decoded.unwrap_or_else(|_| Err(fail("it cannot be decoded".to_owned())))?;
        if self::digest(path, cancel)? != digest {
            return Err(fail("it changed while it was read".to_owned()));
        }
        Ok(Self { name, digest, rows, offsets, row: PhantomData })
    }
}

impl<T: DeserializeOwned + Send + 'static> Dataset for Parquet<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn item(&self, index: usize) -> Result<T, Error> {
        let (Some(&start), Some(&end)) = (self.offsets.get(index), self.offsets.get(index + 1))
        else {
            return Err(missing(&self.name, index, self.len()));
        };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        self.rows
            .read_exact_at(&mut bytes, start)
            .map_err(Error::file("read", Path::new(&self.name)))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Data { place: self.place(index), reason: error.to_string() })
    }

    fn place(&self, index: usize) -> String {
        format!("{} row {}", self.name, index + 1)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.digest.clone())
    }
}

/// Reads all of a file for its digest.
fn digest(path: &Path, cancel: &CancelToken) -> Result<String, Error> {
    let mut pass = Pass::open(path, cancel)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match pass.read(&mut buffer) {
            Ok(0) => return Ok(pass.end()?.digest()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(pass.fault(error)),
        }
    }
}

/// Decodes all rows into a temporary file of JSON values, each of them a `T`.
fn spill<T: DeserializeOwned>(
    file: File,
    name: &str,
    cancel: &CancelToken,
) -> Result<(File, Vec<u64>), Error> {
    let fail = |reason: String| Error::Data { place: name.to_owned(), reason };
    let broken =
        |error: ::parquet::errors::ParquetError| fail(format!("it cannot be decoded: {error}"));
    let folder = std::env::temp_dir();
    let rows = tempfile::tempfile().map_err(Error::file("create", &folder))?;
    let mut writer = BufWriter::with_capacity(1 << 16, rows);
    let (mut offsets, mut offset, mut problems) = (vec![0], 0, Problems::default());
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    for (number, row) in reader.get_row_iter(None).map_err(broken)?.enumerate() {
        cancel.check()?;
        let json = serde_json::to_vec(&object(&row.map_err(broken)?))
            .map_err(|error| fail(error.to_string()))?;
        if let Err(error) = serde_json::from_slice::<T>(&json) {
            let text = error.to_string();
            // The line and the column are those of the temporary file.
            let text = text.split(" at line 1 column").next().unwrap_or_default();
            problems.add(format!("row {}", number + 1), text);
        }
        writer.write_all(&json).map_err(Error::file("write", &folder))?;
        offset += json.len() as u64;
        offsets.push(offset);
    }
    problems.end(name)?;
    if offsets.len() == 1 {
        return Err(fail("it has no rows".to_owned()));
    }
    let rows =
        writer.into_inner().map_err(|error| Error::file("write", &folder)(error.into_error()))?;
    Ok((rows, offsets))
}

fn object(row: &Row) -> Value {
    let columns = row.get_column_iter();
    Value::Object(columns.map(|(name, field)| (name.clone(), value(field))).collect())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        // What is not finite becomes null.
        Field::Float16(value) => f32::from(*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(value) => value.as_str().into(),
        Field::Bytes(value) => value.data().into(),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let key = |key: &Field| match value(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let pairs = map.entries().iter();
            Value::Object(
                pairs.map(|(name, field)| (key(name), value(field))).collect::<Map<_, _>>(),
            )
        }
        // Dates, times and decimals.
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Text {
        text: String,
        score: i32,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Small {
        #[expect(dead_code, reason = "only its range is looked at")]
        score: u8,
    }

    /// Two groups of rows.
    fn write(path: &Path, groups: [&[(&str, i32)]; 2]) {
        let schema = "message schema { REQUIRED BYTE_ARRAY text (UTF8); REQUIRED INT32 score; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        for rows in groups {
            let mut group = writer.next_row_group().unwrap();
            let texts: Vec<ByteArray> = rows.iter().map(|(text, _)| (*text).into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            column.close().unwrap();
            let scores: Vec<i32> = rows.iter().map(|(_, score)| *score).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&scores, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }

    #[test]
    fn rows_of_all_groups_are_read_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, [&[("a", 1), ("\u{e4}\n", -2)], &[("", 3)]]);
        let rows = Parquet::<Text>::open(&path).unwrap();
        assert_eq!(rows.len(), 3);
        for (index, text, score) in [(2, "", 3), (0, "a", 1), (1, "\u{e4}\n", -2)] {
            assert_eq!(rows.item(index).unwrap(), Text { text: text.to_owned(), score });
        }
        assert!(rows.place(2).ends_with("a.parquet row 3"));
        assert!(rows.item(3).is_err());
        assert_eq!(rows.digest().unwrap().len(), 64);
    }

    #[test]
    fn bad_rows_and_bad_files_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, [&[("a", 1), ("b", -2)], &[("c", 300)]]);
        let error = Parquet::<Small>::open(&path).err().unwrap().to_string();
        assert!(
            error.ends_with(
                "2 rows cannot be used\n  row 2: invalid value: integer `-2`, expected u8\n  \
                 row 3: invalid value: integer `300`, expected u8"
            ),
            "{error}"
        );
        let bytes = std::fs::read(&path).unwrap();
        for cut in [4, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let error = Parquet::<Text>::open(&path).err().unwrap().to_string();
            assert!(error.contains("a.parquet`: it cannot be decoded: "), "{error}");
        }
        let cancel = CancelToken::new();
        cancel.cancel();
        assert!(matches!(Parquet::<Text>::open_with(&path, &cancel), Err(Error::Cancelled)));
    }

    /// A byte changed anywhere gives an error or rows, and never ends the process.
    #[test]
    fn a_broken_file_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, [&[("a", 1), ("b", -2)], &[("c", 300)]]);
        let bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x55;
            std::fs::write(&path, &broken).unwrap();
            let _any = Parquet::<Text>::open(&path);
        }
    }
}
