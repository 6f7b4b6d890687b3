//! What the schema says of an output. It stands with the inputs because one document describes both.

/// What the schema says of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputType {
    /// Text.
    String,
    /// A whole number.
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

/// A field of a derived output struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputField {
    /// Its name.
    pub name: &'static str,
    /// Its type, without `Option`.
    pub ty: OutputType,
    /// Whether it is an `Option`.
    pub optional: bool,
}
