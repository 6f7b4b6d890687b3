//! The table: one [`Spec`] for each input, emitted by the derives as a constant and read by everything else.

/// One input: its name, its type and its rules.
///
/// A derive writes it as a chain of `const` calls:
///
/// ```
/// use cog_train::input::{InputType, Literal, Number, Spec};
///
/// const EPOCHS: Spec = Spec::new("epochs", <u32 as InputType>::TYPE)
///     .description("Passes over the data")
///     .default(Literal::Int(3))
///     .ge(Number::Int(1))
///     .le(Number::Int(10));
/// assert_eq!(EPOCHS.name, "epochs");
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Spec {
    /// The name on the command line, in JSON and in the schema.
    pub name: &'static str,
    /// The author's description.
    pub description: Option<&'static str>,
    /// The type of its value.
    pub ty: Type,
    /// The default, if it has one.
    pub default: Option<Literal>,
    /// The minimum.
    pub ge: Option<Number>,
    /// The maximum.
    pub le: Option<Number>,
    /// The minimum number of characters (Unicode scalar values).
    pub min_length: Option<u64>,
    /// The maximum number of characters (Unicode scalar values).
    pub max_length: Option<u64>,
    /// A pattern that must match somewhere in the text.
    pub regex: Option<&'static str>,
    /// The only values allowed.
    pub choices: Option<&'static [Literal]>,
    /// Whether the input is deprecated: still accepted, and not to be used.
    pub deprecated: bool,
}

/// The type of an input: one value of a kind, a list of them, or an optional one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// The kind of the value, or of each item of a list.
    pub kind: Kind,
    /// Whether it is a `Vec<T>`.
    pub list: bool,
    /// Whether it is an `Option<T>`, which may be left out or null.
    pub optional: bool,
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// An integer within the range of its Rust type.
    Integer {
        /// The type's minimum.
        min: i128,
        /// The type's maximum.
        max: i128,
    },
    /// A finite number; `f32` is checked as written, in 64 bits.
    Float,
    /// `true` or `false`.
    Boolean,
    /// A local file.
    Path,
    /// A text that is never shown.
    Secret,
    /// A JSON object.
    Object,
    /// Any JSON value.
    Any,
    /// One of the names of a `#[derive(Choice)]` enum.
    Choice(&'static [&'static str]),
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer, exact.
    Int(i128),
    /// Any other number.
    Float(f64),
}

/// A value written in an attribute.
#[derive(Debug, Clone, Copy)]
pub enum Literal {
    /// `true`, `false`.
    Bool(bool),
    /// `3`, `-1`.
    Int(i128),
    /// `5e-5`.
    Float(f64),
    /// `"adamw"`.
    Str(&'static str),
    /// `Optimizer::AdamW`: gives the variant's name.
    Variant(fn() -> &'static str),
    /// `[1, 2]`.
    List(&'static [Literal]),
}

impl Spec {
    /// Creates an input without rules.
    #[must_use]
    pub const fn new(name: &'static str, ty: Type) -> Self {
        Self {
            name,
            description: None,
            ty,
            default: None,
            ge: None,
            le: None,
            min_length: None,
            max_length: None,
            regex: None,
            choices: None,
            deprecated: false,
        }
    }

    /// Sets [`Spec::description`].
    #[must_use]
    pub const fn description(mut self, text: &'static str) -> Self {
        self.description = Some(text);
        self
    }

    /// Sets [`Spec::default`].
    #[must_use]
    pub const fn default(mut self, value: Literal) -> Self {
        self.default = Some(value);
        self
    }

    /// Sets [`Spec::ge`].
    #[must_use]
    pub const fn ge(mut self, least: Number) -> Self {
        self.ge = Some(least);
        self
    }

    /// Sets [`Spec::le`].
    #[must_use]
    pub const fn le(mut self, greatest: Number) -> Self {
        self.le = Some(greatest);
        self
    }

    /// Sets [`Spec::min_length`].
    #[must_use]
    pub const fn min_length(mut self, characters: u64) -> Self {
        self.min_length = Some(characters);
        self
    }

    /// Sets [`Spec::max_length`].
    #[must_use]
    pub const fn max_length(mut self, characters: u64) -> Self {
        self.max_length = Some(characters);
        self
    }

    /// Sets [`Spec::regex`].
    #[must_use]
    pub const fn regex(mut self, pattern: &'static str) -> Self {
        self.regex = Some(pattern);
        self
    }

    /// Sets [`Spec::choices`].
    #[must_use]
    pub const fn choices(mut self, values: &'static [Literal]) -> Self {
        self.choices = Some(values);
        self
    }

    /// Sets [`Spec::deprecated`].
    #[must_use]
    pub const fn deprecated(mut self) -> Self {
        self.deprecated = true;
        self
    }

    /// Whether a value must be given: no default, and not an `Option`.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.default.is_none() && !self.ty.optional
    }
}
