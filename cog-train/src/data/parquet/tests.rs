use std::sync::Arc;

use ::parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    Int96, Int96Type,
};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

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

/// The values of a leaf column, and its definition and repetition levels where it has them.
struct Column {
    values: Values,
    definitions: Option<Vec<i16>>,
    repetitions: Option<Vec<i16>>,
}

enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<[u32; 3]>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<Vec<u8>>),
    Fixed(Vec<Vec<u8>>),
}

impl Values {
    /// A column without nulls and lists.
    fn required(self) -> Column {
        Column { values: self, definitions: None, repetitions: None }
    }

    fn optional(self, definitions: &[i16]) -> Column {
        Column { definitions: Some(definitions.to_vec()), ..self.required() }
    }

    fn repeated(self, definitions: &[i16], repetitions: &[i16]) -> Column {
        Column { repetitions: Some(repetitions.to_vec()), ..self.optional(definitions) }
    }
}

fn texts(texts: &[&str]) -> Values {
    Values::Bytes(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

/// Writes a file of row groups, each with all leaf columns of the schema.
fn write_groups(path: &Path, schema: &str, groups: &[Vec<Column>]) {
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {schema} }}")).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut leaf = group.next_column().unwrap().unwrap();
            let (definitions, repetitions) =
                (column.definitions.as_deref(), column.repetitions.as_deref());
            macro_rules! write {
                ($type:ty, $values:expr) => {
                    leaf.typed::<$type>().write_batch($values, definitions, repetitions).unwrap()
                };
            }
            match &column.values {
                Values::Int32(values) => write!(Int32Type, values),
                Values::Int64(values) => write!(Int64Type, values),
                Values::Float(values) => write!(FloatType, values),
                Values::Double(values) => write!(DoubleType, values),
                Values::Int96(values) => {
                    let int96 = |value: &[u32; 3]| Int96::from(value.to_vec());
                    write!(Int96Type, &values.iter().map(int96).collect::<Vec<_>>())
                }
                Values::Bytes(values) => {
                    let bytes = |value: &Vec<u8>| ByteArray::from(value.clone());
                    write!(ByteArrayType, &values.iter().map(bytes).collect::<Vec<_>>())
                }
                Values::Fixed(values) => {
                    let bytes = |value: &Vec<u8>| ByteArray::from(value.clone()).into();
                    write!(FixedLenByteArrayType, &values.iter().map(bytes).collect::<Vec<_>>())
                }
            };
            leaf.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Two row groups of texts and scores.
fn write(path: &Path, groups: [&[(&str, i32)]; 2]) {
    let schema = "REQUIRED BYTE_ARRAY text (UTF8); REQUIRED INT32 score;";
    let columns = |rows: &[(&str, i32)]| {
        let words: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let scores = rows.iter().map(|row| row.1).collect();
        vec![texts(&words).required(), Values::Int32(scores).required()]
    };
    write_groups(path, schema, &groups.map(columns));
}

/// Writes one row group and reads it.
fn read<T: DeserializeOwned + Send + 'static>(
    schema: &str,
    columns: Vec<Column>,
) -> Result<Vec<T>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write_groups(&path, schema, &[columns]);
    let rows = Parquet::<T>::open(&path)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))?;
    Ok((0..rows.len()).map(|at| rows.item(at).unwrap()).collect())
}

/// Reads one column `x` as JSON values.
fn values(schema: &str, column: Column) -> Vec<Value> {
    let rows = read::<Value>(schema, vec![column]).unwrap();
    rows.into_iter().map(|mut row| row["x"].take()).collect()
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
    assert!(rows.location(2).ends_with("a.parquet row 3"));
    assert!(rows.item(3).is_err());
    assert_eq!(rows.digest().unwrap().len(), 64);
}

#[test]
fn bad_rows_and_bad_files_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, [&[("a", 1), ("b", -2)], &[("c", 300)]]);
    let error = Parquet::<Small>::open(&path).err().unwrap().to_string();
    assert!(
        error.ends_with(
            "2 rows cannot be used\n  row 2: `score`: invalid value: integer `-2`, expected u8\n  \
             row 3: `score`: invalid value: integer `300`, expected u8"
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

/// JSON has no NaN; a typed row has.
#[test]
fn floats_keep_nan_and_infinities() {
    #[derive(Debug, serde::Deserialize)]
    struct Row {
        single: Option<f64>,
        double: f32,
        half: Vec<f64>,
    }
    let schema = "OPTIONAL FLOAT single; REQUIRED DOUBLE double; REPEATED FIXED_LEN_BYTE_ARRAY (2) half (FLOAT16);";
    let half = [[0x00, 0x7e], [0x00, 0xfc], [0x00, 0x3c]];
    let rows: Vec<Row> = read(
        schema,
        vec![
            Values::Float(vec![1.5, f32::NAN, f32::NEG_INFINITY]).optional(&[1, 1, 1, 0]),
            Values::Double(vec![f64::NAN, -0.0, f64::INFINITY, 0.1]).required(),
            Values::Fixed(half.map(Vec::from).into())
                .repeated(&[1, 1, 1, 0, 0, 0], &[0, 1, 1, 0, 0, 0]),
        ],
    )
    .unwrap();
    let bits = |row: &Row| (row.single.map(f64::to_bits), row.double.to_bits());
    let single = |value: f64| Some(value.to_bits());
    assert!(rows[0].double.is_nan() && rows[1].single.unwrap().is_nan());
    assert_eq!(rows[0].single.map(f64::to_bits), single(1.5));
    assert_eq!(rows[1].double.to_bits(), (-0.0f32).to_bits());
    assert_eq!(bits(&rows[2]), (single(f64::NEG_INFINITY), f32::INFINITY.to_bits()));
    assert_eq!(bits(&rows[3]), (None, 0.1f32.to_bits()));
    assert!(rows[0].half[0].is_nan() && rows[0].half[1..] == [f64::NEG_INFINITY, 1.0]);
    assert!(rows[1].half.is_empty());
    // A value that is not there is no NaN.
    let error =
        read::<Single>("OPTIONAL FLOAT x;", vec![Values::Float(vec![1.0]).optional(&[1, 0])]);
    assert!(error.unwrap_err().ends_with("row 2: `x`: invalid type: unit value, expected f64"));
}

#[derive(Debug, serde::Deserialize)]
struct Single {
    #[expect(dead_code, reason = "only its type is looked at")]
    x: f64,
}

#[test]
fn integers_keep_their_range() {
    let ints = || Values::Int32(vec![-1, i32::MIN, 127]).required();
    assert_eq!(values("REQUIRED INT32 x;", ints()), [json!(-1), json!(i32::MIN), json!(127)]);
    assert_eq!(values("REQUIRED INT32 x (UINT_32);", ints())[0], json!(u32::MAX));
    let small = || Values::Int32(vec![-1, -128, 127]).required();
    assert_eq!(values("REQUIRED INT32 x (INT_8);", small()), [json!(-1), json!(-128), json!(127)]);
    assert_eq!(values("REQUIRED INT32 x (UINT_8);", small())[0], json!(255));
    assert_eq!(values("REQUIRED INT32 x (UINT_16);", small())[0], json!(65_535));
    let long = || Values::Int64(vec![-1, i64::MIN]).required();
    assert_eq!(values("REQUIRED INT64 x;", long()), [json!(-1), json!(i64::MIN)]);
    assert_eq!(values("REQUIRED INT64 x (UINT_64);", long()), [json!(u64::MAX), json!(1u64 << 63)]);
}

/// The expected texts are `str` of what pyarrow 26 reads, with the digits of the unit and ` +00:00` for UTC.
#[test]
fn dates_and_times_are_texts_of_their_unit_and_zone() {
    let long = |value: i64| Values::Int64(vec![value]).required();
    let int = |value: i32| Values::Int32(vec![value]).required();
    let one = |schema: &str, column: Column| values(schema, column)[0].as_str().unwrap().to_owned();
    let at = 1_704_164_645_678_901_000;
    for (schema, value, text) in [
        ("TIMESTAMP(NANOS,false)", at, "2024-01-02 03:04:05.678901000"),
        ("TIMESTAMP(NANOS,true)", at, "2024-01-02 03:04:05.678901000 +00:00"),
        ("TIMESTAMP(MICROS,false)", at / 1_000, "2024-01-02 03:04:05.678901"),
        ("TIMESTAMP(MICROS,true)", at / 1_000, "2024-01-02 03:04:05.678901 +00:00"),
        ("TIMESTAMP(MILLIS,false)", at / 1_000_000, "2024-01-02 03:04:05.678"),
        ("TIMESTAMP(MILLIS,true)", at / 1_000_000, "2024-01-02 03:04:05.678 +00:00"),
        ("TIMESTAMP(MILLIS,false)", -1, "1969-12-31 23:59:59.999"),
        ("TIMESTAMP_MILLIS", 0, "1970-01-01 00:00:00.000 +00:00"),
        ("TIMESTAMP_MICROS", 1, "1970-01-01 00:00:00.000001 +00:00"),
        ("TIME(NANOS,false)", 11_045_678_901_234, "03:04:05.678901234"),
        ("TIME(MICROS,true)", 11_045_678_901, "03:04:05.678901"),
        ("TIME_MICROS", 0, "00:00:00.000000"),
    ] {
        assert_eq!(one(&format!("REQUIRED INT64 x ({schema});"), long(value)), text, "{schema}");
    }
    assert_eq!(one("REQUIRED INT32 x (TIME(MILLIS,false));", int(11_045_678)), "03:04:05.678");
    assert_eq!(one("REQUIRED INT32 x (TIME_MILLIS);", int(86_399_999)), "23:59:59.999");
    for (days, text) in
        [(19_724, "2024-01-02"), (-719_162, "0001-01-01"), (i32::MAX, "+5881580-07-11")]
    {
        assert_eq!(one("REQUIRED INT32 x (DATE);", int(days)), text);
    }
    let error = read::<Value>("REQUIRED INT32 x (TIME_MILLIS);", vec![int(-5)]).unwrap_err();
    assert!(error.ends_with("row 1: `x`: -5 is no time of day in units of 1/1000 s"), "{error}");
}

/// The decoder's rows have INT96 in milliseconds.
#[test]
fn int96_keeps_its_nanoseconds_wherever_it_stands() {
    let nanos: u64 = 11_045_678_901_234;
    let (low, high) =
        (u32::try_from(nanos & 0xffff_ffff).unwrap(), u32::try_from(nanos >> 32).unwrap());
    let stamp = |day: u32| [low, high, 2_440_588 + day];
    let text = |date: &str| json!(format!("{date} 03:04:05.678901234"));
    let schema = "OPTIONAL INT96 x; REPEATED group y { OPTIONAL INT96 z; }";
    // 3000 rows are more than one read of the column.
    let many = 3000;
    let x: Vec<[u32; 3]> = (0..many).map(stamp).collect();
    let mut definitions = vec![0];
    definitions.resize(many as usize + 1, 1);
    let columns = vec![
        Values::Int96(x).optional(&definitions),
        Values::Int96(vec![stamp(0), stamp(366)]).repeated(
            &[&[2, 1, 2][..], &vec![0; many as usize]].concat(),
            &[&[0, 1, 1][..], &vec![0; many as usize]].concat(),
        ),
    ];
    let rows: Vec<Value> = read(schema, columns).unwrap();
    let y = json!([{"z": text("1970-01-01")}, {"z": null}, {"z": text("1971-01-02")}]);
    assert_eq!(rows[0], json!({"x": null, "y": y}));
    assert_eq!(rows[1], json!({"x": text("1970-01-01"), "y": []}));
    assert_eq!(rows[3000]["x"], text("1978-03-19"));
}

/// The expected texts are `str(decimal.Decimal)` of what pyarrow 26 reads, without exponents.
#[test]
fn decimals_are_texts_of_their_scale() {
    let bytes = |value: i128, size: usize| value.to_be_bytes()[16 - size..].to_vec();
    let fixed = |size: usize, scale: u32, all: &[i128]| {
        let precision = [2, 4, 6, 9, 11, 14, 16, 18, 21, 23, 26, 28, 31, 33, 35, 38][size - 1];
        let schema =
            format!("REQUIRED FIXED_LEN_BYTE_ARRAY ({size}) x (DECIMAL({precision},{scale}));");
        values(
            &schema,
            Values::Fixed(all.iter().map(|value| bytes(*value, size)).collect()).required(),
        )
    };
    assert_eq!(fixed(3, 0, &[-7, 0, 5, 99]), ["-7", "0", "5", "99"]);
    assert_eq!(
        fixed(6, 2, &[5, -5, -150, 1_234_567_890]),
        ["0.05", "-0.05", "-1.50", "12345678.90"]
    );
    assert_eq!(
        fixed(16, 18, &[-1, 12_345_678_901_234_567_890_123_456_789_012_345_678, 0, 10i128.pow(18)]),
        [
            "-0.000000000000000001",
            "12345678901234567890.123456789012345678",
            "0.000000000000000000",
            "1.000000000000000000"
        ]
    );
    let long = Values::Int64(vec![-1, i64::MAX, 0]).required();
    assert_eq!(
        values("REQUIRED INT64 x (DECIMAL(18,3));", long),
        ["-0.001", "9223372036854775.807", "0.000"]
    );
    let int = |scale: u32| {
        let schema = format!("REQUIRED INT32 x (DECIMAL(9,{scale}));");
        values(&schema, Values::Int32(vec![-100, 7]).required())
    };
    assert_eq!(int(0), ["-100", "7"]);
    assert_eq!(int(9), ["-0.000000100", "0.000000007"]);
    let short = Values::Bytes(vec![vec![0xff], vec![0x01, 0x00]]).required();
    assert_eq!(values("REQUIRED BYTE_ARRAY x (DECIMAL(9,1));", short), ["-0.1", "25.6"]);
}

#[test]
fn bytes_are_numbers_and_texts_are_texts() {
    let raw = || Values::Bytes(vec![vec![0, 255], vec![]]).required();
    assert_eq!(values("REQUIRED BYTE_ARRAY x;", raw()), [json!([0, 255]), json!([])]);
    assert_eq!(values("REQUIRED BYTE_ARRAY x (BSON);", raw())[0], json!([0, 255]));
    for kind in ["UTF8", "ENUM", "JSON"] {
        let text = texts(&["{\"a\": 1}", "\0\r\n"]).required();
        let schema = format!("REQUIRED BYTE_ARRAY x ({kind});");
        assert_eq!(values(&schema, text), ["{\"a\": 1}", "\0\r\n"], "{kind}");
    }
    let id = Values::Fixed(vec![(0..16).map(|at| at * 17).collect()]).required();
    assert_eq!(
        values("REQUIRED FIXED_LEN_BYTE_ARRAY (16) x (UUID);", id),
        ["00112233-4455-6677-8899-aabbccddeeff"]
    );
    let fixed = Values::Fixed(vec![vec![1, 2, 3]]).required();
    assert_eq!(values("REQUIRED FIXED_LEN_BYTE_ARRAY (3) x;", fixed), [json!([1, 2, 3])]);
    let broken = Values::Bytes(vec![vec![0xff]]).required();
    let error = read::<Value>("REQUIRED BYTE_ARRAY x (UTF8);", vec![broken]).unwrap_err();
    assert!(
        error.starts_with("data `a.parquet`: row 1 and what follows cannot be decoded: "),
        "{error}"
    );
}

#[test]
fn nested_columns_keep_nulls_and_empty_lists() {
    let list = "OPTIONAL group x (LIST) { REPEATED group list { OPTIONAL INT64 element (TIMESTAMP(NANOS,false)); } }";
    let second = "1970-01-01 00:00:01.000000000";
    let column =
        Values::Int64(vec![1_000_000_000; 2]).repeated(&[0, 1, 2, 3, 2, 3], &[0, 0, 0, 0, 1, 1]);
    assert_eq!(
        values(list, column),
        [json!(null), json!([]), json!([null]), json!([second, null, second])]
    );
    // Lists of older writers: the repeated field is the element.
    let old = "OPTIONAL group x (LIST) { REPEATED INT32 element; }";
    let column = Values::Int32(vec![1, 2, 3]).repeated(&[0, 1, 2, 2, 2], &[0, 0, 0, 1, 0]);
    assert_eq!(values(old, column), [json!(null), json!([]), json!([1, 2]), json!([3])]);
    let old = "OPTIONAL group x (LIST) { REPEATED group array { REQUIRED INT32 a (DATE); } }";
    let column = Values::Int32(vec![0, 1]).repeated(&[2, 2], &[0, 1]);
    assert_eq!(values(old, column), [json!([{"a": "1970-01-01"}, {"a": "1970-01-02"}])]);
    // A map: text keys, and null values.
    let map = "OPTIONAL group x (MAP) { REPEATED group key_value { REQUIRED BYTE_ARRAY key (UTF8); OPTIONAL INT32 value (TIME_MILLIS); } }";
    let rows: Vec<Value> = read(
        map,
        vec![
            texts(&["a", "b"]).repeated(&[0, 1, 2, 2], &[0, 0, 0, 1]),
            Values::Int32(vec![1]).repeated(&[0, 1, 3, 2], &[0, 0, 0, 1]),
        ],
    )
    .unwrap();
    assert_eq!(rows[0], json!({"x": null}));
    assert_eq!(rows[1], json!({"x": {}}));
    assert_eq!(rows[2], json!({"x": {"a": "00:00:00.001", "b": null}}));
    // A group that is null, and one whose field is.
    let group = "OPTIONAL group x { OPTIONAL INT64 a (TIME(NANOS,true)); }";
    let column = Values::Int64(vec![1]).optional(&[0, 1, 2]);
    assert_eq!(
        values(group, column),
        [json!(null), json!({"a": null}), json!({"a": "00:00:00.000000001"})]
    );
}

/// Keys of a map are of their type, or its text.
#[test]
fn maps_are_read_by_any_type_of_key() {
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Row<K: Ord> {
        x: BTreeMap<K, f64>,
    }
    let schema = "REQUIRED group x (MAP) { REPEATED group key_value { REQUIRED INT32 key; REQUIRED DOUBLE value; } }";
    let columns = || {
        vec![
            Values::Int32(vec![-1, 7]).repeated(&[1, 1], &[0, 1]),
            Values::Double(vec![0.5, f64::INFINITY]).repeated(&[1, 1], &[0, 1]),
        ]
    };
    let numbers: Vec<Row<i64>> = read(schema, columns()).unwrap();
    assert_eq!(numbers[0].x, BTreeMap::from([(-1, 0.5), (7, f64::INFINITY)]));
    let words: Vec<Row<String>> = read(schema, columns()).unwrap();
    assert_eq!(
        words[0].x,
        BTreeMap::from([("-1".to_owned(), 0.5), ("7".to_owned(), f64::INFINITY)])
    );
}

#[test]
fn rows_are_read_by_any_serde_type() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        User,
        Tool(u8),
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Name(String);
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Row {
        name: Name,
        role: Role,
        call: Role,
        pair: (i32, i32),
        #[serde(default)]
        missing: Option<bool>,
    }
    let schema = "REQUIRED BYTE_ARRAY name (UTF8); REQUIRED BYTE_ARRAY role (UTF8); \
                  REQUIRED group call { REQUIRED INT32 tool; } REPEATED INT32 pair; OPTIONAL INT32 other;";
    let columns = |pair: &[i32]| {
        let repetitions: Vec<i16> = (0..pair.len()).map(|at| i16::from(at > 0)).collect();
        vec![
            texts(&["a"]).required(),
            texts(&["user"]).required(),
            Values::Int32(vec![3]).required(),
            Values::Int32(pair.to_vec()).repeated(&vec![1; pair.len()], &repetitions),
            Values::Int32(vec![]).optional(&[0]),
        ]
    };
    let rows: Vec<Row> = read(schema, columns(&[1, 2])).unwrap();
    let (name, role, call) = (Name("a".to_owned()), Role::User, Role::Tool(3));
    assert_eq!(rows, [Row { name, role, call, pair: (1, 2), missing: None }]);
    let error = read::<Row>(schema, columns(&[1, 2, 3])).unwrap_err();
    assert!(
        error.ends_with("row 1: `pair`: invalid length 3, expected fewer elements in the list"),
        "{error}"
    );
    let error = read::<Row>(schema, columns(&[1])).unwrap_err();
    assert!(error.contains("row 1: `pair`: invalid length 1"), "{error}");
}

#[test]
fn columns_that_cannot_be_read_are_refused_by_name() {
    let refused = |schema: &str, columns: Vec<Column>| read::<Value>(schema, columns).unwrap_err();
    let twice = || vec![texts(&["a"]).required(), texts(&["b"]).required()];
    assert_eq!(
        refused("REQUIRED BYTE_ARRAY x (UTF8); REQUIRED BYTE_ARRAY x (UTF8);", twice()),
        "data `a.parquet`: it has two columns `x`\nhint: rename or drop one of them"
    );
    assert_eq!(
        refused("REQUIRED group g { REQUIRED BYTE_ARRAY x; REQUIRED BYTE_ARRAY x; }", twice()),
        "data `a.parquet`: it has two columns `g.x`\nhint: rename or drop one of them"
    );
    let interval = Values::Fixed(vec![vec![0; 12]]).required();
    assert_eq!(
        refused("REQUIRED FIXED_LEN_BYTE_ARRAY (12) x (INTERVAL);", vec![interval]),
        "data `a.parquet`: the column `x` has the type INTERVAL, which is not supported\nhint: drop it, or write it as numbers"
    );
}

const LZ4: &str = "\
    UEFSMRUAFRQVFiwVAhUAFQYVBhwAAACgAgAAAAIBBwAAABUEGSw1ABgGc2NoZW1hFQIAFQIlAhgBeAAWAhkcGRwmABwVAhklBgAZGAF4FQ4WAh\
    Y6FjwmCEkcFQAVABUCADwpBhkmAAIAAAAWOhYCJggWPAAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGRwcAAAAegAAAFBBUjE=";

#[test]
fn codecs_are_read_or_named() {
    use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use ::parquet::file::properties::WriterProperties;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let schema = Arc::new(parse_message_type("message rows { REQUIRED INT32 x; }").unwrap());
    let write = |codec: Compression| {
        let properties = WriterProperties::builder().set_compression(codec).build();
        let file = File::create(&path).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, schema.clone(), Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[7; 100], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    };
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        write(codec);
        let rows = Parquet::<Value>::open(&path).unwrap();
        assert_eq!((rows.len(), rows.item(99).unwrap()), (100, json!({"x": 7})), "{codec:?}");
    }
    // pq.write_table(pa.table({"x": pa.array([7], pa.int32())}), "a.parquet", compression="lz4",
    //     store_schema=False, write_statistics=False, use_dictionary=False)
    // pyarrow 26 writes LZ4_RAW for it.
    let bytes = BASE64_STANDARD.decode(LZ4).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = Parquet::<Value>::open(&path).err().unwrap().to_string();
    assert!(
        error.ends_with(
            "a.parquet`: the column `x` is compressed with LZ4_RAW, which is not supported\n\
             hint: write the file with Zstandard, Snappy, gzip or no compression"
        ),
        "{error}"
    );
}
