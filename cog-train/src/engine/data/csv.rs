//! Rows from a CSV file with a header: RFC 4180, with quoted fields that may hold line breaks, and with records that end in
//! `\n`, `\r\n` or a lone `\r`.

use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::Path;

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde::de::DeserializeOwned;

use super::dataset::Dataset;
use super::held::Pass;
use super::index::{Index, Indexed};
use super::lines::{BOM, LINE, fill, is_break, keep, line_feed, skip_mark, too_long};
use super::problems::Problems;
use crate::error::Error;
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
/// use cog_train::engine::data::{Csv, Dataset};
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
                    place: name.clone(),
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

/// The extent of one record in the file.
struct Record {
    bytes: u64,
    /// Line breaks, those in quotes included.
    lines: u64,
    /// The file ends within quotes.
    unterminated: bool,
}

/// Appends the next record without its terminator; `None` at the end of the file. Of a longer record, `LINE + 1` bytes
/// are kept.
fn next_record(
    reader: &mut BufReader<Pass>,
    delimiter: u8,
    row: &mut Vec<u8>,
) -> Result<Option<Record>, Error> {
    // For each record and not for each read alone: the check of a row may be slow.
    reader.get_ref().check()?;
    let mut scan = Scan::new(delimiter);
    let mut bytes = 0;
    loop {
        let chunk = fill(reader)?;
        let found = chunk.iter().position(|byte| scan.ends_at(*byte));
        let text = &chunk[..found.unwrap_or(chunk.len())];
        keep(row, text, LINE);
        let consumed = text.len() + usize::from(found.is_some());
        reader.consume(consumed);
        bytes += consumed as u64;
        if found.is_some() && scan.carriage {
            bytes += line_feed(reader)?;
        }
        if found.is_some() || consumed == 0 {
            let record = Record { bytes, lines: scan.lines, unterminated: scan.quoted };
            return Ok((bytes > 0).then_some(record));
        }
    }
}

/// Finds the end of a record as the csv crate does: `\n`, `\r\n` or a lone `\r` outside of quotes. Quotes open at the
/// start of a field only, and two of them within quotes are one of the text.
struct Scan {
    delimiter: u8,
    quoted: bool,
    /// A field begins here.
    field_start: bool,
    /// The byte before was a quote within quotes: the closing one, or the first of two.
    quote_before: bool,
    /// The byte before was a carriage return.
    carriage: bool,
    lines: u64,
}

impl Scan {
    fn new(delimiter: u8) -> Self {
        let (quoted, field_start, quote_before, carriage) = (false, true, false, false);
        Self { delimiter, quoted, field_start, quote_before, carriage, lines: 0 }
    }

    /// Takes the next byte and returns whether it ends the record.
    fn ends_at(&mut self, byte: u8) -> bool {
        self.lines += u64::from(byte == b'\r' || (byte == b'\n' && !self.carriage));
        self.carriage = byte == b'\r';
        if byte == b'"' {
            (self.quoted, self.quote_before) =
                (!self.quoted && (self.field_start || self.quote_before), self.quoted);
        } else {
            self.quote_before = false;
        }
        self.field_start = !self.quoted && byte == self.delimiter;
        !self.quoted && is_break(byte)
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

    /// The csv crate's own reading of a whole file, and pandas' with `keep_default_na=False`.
    #[test]
    fn a_lone_carriage_return_ends_a_row_outside_of_quotes() {
        let read = |bytes: &[u8]| rows(&open_as("a.csv", bytes).unwrap());
        let expected = |rows: &[(&str, u32, u32)]| -> Vec<(String, u32, String)> {
            let row = |row: &(&str, u32, u32)| (row.0.to_owned(), row.1, row.2.to_string());
            rows.iter().map(row).collect()
        };
        let ab = expected(&[("a", 1, 2), ("b", 2, 3)]);
        assert_eq!(read(b"name,age\ra,1\rb,2\r"), ab);
        assert_eq!(read(b"name,age\ra,1\rb,2"), ab);
        assert_eq!(read(b"name,age\r\na,1\rb,2\n"), ab);
        assert_eq!(
            read(b"\xef\xbb\xbfname,age\ra,1\n\r\r\nb,2"),
            expected(&[("a", 1, 2), ("b", 2, 5)])
        );
        // Within quotes it is text, and still the end of a line for people.
        assert_eq!(
            read(b"age,name\n1,\"x\ry\"\r2,\"\"\"\r\n\"\n3,q\"\r4,z"),
            expected(&[("x\ry", 1, 2), ("\"\r\n", 2, 4), ("q\"", 3, 6), ("z", 4, 7)])
        );
        // A field of its own behind the carriage return is a row of too few fields, not a part that vanishes.
        assert_eq!(
            open_as("a.csv", b"age,name\n1,first\rsecond part\n2,third\n").err().unwrap(),
            "data `a.csv`: 1 row cannot be used\n  line 3: 1 fields, and the header has 2"
        );
    }

    #[test]
    fn bytes_that_are_no_line_break_are_text() {
        let csv = open_as("a.csv", b"name,age\n\0a\0,1\n\xef\xbb\xbfb,2\n \x0c \n x ,3\n").unwrap();
        let expected = [("\0a\0", 1, "2"), ("\u{feff}b", 2, "3"), (" x ", 3, "5")];
        assert_eq!(rows(&csv), expected.map(|(name, age, line)| (name.into(), age, line.into())));
        let utf16: Vec<u8> = "name,age\na,1\n".bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(open_as("a.csv", &utf16).err().unwrap().contains("it is UTF-16\nhint: "));
    }

    /// In a file of tabs, a line of tabs is a row of empty fields and no blank line.
    #[test]
    fn a_row_of_empty_fields_is_a_row() {
        #[derive(Debug, serde::Deserialize)]
        struct Pair {
            a: Option<u32>,
            b: String,
        }
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in [("a.tsv", "a\tb\n\t\n1\tx\n"), ("a.csv", "a,b\n,\n1,x\n")] {
            let path = dir.path().join(file);
            std::fs::write(&path, bytes).unwrap();
            let rows = Csv::<Pair>::open(&path).unwrap();
            let read: Vec<Pair> = (0..rows.len()).map(|at| rows.item(at).unwrap()).collect();
            let read: Vec<_> = read.iter().map(|row| (row.a, &*row.b)).collect();
            assert_eq!(read, [(None, ""), (Some(1), "x")], "{file}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// A file has the records that the csv crate finds when it reads it as a whole, wherever a read ends.
        #[test]
        fn records_are_those_of_the_csv_crate(text in "[a,\"\r\n]{0,40}", pad in 0usize..2) {
            // A long record moves the others over the end of a read.
            let text = format!("h\r\n{}\n{text}", "x".repeat(pad * 65_520));
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.csv");
            std::fs::write(&path, &text).unwrap();
            let mut reader = Pass::open(&path, &CancelToken::new()).unwrap().buffered();
            let form = Form { delimiter: b',', header: None };
            let (mut records, mut row) = (Vec::new(), Vec::new());
            let (mut size, mut lines) = (0, 0);
            while let Some(record) = next_record(&mut reader, b',', &mut row).unwrap() {
                (size, lines) = (size + record.bytes, lines + record.lines);
                if !form.is_blank(&row) {
                    records.push(form.fields(&row));
                }
                row.clear();
            }
            let whole = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let whole: Vec<ByteRecord> = whole.into_byte_records().map(Result::unwrap).collect();
            prop_assert_eq!(records, whole);
            prop_assert_eq!(size, text.len() as u64);
            let breaks = text.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count();
            prop_assert_eq!(lines, breaks as u64);
        }
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
