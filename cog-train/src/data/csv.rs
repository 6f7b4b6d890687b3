//! Rows from a CSV file with a header: RFC 4180, with quoted fields that may hold line breaks, and with records that end in
//! `\n`, `\r\n` or a lone `\r`.

mod record;

use std::marker::PhantomData;
use std::path::Path;

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde::de::DeserializeOwned;

use self::record::next_record;
use super::dataset::Dataset;
use super::hashed_file::HashingReader;
use super::index::{Index, Indexed};
use super::lines::{BOM, LINE, skip_mark, too_long};
use super::problems::Problems;
use crate::error::{Error, counted};
use crate::progress::CancelToken;

/// A CSV file, or one with tabs when its name ends in `.tsv`. The header's names are the fields of `T`.
///
/// `\n`, `\r\n` and a lone `\r` each end a row, except within quotes, and a file may mix them. Blank lines are no rows.
/// Everything else is text as it stands: spaces around fields, NUL bytes, a byte order mark that is not at the start of
/// the file.
///
/// Opening it reads it once and parses every row; after that, rows are read from the file by their position. It takes 8
/// bytes of memory per row.
///
/// ```
/// use cog_train::data::{Csv, Dataset};
///
/// #[derive(serde::Deserialize)]
/// struct House {
///     rooms: u32,
///     price: f32,
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("houses.csv");
/// # std::fs::write(&path, "rooms,price\n3,120.5\n")?;
/// let houses = Csv::<House>::open(&path)?;
/// assert_eq!(houses.item(0)?.price, 120.5);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Csv<T> {
    rows: Indexed,
    form: Form,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + 'static> Csv<T> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every row that is not UTF-8, has more or fewer fields than the header, is no `T`, does not
    /// end its quotes or is longer than 64 MiB, and for a file without rows; [`Error::File`] when it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &CancelToken::new())
    }

    /// Does the same as [`Csv::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Csv::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        Self::open_checked(path, cancel, |_| Ok(()))
    }

    /// Does the same as [`Csv::open_with`] and validates each row by `check`, whose errors are reported with the others.
    ///
    /// # Errors
    ///
    /// Those of [`Csv::open_with`].
    pub fn open_checked(
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        mut check: impl FnMut(&T) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let tabs = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("tsv"));
        let mut form = Form { delimiter: if tabs { b'\t' } else { b',' }, header: None };
        let mut reader = HashingReader::open(path, cancel)?.buffered();
        let name = reader.get_ref().name().to_owned();
        let (mut index, mut problems) = (Index::default(), Problems::default());
        let (mut offset, mut line) = (skip_mark(&mut reader)?, 1);
        let mut row = Vec::new();
        loop {
            row.clear();
            let Some(record) = next_record(&mut reader, form.delimiter, &mut row)? else { break };
            let (start, first) = (offset, line);
            (offset, line) = (offset + record.bytes, line + record.lines);
            if form.is_blank(&row) {
                continue;
            }
            let parsed = if record.unterminated {
                Err("its quotes do not end".to_owned())
            } else if row.len() > LINE {
                Err(too_long(LINE))
            } else if form.header.is_none() {
                form.header = Some(header(form.fields(&row)).map_err(|reason| Error::Data {
                    location: name.clone(),
                    reason: format!("line {first}: {reason}"),
                })?);
                continue;
            } else {
                form.parse(&row).and_then(|row| check(&row))
            };
            match parsed {
                Ok(()) => index.push(start, first),
                Err(reason) => problems.add(format!("line {first}"), &reason),
            }
        }
        Ok(Self { rows: Indexed::end(reader, index, problems)?, form, row: PhantomData })
    }
}

impl<T: DeserializeOwned + Send + 'static> Dataset for Csv<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn item(&self, index: usize) -> Result<T, Error> {
        let bytes = self.rows.bytes(index)?;
        self.form
            .parse(&bytes)
            .map_err(|reason| Error::Data { location: self.location(index), reason })
    }

    fn location(&self, index: usize) -> String {
        self.rows.location(index)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.rows.file.digest())
    }
}

/// The format of a file's records.
struct Form {
    delimiter: u8,
    header: Option<ByteRecord>,
}

impl Form {
    /// Returns whether a record is a blank line, which is no row. Tabs that delimit empty fields are not blank.
    fn is_blank(&self, record: &[u8]) -> bool {
        record.iter().all(|byte| byte.is_ascii_whitespace() && *byte != self.delimiter)
    }

    /// Returns the fields of the first record in `bytes`.
    fn fields(&self, bytes: &[u8]) -> ByteRecord {
        let marked;
        // The reader drops a byte order mark, which within a file is text.
        let bytes = if bytes.starts_with(BOM) {
            marked = [BOM, bytes].concat();
            &marked
        } else {
            bytes
        };
        let mut fields = ByteRecord::new();
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(bytes.len().clamp(1, 1 << 16))
            .from_reader(bytes);
        // Bytes in memory cannot fail, and of a flexible reader any row is one.
        let _some = reader.read_byte_record(&mut fields);
        fields
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, String> {
        let fields = self.fields(bytes);
        let header = self.header.as_ref().ok_or("there is no header")?;
        if fields.len() != header.len() {
            let found = counted(fields.len(), "field");
            return Err(format!("{found}, and the header has {}", header.len()));
        }
        if fields.iter().any(|field| std::str::from_utf8(field).is_err()) {
            return Err("it is not UTF-8".to_owned());
        }
        fields.deserialize(Some(header)).map_err(|error| match error.kind() {
            ErrorKind::Deserialize { err, .. } => {
                let at = err.field().and_then(|at| header.get(usize::try_from(at).ok()?));
                match at {
                    Some(name) => format!("`{}`: {}", String::from_utf8_lossy(name), err.kind()),
                    None => err.kind().to_string(),
                }
            }
            _ => error.to_string(),
        })
    }
}

/// A header's names are text, and each is there once.
fn header(names: ByteRecord) -> Result<ByteRecord, String> {
    for (at, name) in names.iter().enumerate() {
        let text = std::str::from_utf8(name).map_err(|_| "the header is not UTF-8")?;
        if names.iter().take(at).any(|before| before == name) {
            return Err(format!("the header has `{text}` twice"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
