//! Rows from a CSV file with a header: RFC 4180, with quoted fields that may hold line breaks.

use std::marker::PhantomData;
use std::path::Path;

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde::de::DeserializeOwned;

use super::dataset::Dataset;
use super::held::Pass;
use super::index::{Index, Indexed};
use super::lines::{LINE, mark, next_line, too_long};
use super::problems::Problems;
use crate::error::Error;
use crate::progress::CancelToken;

/// A CSV file, or one with tabs when its name ends in `.tsv`. The header's names are the fields of `T`. Opening it reads
/// it once and parses every row; after that, rows are read where they stand, and the memory that it takes is 8 bytes a
/// row.
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

    /// [`Csv::open`], which can be cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Csv::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        Self::open_checked(path, cancel, |_| Ok(()))
    }

    /// [`Csv::open_with`] and a check of each row's value: what is wrong with it is told with the others.
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
        let mut reader = Pass::open(path, cancel)?.buffered();
        let name = reader.get_ref().name().to_owned();
        let (mut index, mut problems) = (Index::default(), Problems::default());
        let (mut row, mut offset, mut line) = (Vec::new(), 0, 1);
        loop {
            row.clear();
            let (start, first) = (offset, line);
            let mut quotes = Quotes::new(form.delimiter);
            let mut bom = 0;
            // Lines, until one ends outside of quotes.
            loop {
                let seen = row.len();
                let Some(bytes) = next_line(&mut reader, LINE, &mut row)? else { break };
                if offset == 0 {
                    bom = mark(&row, &name)?;
                }
                (offset, line) = (offset + bytes, line + 1);
                if !quotes.open_behind(&row[seen.max(bom)..]) || row.len() > LINE {
                    break;
                }
            }
            if offset == start {
                break;
            }
            let text = &row[bom..];
            if text.trim_ascii().is_empty() {
                continue;
            }
            let place = || format!("line {first}");
            let parsed = if row.len() > LINE {
                // Where its quotes end is not known, so neither is where the next row begins.
                if quotes.open {
                    problems.add(place(), &format!("{}, or its quotes do not end", too_long(LINE)));
                    return Err(problems.end(&name).err().unwrap_or(Error::Cancelled));
                }
                Err(too_long(LINE))
            } else if quotes.open {
                Err("its quotes do not end".to_owned())
            } else if form.header.is_none() {
                form.header = Some(header(form.fields(text)).map_err(|reason| Error::Data {
                    place: name.clone(),
                    reason: format!("line {first}: {reason}"),
                })?);
                continue;
            } else {
                form.parse(text).and_then(|row| check(&row))
            };
            match parsed {
                Ok(()) => index.push(start + bom as u64, first),
                Err(reason) => problems.add(place(), &reason),
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
        self.form.parse(&bytes).map_err(|reason| Error::Data { place: self.place(index), reason })
    }

    fn place(&self, index: usize) -> String {
        self.rows.place(index)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.rows.held.digest())
    }
}

/// How a file's rows are read.
struct Form {
    delimiter: u8,
    header: Option<ByteRecord>,
}

impl Form {
    /// The fields of the first row in `bytes`.
    fn fields(&self, bytes: &[u8]) -> ByteRecord {
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
            return Err(format!("{} fields, and the header has {}", fields.len(), header.len()));
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

/// Whether quotes are open behind the bytes so far: they open at the start of a field only, and two are one of the text.
struct Quotes {
    delimiter: u8,
    open: bool,
    /// A field begins here.
    fresh: bool,
    /// The byte before was a quote in quotes: the end, or the first of two.
    maybe: bool,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, open: false, fresh: true, maybe: false }
    }

    fn open_behind(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            match (byte, self.open) {
                (b'"', true) => (self.open, self.maybe) = (false, true),
                (b'"', false) => {
                    self.open = self.fresh || self.maybe;
                    self.maybe = false;
                }
                (_, true) => {}
                (_, false) => self.maybe = false,
            }
            self.fresh = !self.open && byte == self.delimiter;
        }
        self.open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Row {
        name: String,
        age: u32,
    }

    fn open_as(file: &str, bytes: &[u8]) -> Result<Csv<Row>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        let folder = format!("{}/", dir.path().display());
        Csv::open(&path).map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn rows(csv: &Csv<Row>) -> Vec<(String, u32, String)> {
        let row = |at| {
            let Row { name, age } = csv.item(at).unwrap();
            (name, age, csv.place(at).rsplit_once(' ').unwrap().1.to_owned())
        };
        (0..csv.len()).map(row).collect()
    }

    #[test]
    fn quotes_line_breaks_and_marks() {
        let bytes = "\u{feff}age,name\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n2,5\" wide\r\n3,\"\"";
        let csv = open_as("a.csv", bytes.as_bytes()).unwrap();
        let expected = [("a, \"b\"\r\nc", 1, "2"), ("5\" wide", 2, "5"), ("", 3, "6")];
        assert_eq!(rows(&csv), expected.map(|(name, age, line)| (name.into(), age, line.into())));
        let csv = open_as("a.TSV", b"name\tage\na,b\t7").unwrap();
        assert_eq!(rows(&csv)[0].0, "a,b");
    }

    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let bytes = b"name,age\na,1\nb\n\"c\nd\",x\ne,2,3\n\xe9,4\nf,-1\n\"g,5\n";
        assert_eq!(
            open_as("a.csv", bytes).err().unwrap(),
            "data `a.csv`: 6 rows cannot be used\n  \
             line 3: 1 fields, and the header has 2\n  \
             line 4: `age`: invalid digit found in string\n  \
             line 6: 3 fields, and the header has 2\n  \
             line 7: it is not UTF-8\n  \
             line 8: `age`: invalid digit found in string\n  \
             line 9: its quotes do not end"
        );
        let refused = |bytes: &[u8]| open_as("a.csv", bytes).err().unwrap();
        assert!(refused(b"name\na\n").contains("line 2: missing field `age`"));
        assert!(refused(b"name,age\n").ends_with("it has no rows"));
        assert!(refused(b"name,name\n").ends_with("line 1: the header has `name` twice"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// What the csv crate writes is what is read, whatever the texts hold.
        #[test]
        fn what_is_written_is_read(names in prop::collection::vec("[a\",\r\n \u{e4}]{0,6}", 1..10), crlf: bool) {
            let rows: Vec<Row> = (7..).zip(&names).map(|(age, name)| Row { name: name.clone(), age }).collect();
            let end = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
            let mut writer = ::csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
            for row in &rows {
                writer.serialize(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.csv");
            std::fs::write(&path, &bytes).unwrap();
            let csv = Csv::<Row>::open(&path).unwrap();
            let read: Vec<Row> = (0..csv.len()).map(|at| csv.item(at).unwrap()).collect();
            prop_assert_eq!(read, rows);
        }
    }
}
