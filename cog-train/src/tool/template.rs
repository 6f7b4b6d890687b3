//! The kinds of crates that `new` writes.

/// A kind of crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    Function,
    Text,
    Classify,
    Embed,
    Image,
    Custom,
}

impl Template {
    pub(super) const ALL: [Self; 6] =
        [Self::Function, Self::Text, Self::Classify, Self::Embed, Self::Image, Self::Custom];

    /// Finds a template by its name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Text => "text",
            Self::Classify => "classify",
            Self::Embed => "embed",
            Self::Image => "image",
            Self::Custom => "custom",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Function => "a trainer that is one function: a line through points",
            Self::Text => "a LoRA adapter of a chat model",
            Self::Classify => "an encoder that gives texts a label, and its predictor",
            Self::Embed => "sentence embeddings from pairs of texts, and their predictor",
            Self::Image => "a convolutional network that reads digits, and its predictor",
            Self::Custom => "a training loop of your own on plain candle, which resumes",
        }
    }

    /// Whether it needs the feature `text`.
    pub(super) fn needs_text(self) -> bool {
        matches!(self, Self::Text | Self::Classify | Self::Embed)
    }
}
