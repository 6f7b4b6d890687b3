//! Rows as the decoder gives them, written as bytes from which any type is deserialized.

use std::collections::HashMap;
use std::fmt::Write as _;

use ::parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use ::parquet::data_type::{Int96, Int96Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::RowGroupReader;
use ::parquet::record::{Field, Row};

use super::schema::Kind;
use super::time;

/// The first byte of each value. Numbers and lengths follow in little-endian order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    Null,
    False,
    True,
    Signed,
    Unsigned,
    Single,
    Double,
    /// A length in bytes, then UTF-8.
    Text,
    /// A length in bytes, then they.
    Bytes,
    /// A number of elements, then they.
    List,
    /// A number of entries, then keys and values in turns.
    Map,
}

impl Tag {
    pub(super) const ALL: [Self; 11] = [
        Self::Null,
        Self::False,
        Self::True,
        Self::Signed,
        Self::Unsigned,
        Self::Single,
        Self::Double,
        Self::Text,
        Self::Bytes,
        Self::List,
        Self::Map,
    ];
}

/// Writes the rows of one row group.
pub(super) struct Encoder<'a> {
    columns: &'a [Kind],
    stamps: HashMap<usize, Stamps>,
    bytes: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(
        columns: &'a [Kind],
        group: &dyn RowGroupReader,
    ) -> Result<Self, ParquetError> {
        let mut leaves = Vec::new();
        for kind in columns {
            int96_leaves(kind, &mut leaves);
        }
        let stamps = leaves.into_iter().map(|leaf| Ok((leaf, Stamps::open(group, leaf)?)));
        Ok(Self {
            columns,
            stamps: stamps.collect::<Result<_, ParquetError>>()?,
            bytes: Vec::new(),
        })
    }

    /// Returns the bytes of a row.
    ///
    /// # Errors
    ///
    /// The reason that a value has no meaning.
    pub(super) fn row(&mut self, row: &Row) -> Result<&[u8], String> {
        self.bytes.clear();
        self.group(row, self.columns)?;
        Ok(&self.bytes)
    }

    fn group(&mut self, row: &Row, kinds: &[Kind]) -> Result<(), String> {
        self.head(Tag::Map, row.len());
        for ((name, field), kind) in row.get_column_iter().zip(kinds) {
            self.data(Tag::Text, name.as_bytes());
            self.value(field, kind).map_err(|reason| format!("`{name}`: {reason}"))?;
        }
        Ok(())
    }

    fn value(&mut self, field: &Field, kind: &Kind) -> Result<(), String> {
        match (field, kind) {
            (Field::Null, _) => self.bytes.push(Tag::Null as u8),
            (
                Field::TimestampMillis(value) | Field::TimestampMicros(value) | Field::Long(value),
                Kind::Timestamp { unit, utc },
            ) => {
                let text = time::timestamp(*value, *unit, *utc)?;
                self.data(Tag::Text, text.as_bytes());
            }
            (Field::TimeMicros(value) | Field::Long(value), Kind::Time { unit }) => {
                self.data(Tag::Text, time::time(*value, *unit)?.as_bytes());
            }
            (Field::TimeMillis(value), Kind::Time { unit }) => {
                self.data(Tag::Text, time::time((*value).into(), *unit)?.as_bytes());
            }
            (Field::TimestampMillis(_), Kind::Int96 { leaf }) => {
                let stamps = self.stamps.get_mut(leaf).ok_or("the column is missing")?;
                let text = stamps.next()?;
                self.data(Tag::Text, text.as_bytes());
            }
            (Field::Bytes(value), Kind::Uuid) => {
                self.data(Tag::Text, uuid(value.data()).as_bytes());
            }
            (Field::Group(row), Kind::Group(kinds)) => self.group(row, kinds)?,
            (Field::ListInternal(list), Kind::List { element, wrapped }) => {
                let mut elements = list.elements();
                if *wrapped && let [Field::ListInternal(inner)] = elements {
                    elements = inner.elements();
                }
                self.head(Tag::List, elements.len());
                for value in elements {
                    self.value(value, element)?;
                }
            }
            (Field::MapInternal(map), Kind::Map { key, value }) => {
                self.head(Tag::Map, map.len());
                for (name, field) in map.entries() {
                    self.value(name, key)?;
                    self.value(field, value)?;
                }
            }
            (field, Kind::Plain) => self.plain(field)?,
            (field, kind) => return Err(format!("{field} where {kind:?} belongs")),
        }
        Ok(())
    }

    fn plain(&mut self, field: &Field) -> Result<(), String> {
        match field {
            Field::Bool(value) => {
                self.bytes.push(if *value { Tag::True } else { Tag::False } as u8);
            }
            Field::Byte(value) => self.signed((*value).into()),
            Field::Short(value) => self.signed((*value).into()),
            Field::Int(value) => self.signed((*value).into()),
            Field::Long(value) => self.signed(*value),
            Field::UByte(value) => self.unsigned((*value).into()),
            Field::UShort(value) => self.unsigned((*value).into()),
            Field::UInt(value) => self.unsigned((*value).into()),
            Field::ULong(value) => self.unsigned(*value),
            Field::Float16(value) => self.number(Tag::Single, &f32::from(*value).to_le_bytes()),
            Field::Float(value) => self.number(Tag::Single, &value.to_le_bytes()),
            Field::Double(value) => self.number(Tag::Double, &value.to_le_bytes()),
            Field::Str(value) => self.data(Tag::Text, value.as_bytes()),
            Field::Bytes(value) => self.data(Tag::Bytes, value.data()),
            Field::Date(days) => {
                self.data(Tag::Text, time::date((*days).into()).as_bytes());
            }
            Field::Decimal(_) => {
                // Without digits behind the point, the decoder leaves the point.
                let text = field.to_string();
                self.data(Tag::Text, text.trim_end_matches('.').as_bytes());
            }
            other => return Err(format!("{other} is not supported")),
        }
        Ok(())
    }

    fn signed(&mut self, value: i64) {
        self.number(Tag::Signed, &value.to_le_bytes());
    }

    fn unsigned(&mut self, value: u64) {
        self.number(Tag::Unsigned, &value.to_le_bytes());
    }

    fn number(&mut self, tag: Tag, value: &[u8]) {
        self.bytes.push(tag as u8);
        self.bytes.extend_from_slice(value);
    }

    fn head(&mut self, tag: Tag, length: usize) {
        self.number(tag, &(length as u64).to_le_bytes());
    }

    fn data(&mut self, tag: Tag, data: &[u8]) {
        self.head(tag, data.len());
        self.bytes.extend_from_slice(data);
    }
}

fn int96_leaves(kind: &Kind, leaves: &mut Vec<usize>) {
    match kind {
        Kind::Int96 { leaf } => leaves.push(*leaf),
        Kind::List { element, .. } => int96_leaves(element, leaves),
        Kind::Map { key, value } => {
            int96_leaves(key, leaves);
            int96_leaves(value, leaves);
        }
        Kind::Group(kinds) => {
            for kind in kinds {
                int96_leaves(kind, leaves);
            }
        }
        Kind::Plain | Kind::Timestamp { .. } | Kind::Time { .. } | Kind::Uuid => {}
    }
}

/// The values of an INT96 column that are not null, in their order. The decoder's rows have them in milliseconds alone.
struct Stamps {
    column: ColumnReaderImpl<Int96Type>,
    values: std::vec::IntoIter<Int96>,
}

impl Stamps {
    fn open(group: &dyn RowGroupReader, leaf: usize) -> Result<Self, ParquetError> {
        let column = get_typed_column_reader(group.get_column_reader(leaf)?);
        Ok(Self { column, values: Vec::new().into_iter() })
    }

    fn next(&mut self) -> Result<String, String> {
        loop {
            if let Some(value) = self.values.next() {
                let [low, high, day] = *value.data() else { return Err("no INT96".to_owned()) };
                let nanos = i64::from(high) << 32 | i64::from(low);
                return time::julian(day.cast_signed().into(), nanos);
            }
            let (mut definitions, mut repetitions, mut values) = Default::default();
            let read = self.column.read_records(
                1024,
                Some(&mut definitions),
                Some(&mut repetitions),
                &mut values,
            );
            let (records, ..) = read.map_err(|error| error.to_string())?;
            if records == 0 {
                return Err("the column ends early".to_owned());
            }
            self.values = values.into_iter();
        }
    }
}

/// Returns the 16 bytes of a UUID as 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: &[u8]) -> String {
    bytes.iter().enumerate().fold(String::with_capacity(36), |mut text, (at, byte)| {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
