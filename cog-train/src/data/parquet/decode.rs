//! The deserializer of the bytes that [`Encoder`](super::encode::Encoder) writes. Unlike JSON, they have NaN, infinities,
//! and keys of any type.

use serde::de::value::{Error, MapAccessDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::encode::Tag;

/// Deserializes a row.
pub(super) fn row<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    T::deserialize(&mut Decoder { rest: bytes })
}

/// Bytes that begin with a value; deserializing consumes it.
struct Decoder<'de> {
    rest: &'de [u8],
}

impl<'de> Decoder<'de> {
    fn take(&mut self, count: usize) -> Result<&'de [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize, Error> {
        usize::try_from(u64::from_le_bytes(self.number()?)).map_err(|_| damaged())
    }

    fn data(&mut self) -> Result<&'de [u8], Error> {
        let length = self.length()?;
        self.take(length)
    }

    fn peek(&self) -> Result<Tag, Error> {
        let tag = self.rest.first().and_then(|tag| Tag::ALL.get(usize::from(*tag)));
        tag.copied().ok_or_else(damaged)
    }

    fn tag(&mut self) -> Result<Tag, Error> {
        let tag = self.peek()?;
        self.take(1)?;
        Ok(tag)
    }

    /// Returns the key that comes next as text.
    fn key_text(&mut self) -> Result<String, Error> {
        Ok(match self.tag()? {
            Tag::False => "false".to_owned(),
            Tag::True => "true".to_owned(),
            Tag::Signed => i64::from_le_bytes(self.number()?).to_string(),
            Tag::Unsigned => u64::from_le_bytes(self.number()?).to_string(),
            Tag::Single => f32::from_le_bytes(self.number()?).to_string(),
            Tag::Double => f64::from_le_bytes(self.number()?).to_string(),
            Tag::Text => self.text()?.to_owned(),
            Tag::Null | Tag::Bytes | Tag::List | Tag::Map => {
                return Err(Error::custom("a key of a map is neither text nor a number"));
            }
        })
    }

    fn text(&mut self) -> Result<&'de str, Error> {
        std::str::from_utf8(self.data()?).map_err(|_| damaged())
    }
}

/// The temporary file has other bytes than were written.
fn damaged() -> Error {
    Error::custom("the temporary file is damaged")
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tag()? {
            Tag::Null => visitor.visit_unit(),
            Tag::False => visitor.visit_bool(false),
            Tag::True => visitor.visit_bool(true),
            Tag::Signed => visitor.visit_i64(i64::from_le_bytes(self.number()?)),
            Tag::Unsigned => visitor.visit_u64(u64::from_le_bytes(self.number()?)),
            Tag::Single => visitor.visit_f32(f32::from_le_bytes(self.number()?)),
            Tag::Double => visitor.visit_f64(f64::from_le_bytes(self.number()?)),
            Tag::Text => visitor.visit_borrowed_str(self.text()?),
            Tag::Bytes => {
                let mut elements = SeqDeserializer::new(self.data()?.iter().copied());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Tag::List => {
                let count = self.length()?;
                let mut elements = Elements { decoder: self, left: count };
                let value = visitor.visit_seq(&mut elements)?;
                match elements.left {
                    0 => Ok(value),
                    _ => Err(Error::invalid_length(count, &"fewer elements in the list")),
                }
            }
            Tag::Map => {
                let count = self.length()?;
                let mut entries = Entries { decoder: self, left: count, key: &[] };
                let value = visitor.visit_map(&mut entries)?;
                match entries.left {
                    0 => Ok(value),
                    _ => Err(Error::invalid_length(count, &"fewer entries in the map")),
                }
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? == Tag::Null {
            self.take(1)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? == Tag::Bytes {
            self.take(1)?;
            return visitor.visit_borrowed_bytes(self.data()?);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    /// As JSON has them: a text is a variant without content, a map of one entry one with content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.tag()? {
            Tag::Text => visitor.visit_enum(self.text()?.into_deserializer()),
            Tag::Map => {
                let count = self.length()?;
                let mut entries = Entries { decoder: self, left: count, key: &[] };
                let value = visitor.visit_enum(MapAccessDeserializer::new(&mut entries))?;
                match entries.left {
                    0 => Ok(value),
                    _ => Err(Error::invalid_length(count, &"one entry, the variant")),
                }
            }
            _ => Err(Error::custom("invalid type: expected the name of a variant")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct Entries<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    /// The bytes from the key of the next value on, for errors in it.
    key: &'de [u8],
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.key = self.decoder.rest;
        seed.deserialize(Key(self.decoder)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = seed.deserialize(&mut *self.decoder);
        value.map_err(|error| match (Decoder { rest: self.key }).key_text() {
            Ok(key) => Error::custom(format!("`{key}`: {error}")),
            Err(_) => error,
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A key of a map, which has a text whatever its type.
struct Key<'a, 'de>(&'a mut Decoder<'de>);

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.peek()? == Tag::Text {
            return self.0.deserialize_any(visitor);
        }
        visitor.visit_string(self.0.key_text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
