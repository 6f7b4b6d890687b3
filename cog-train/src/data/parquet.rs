//! Rows from a Parquet file. The feature `parquet` has it.

mod decode;
mod encode;
mod schema;
mod time;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use serde::de::DeserializeOwned;

use self::encode::Encoder;
use super::dataset::{Dataset, missing};
use super::hashed_file::HashingReader;
use super::problems::Problems;
use crate::error::Error;
use crate::progress::CancelToken;

/// A Parquet file. The columns' names are the fields of `T`.
///
/// | Parquet | deserialized as |
/// |---|---|
/// | BOOLEAN, INT and UINT of 8 to 64 bits | `bool`, integers |
/// | FLOAT16, FLOAT, DOUBLE | floats, NaN and infinities among them; a [`serde_json::Value`] has null for these |
/// | STRING, ENUM, JSON | text |
/// | DECIMAL | text with the digits of its scale: `-7`, `0.50` |
/// | DATE | text: `2024-01-02` |
/// | TIME | text with 3, 6 or 9 digits by its unit: `03:04:05.678901` |
/// | TIMESTAMP | text: `2024-01-02 03:04:05.678901`, and ` +00:00` behind it where it is adjusted to UTC |
/// | INT96 | text: `2024-01-02 03:04:05.678901000` |
/// | UUID | text of 8-4-4-4-12 digits |
/// | `BYTE_ARRAY`, `FIXED_LEN_BYTE_ARRAY` | a list of numbers, or bytes where `T` takes bytes |
/// | LIST, repeated fields | a list |
/// | MAP | a map |
/// | groups | a struct or a map |
/// | null | `None` |
///
/// Uncompressed files and those with Zstandard, Snappy or gzip can be read; LZ4, `LZ4_RAW`, LZO and BROTLI cannot, and
/// neither can columns of the type INTERVAL, or two columns of one name.
///
/// A Parquet file can only be read by row groups, and one row group may be a large part of it, which does not suit rows in
/// any order. So opening it decodes it once, row by row, into an unlinked temporary file (in `TMPDIR`; about as large as
/// the rows are as JSON), from which rows are read by their position. It takes 8 bytes of memory per row.
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
    /// The offsets of the rows in `rows`, and its end.
    offsets: Vec<u64>,
    row: PhantomData<fn() -> T>,
}

/// The decoded rows of a file.
struct Spilled {
    rows: File,
    offsets: Vec<u64>,
}

impl<T: DeserializeOwned + Send + 'static> Parquet<T> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every row that is no `T`, and for a file that cannot be decoded, has no rows, or has columns
    /// that cannot be read; [`Error::File`] when it cannot be read, or the temporary file cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &CancelToken::new())
    }

    /// Does the same as [`Parquet::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Parquet::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        let path = path.as_ref();
        let digest = HashingReader::open(path, cancel)?.drain()?.digest();
        let name = path.display().to_string();
        let fail = |reason: String| Error::Data { location: name.clone(), reason };
        let file = File::open(path).map_err(Error::file("read", path))?;
        // The decoder is not written for broken files alone, and some of them make it panic.
        let decoded = catch_unwind(AssertUnwindSafe(|| spill::<T>(file, &name, cancel)));
        let Spilled { rows, offsets } =
            decoded.unwrap_or_else(|_| Err(fail("it cannot be decoded".to_owned())))?;
        if HashingReader::open(path, cancel)?.drain()?.digest() != digest {
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
        decode::row(&bytes).map_err(|error| Error::Data {
            location: self.location(index),
            reason: error.to_string(),
        })
    }

    fn location(&self, index: usize) -> String {
        format!("{} row {}", self.name, index + 1)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.digest.clone())
    }
}

/// Decodes all rows into a temporary file; each of them must be a `T`.
fn spill<T: DeserializeOwned>(
    file: File,
    name: &str,
    cancel: &CancelToken,
) -> Result<Spilled, Error> {
    let fail = |reason: String| Error::Data { location: name.to_owned(), reason };
    let broken = |error: ParquetError| fail(format!("it cannot be decoded: {error}"));
    let folder = std::env::temp_dir();
    let rows = tempfile::tempfile().map_err(Error::file("create", &folder))?;
    let mut writer = BufWriter::with_capacity(1 << 16, rows);
    let (mut offsets, mut offset, mut problems) = (vec![0], 0, Problems::default());
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let columns = schema::columns(reader.metadata()).map_err(fail)?;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(broken)?;
        let mut encoder = Encoder::new(&columns, &*group).map_err(broken)?;
        for row in RowIter::from_row_group(None, &*group).map_err(broken)? {
            cancel.check()?;
            let number = offsets.len();
            let row = row.map_err(|error| {
                fail(format!("row {number} and what follows cannot be decoded: {error}"))
            })?;
            let bytes = match encoder.row(&row) {
                Ok(bytes) => bytes,
                Err(reason) => {
                    problems.add(format!("row {number}"), &reason);
                    &[]
                }
            };
            if !bytes.is_empty()
                && let Err(error) = decode::row::<T>(bytes)
            {
                problems.add(format!("row {number}"), &error.to_string());
            }
            writer.write_all(bytes).map_err(Error::file("write", &folder))?;
            offset += bytes.len() as u64;
            offsets.push(offset);
        }
    }
    problems.finish(name)?;
    if offsets.len() == 1 {
        return Err(fail("it has no rows".to_owned()));
    }
    let rows =
        writer.into_inner().map_err(|error| Error::file("write", &folder)(error.into_error()))?;
    Ok(Spilled { rows, offsets })
}

#[cfg(test)]
mod tests;
