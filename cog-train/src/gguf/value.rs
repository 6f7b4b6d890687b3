//! Typed values of the metadata.

use std::io::Read;

use super::source::Source;

/// A type of values that an array may hold.
pub(super) trait Element: Sized {
    /// The fewest bytes of a value.
    const BYTES: u64;

    fn read(source: &mut Source<impl Read>) -> Result<Self, String>;

    fn write(&self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl Element for $kind {
            const BYTES: u64 = size_of::<$kind>() as u64;

            fn read(source: &mut Source<impl Read>) -> Result<Self, String> {
                Ok(Self::from_le_bytes(source.array()?))
            }

            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8, i8, u16, i16, u32, i32, f32, u64, i64, f64);

impl Element for bool {
    const BYTES: u64 = 1;

    fn read(source: &mut Source<impl Read>) -> Result<Self, String> {
        match u8::read(source)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("is the byte {other}, not 0 or 1")),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }
}

impl Element for String {
    /// Those of its length.
    const BYTES: u64 = 8;

    fn read(source: &mut Source<impl Read>) -> Result<Self, String> {
        source.string()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        (self.len() as u64).write(bytes);
        bytes.extend_from_slice(self.as_bytes());
    }
}

/// The type of arrays.
const ARRAY: u32 = 9;

macro_rules! values {
    ($($id:literal $name:ident($kind:ty) $doc:literal),* $(,)?) => {
        /// A value of the metadata.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Value {
            $(#[doc = $doc] $name($kind),)*
            /// Values of one type.
            Array(Array),
        }

        /// Values of one type, which is not an array itself.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Array {
            $(#[doc = $doc] $name(Vec<$kind>),)*
        }

        impl Value {
            /// Reads a type and a value of it.
            pub(super) fn read(source: &mut Source<impl Read>) -> Result<Self, String> {
                match u32::read(source)? {
                    $($id => Element::read(source).map(Self::$name),)*
                    ARRAY => Array::read(source).map(Self::Array),
                    other => Err(format!("is of the unknown type {other}")),
                }
            }

            /// Writes the type and the value.
            pub(super) fn write(&self, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$name(value) => {
                        u32::write(&$id, bytes);
                        value.write(bytes);
                    })*
                    Self::Array(array) => {
                        ARRAY.write(bytes);
                        array.write(bytes);
                    }
                }
            }
        }

        impl Array {
            fn read(source: &mut Source<impl Read>) -> Result<Self, String> {
                match u32::read(source)? {
                    $($id => elements(source).map(Self::$name),)*
                    ARRAY => Err("is an array of arrays, which is not supported".to_owned()),
                    other => Err(format!("is an array of the unknown type {other}")),
                }
            }

            fn write(&self, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$name(values) => {
                        u32::write(&$id, bytes);
                        (values.len() as u64).write(bytes);
                        for value in values {
                            value.write(bytes);
                        }
                    })*
                }
            }

            /// Returns the number of values.
            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$name(values) => values.len(),)*
                }
            }

            /// Returns the values one by one.
            #[must_use]
            pub fn values(&self) -> Vec<Value> {
                match self {
                    $(Self::$name(values) => values.iter().cloned().map(Value::$name).collect(),)*
                }
            }
        }

        $(
            impl From<$kind> for Value {
                fn from(value: $kind) -> Self {
                    Self::$name(value)
                }
            }

            impl From<Vec<$kind>> for Value {
                fn from(values: Vec<$kind>) -> Self {
                    Self::Array(Array::$name(values))
                }
            }
        )*
    };
}

values! {
    0 U8(u8) "8 bits, from 0.",
    1 I8(i8) "8 bits.",
    2 U16(u16) "16 bits, from 0.",
    3 I16(i16) "16 bits.",
    4 U32(u32) "32 bits, from 0.",
    5 I32(i32) "32 bits.",
    6 F32(f32) "A float of 32 bits.",
    7 Bool(bool) "True or false.",
    8 String(String) "A text.",
    10 U64(u64) "64 bits, from 0.",
    11 I64(i64) "64 bits.",
    12 F64(f64) "A float of 64 bits.",
}

/// Reads a count and as many values.
fn elements<T: Element>(source: &mut Source<impl Read>) -> Result<Vec<T>, String> {
    let count = u64::read(source)?;
    if count > source.left() / T::BYTES {
        return Err(format!("has {count} values, and the file ends before"));
    }
    // The vector grows with what was read: texts may be longer than their fewest bytes.
    (0..count).map(|_| T::read(source)).collect()
}

impl Array {
    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    /// Returns a text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns true or false.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a whole number that is not negative, of any width.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => Some(value),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// Returns a whole number, of any width.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// Returns a float, of either width.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// Returns an array of texts.
    #[must_use]
    pub fn as_strings(&self) -> Option<&[String]> {
        match self {
            Self::Array(Array::String(texts)) => Some(texts),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
