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
        (name, age, csv.location(at).rsplit_once(' ').unwrap().1.to_owned())
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
fn every_bad_row_is_reported_with_its_line() {
    let bytes = b"name,age\na,1\nb\n\"c\nd\",x\ne,2,3\n\xe9,4\nf,-1\n\"g,5\n";
    assert_eq!(
        open_as("a.csv", bytes).err().unwrap(),
        "data `a.csv`: 6 rows cannot be used\n  \
         line 3: 1 field, and the header has 2\n  \
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
        "data `a.csv`: 1 row cannot be used\n  line 3: 1 field, and the header has 2"
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
        let mut reader = HashingReader::open(&path, &CancelToken::new()).unwrap().buffered();
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

    /// Records are read as the csv crate writes them, for any text.
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
