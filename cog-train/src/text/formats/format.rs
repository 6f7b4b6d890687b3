//! The formats of rows, recognised by their keys.

use crate::error::printable_name;

/// A format of training rows. Its name is its required keys.
///
/// ```
/// use cog_train::text::Format;
///
/// assert_eq!(Format::of(["id", "prompt", "completion"])?, Format::Completion);
/// assert_eq!(Format::of(["text", "label"])?, Format::Labelled); // rather than `text` alone
/// let unknown = Format::of(["promt", "completion"]).unwrap_err();
/// assert!(unknown.ends_with("the nearest is `prompt`, `completion`, where `prompt` is missing"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `text`: all of it is trained.
    Text,
    /// `prompt`, `completion`: texts or lists of messages; the completion is trained.
    Completion,
    /// `messages` with `role` and `content`: the assistant's turns are trained.
    Messages,
    /// `conversations` with `from` and `value` (ShareGPT): the assistant's turns are trained.
    Conversations,
    /// `instruction`, `output` and perhaps `input` (Alpaca): the output is trained.
    Instruction,
    /// `text`, `label`: a classification.
    Labelled,
    /// `anchor`, `positive` and perhaps `negative`: texts whose embeddings are to be near.
    Pair,
    /// `prompt`, `chosen`, `rejected`: a preference.
    Preference,
    /// `chosen`, `rejected`: a preference whose prompt is what both begin with.
    ImplicitPreference,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 9] = [
        Self::Text,
        Self::Completion,
        Self::Messages,
        Self::Conversations,
        Self::Instruction,
        Self::Labelled,
        Self::Pair,
        Self::Preference,
        Self::ImplicitPreference,
    ];

    /// Returns the keys that each row has.
    #[must_use]
    pub fn required(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text"],
            Self::Completion => &["prompt", "completion"],
            Self::Messages => &["messages"],
            Self::Conversations => &["conversations"],
            Self::Instruction => &["instruction", "output"],
            Self::Labelled => &["text", "label"],
            Self::Pair => &["anchor", "positive"],
            Self::Preference => &["prompt", "chosen", "rejected"],
            Self::ImplicitPreference => &["chosen", "rejected"],
        }
    }

    /// Recognises the format of rows with these keys: the one with the most keys of those whose keys are all there. Other keys
    /// are ignored.
    ///
    /// # Errors
    ///
    /// A sentence with the keys and the nearest format, when there is none or more than one.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let keys: Vec<&str> = keys.into_iter().collect();
        let has = |key: &&str| keys.contains(key);
        let fitting = Self::ALL.into_iter().filter(|format| format.required().iter().all(has));
        let mut fitting: Vec<Self> = fitting.collect();
        let most = fitting.iter().map(|format| format.required().len()).max();
        fitting.retain(|format| Some(format.required().len()) == most);
        match fitting[..] {
            [format] => Ok(format),
            [] => Err(unknown(&keys)),
            _ => {
                let names: Vec<String> =
                    fitting.iter().map(|format| listed(format.required())).collect();
                Err(format!("its keys fit more than one format: {}", names.join("; ")))
            }
        }
    }
}

/// Formats keys for a message.
fn listed(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{}`", printable_name(key))).collect();
    quoted.join(", ")
}

fn unknown(keys: &[&str]) -> String {
    let likeness = |key: &str| {
        let to = |other: &&str| strsim::normalized_damerau_levenshtein(key, &other.to_lowercase());
        keys.iter().map(to).fold(0.0, f64::max)
    };
    let mean = |format: &Format| {
        let required = format.required();
        #[expect(clippy::cast_precision_loss, reason = "three at most")]
        let count = required.len() as f64;
        required.iter().map(|key| likeness(key)).sum::<f64>() / count
    };
    let nearest = Format::ALL.into_iter().max_by(|one, other| mean(one).total_cmp(&mean(other)));
    let found = match keys {
        [] => "it has no keys".to_owned(),
        _ => format!("the keys {} are those of no format", listed(&keys[..keys.len().min(6)])),
    };
    let Some(format) = nearest.filter(|format| mean(format) > 0.5) else {
        let all = Format::ALL.into_iter().map(|format| listed(format.required()));
        return format!("{found}, which are {}", all.collect::<Vec<_>>().join("; "));
    };
    let required = format.required();
    let missing: Vec<&str> = required.iter().copied().filter(|key| !keys.contains(key)).collect();
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let (required, missing) = (listed(required), listed(&missing));
    format!("{found}; the nearest is {required}, where {missing} {verb} missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_recognised_by_its_keys_beside_others() {
        for format in Format::ALL {
            let keys = format.required().iter().copied().chain(["id", "score"]);
            assert_eq!(Format::of(keys), Ok(format));
        }
        // A preference that carries its conversation too.
        let keys = ["prompt", "messages", "chosen", "rejected"];
        assert_eq!(Format::of(keys), Ok(Format::Preference));
    }

    #[test]
    fn unknown_keys_are_answered_with_the_nearest_format() {
        for (keys, expected) in [
            (
                &["Text "][..],
                "the keys `Text ` are those of no format; the nearest is `text`, where `text` is missing",
            ),
            (
                &["chosen", "reject"],
                "the keys `chosen`, `reject` are those of no format; the nearest is `chosen`, `rejected`, where `rejected` \
                 is missing",
            ),
            (
                &["instructions", "outputs"],
                "the keys `instructions`, `outputs` are those of no format; the nearest is `instruction`, `output`, where \
                 `instruction`, `output` are missing",
            ),
            (
                &["x"],
                "the keys `x` are those of no format, which are `text`; `prompt`, `completion`; `messages`; `conversations`; \
                 `instruction`, `output`; `text`, `label`; `anchor`, `positive`; `prompt`, `chosen`, `rejected`; `chosen`, `rejected`",
            ),
            (&["messages", "text"], "its keys fit more than one format: `text`; `messages`"),
        ] {
            assert_eq!(Format::of(keys.iter().copied()).unwrap_err(), expected);
        }
    }
}
