//! A file's columns: the kinds of values that they hold, and what of them cannot be read.

use std::collections::HashSet;

use ::parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical,
};
use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::schema::types::Type;

/// The kind of a column's values, where the decoder's value alone does not say it.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// As the decoder has it.
    Plain,
    Timestamp {
        unit: TimeUnit,
        utc: bool,
    },
    Time {
        unit: TimeUnit,
    },
    Uuid,
    /// Nanoseconds of a Julian day, of the leaf column of this index.
    Int96 {
        leaf: usize,
    },
    /// `wrapped`: the decoder puts the elements into a list of one list.
    List {
        element: Box<Kind>,
        wrapped: bool,
    },
    Map {
        key: Box<Kind>,
        value: Box<Kind>,
    },
    Group(Vec<Kind>),
}

/// Returns the kind of each column of a file.
///
/// # Errors
///
/// The reason that the file cannot be read without a loss: two columns of one name, an unknown type or codec.
pub(super) fn columns(file: &ParquetMetaData) -> Result<Vec<Kind>, String> {
    for column in file.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let codec = match column.compression() {
            Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::ZSTD(_) => continue,
            Compression::BROTLI(_) => "BROTLI",
            Compression::LZ4 => "LZ4",
            Compression::LZ4_RAW => "LZ4_RAW",
            Compression::LZO => "LZO",
        };
        return Err(format!(
            "the column `{}` is compressed with {codec}, which is not supported\n\
             hint: write the file with Zstandard, Snappy, gzip or no compression",
            column.column_path().string()
        ));
    }
    Walk::default().group(file.file_metadata().schema())
}

/// A walk over the schema.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    /// Leaf columns so far.
    leaves: usize,
}

impl Walk {
    fn group(&mut self, group: &Type) -> Result<Vec<Kind>, String> {
        let mut names = HashSet::new();
        for field in group.get_fields() {
            if !names.insert(field.name()) {
                self.path.push(field.name().to_owned());
                return Err(format!(
                    "it has two columns `{}`\nhint: rename or drop one of them",
                    self.path.join(".")
                ));
            }
        }
        group.get_fields().iter().map(|field| self.kind(field)).collect()
    }

    fn kind(&mut self, of: &Type) -> Result<Kind, String> {
        let kind = self.single(of)?;
        // Neither in a list nor in a map: a list of its own.
        let repeated = of.get_basic_info().repetition() == Repetition::REPEATED;
        Ok(if repeated && !is_list(of) && !is_map(of) {
            Kind::List { element: Box::new(kind), wrapped: false }
        } else {
            kind
        })
    }

    /// Returns the kind of one value, whether or not it is repeated.
    fn single(&mut self, of: &Type) -> Result<Kind, String> {
        self.path.push(of.name().to_owned());
        let kind = if of.is_primitive() {
            let kind = self.leaf(of);
            self.leaves += 1;
            kind
        } else if is_list(of) {
            self.list(of)
        } else if is_map(of) {
            self.map(of)
        } else {
            self.group(of).map(Kind::Group)
        };
        self.path.pop();
        kind
    }

    fn leaf(&self, of: &Type) -> Result<Kind, String> {
        let info = of.get_basic_info();
        Ok(match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Timestamp(time)), _) => {
                Kind::Timestamp { unit: time.unit, utc: time.is_adjusted_to_u_t_c }
            }
            (Some(LogicalType::Time(time)), _) => Kind::Time { unit: time.unit },
            (Some(LogicalType::Uuid), _) => Kind::Uuid,
            // Of files older than logical types, where timestamps are UTC.
            (None, ConvertedType::TIMESTAMP_MILLIS) => {
                Kind::Timestamp { unit: TimeUnit::MILLIS, utc: true }
            }
            (None, ConvertedType::TIMESTAMP_MICROS) => {
                Kind::Timestamp { unit: TimeUnit::MICROS, utc: true }
            }
            (None, ConvertedType::TIME_MILLIS) => Kind::Time { unit: TimeUnit::MILLIS },
            (None, ConvertedType::TIME_MICROS) => Kind::Time { unit: TimeUnit::MICROS },
            (None, ConvertedType::INTERVAL) => {
                return Err(format!(
                    "the column `{}` has the type INTERVAL, which is not supported\n\
                     hint: drop it, or write it as numbers",
                    self.path.join(".")
                ));
            }
            _ if of.get_physical_type() == Physical::INT96 => Kind::Int96 { leaf: self.leaves },
            _ => Kind::Plain,
        })
    }

    fn list(&mut self, of: &Type) -> Result<Kind, String> {
        let [repeated] = of.get_fields() else { return Err(self.malformed("list")) };
        if repeated.get_basic_info().repetition() != Repetition::REPEATED {
            return Err(self.malformed("list"));
        }
        if is_element(repeated) {
            let element = Box::new(self.single(repeated)?);
            return Ok(Kind::List { element, wrapped: !is_list(repeated) && !is_map(repeated) });
        }
        let [element, ..] = repeated.get_fields() else { return Err(self.malformed("list")) };
        Ok(Kind::List { element: Box::new(self.kind(element)?), wrapped: false })
    }

    fn map(&mut self, of: &Type) -> Result<Kind, String> {
        let [entry] = of.get_fields() else { return Err(self.malformed("map")) };
        if entry.is_primitive() || entry.get_basic_info().repetition() != Repetition::REPEATED {
            return Err(self.malformed("map"));
        }
        match entry.get_fields() {
            [key] => Ok(Kind::List { element: Box::new(self.kind(key)?), wrapped: false }),
            [key, value] => {
                Ok(Kind::Map { key: Box::new(self.kind(key)?), value: Box::new(self.kind(value)?) })
            }
            _ => Err(self.malformed("map")),
        }
    }

    fn malformed(&self, what: &str) -> String {
        format!("the column `{}` is a malformed {what}", self.path.join("."))
    }
}

fn is_list(of: &Type) -> bool {
    !of.is_primitive() && of.get_basic_info().converted_type() == ConvertedType::LIST
}

fn is_map(of: &Type) -> bool {
    let converted = of.get_basic_info().converted_type();
    !of.is_primitive() && matches!(converted, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
}

/// Returns whether the repeated field of a list is itself the element, and not a group around it: the rules for lists of
/// older writers in the specification of the format.
fn is_element(repeated: &Type) -> bool {
    let around_repeated = !repeated.is_primitive()
        && matches!(repeated.get_fields(), [only] if only.get_basic_info().repetition() == Repetition::REPEATED);
    if is_list(repeated) || around_repeated {
        return false;
    }
    repeated.is_primitive()
        || repeated.get_fields().len() > 1
        || repeated.name() == "array"
        || repeated.name().ends_with("_tuple")
}
