//! Types of outputs in the schema. They live beside the inputs because one document describes both.

/// The type of an output in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputType {
    /// Text.
    String,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A file.
    Path,
    /// A JSON object, or anything.
    Object,
    /// A list.
    Array(Box<OutputType>),
    /// A derived struct: its fields in order.
    Fields(Vec<OutputField>),
}

/// A field of a derived output struct in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputField {
    /// Its name.
    pub name: &'static str,
    /// Its type, without `Option`.
    pub ty: OutputType,
    /// Whether it is an `Option`.
    pub optional: bool,
}
