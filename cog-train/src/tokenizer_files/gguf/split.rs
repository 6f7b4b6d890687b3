//! The rules that split a text before its bytes are merged, by the names of llama.cpp.

use serde_json::{Value, json};

use crate::error::printable_name;

/// The rules of a family of tokenizers.
#[derive(Debug)]
pub(super) struct Split {
    /// The values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    /// Expressions whose matches are split off, one after the other.
    expressions: &'static [&'static str],
    /// Whether characters are composed first.
    pub(super) composed: bool,
    /// Whether a piece that is a token itself is not merged from its bytes.
    pub(super) whole_words: bool,
    /// Whether a sequence begins with BOS where no key says otherwise.
    pub(super) begins: bool,
}

/// GPT-2's expression.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const PLAIN: Split = Split {
    names: &["gpt-2", "mpt", "olmo", "phi-2"],
    expressions: &[GPT2],
    composed: false,
    whole_words: false,
    begins: false,
};

const SPLITS: &[Split] = &[
    PLAIN,
    // Of files whose rules llama.cpp's conversion did not know, or that are older than the key.
    Split {
        names: &["default"],
        expressions: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Split {
        names: &["smollm", "codeshell", "command-r", "refact", "starcoder"],
        expressions: &[r"\p{N}", GPT2],
        ..PLAIN
    },
    Split {
        names: &["llama-bpe", "falcon3", "llama-v3", "llama3"],
        expressions: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Split {
        names: &["qwen2", "deepseek-r1-qwen"],
        expressions: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        composed: true,
        ..PLAIN
    },
    Split {
        names: &["gpt-4o"],
        expressions: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        ..PLAIN
    },
    Split {
        names: &["tekken"],
        expressions: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        whole_words: true,
        begins: true,
        ..PLAIN
    },
];

impl Split {
    /// The rules of a name.
    ///
    /// # Errors
    ///
    /// The reason for which it is refused, with the names that are known.
    pub(super) fn named(name: &str) -> Result<&'static Self, String> {
        SPLITS.iter().find(|split| split.names.contains(&name)).ok_or_else(|| {
            let names = SPLITS.iter().flat_map(|split| split.names);
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            let name = printable_name(name);
            format!(
                "`tokenizer.ggml.pre` is `{name}`, which is not supported\nhint: supported are {}",
                names.join(", ")
            )
        })
    }

    /// The name of the rules with these properties, if there is one.
    pub(super) fn name_of(
        expressions: &[String],
        composed: bool,
        whole_words: bool,
    ) -> Option<&'static str> {
        let alike = |split: &&Split| {
            split.expressions == expressions
                && split.composed == composed
                && split.whole_words == whole_words
        };
        SPLITS.iter().find(alike).and_then(|split| split.names.first().copied())
    }

    /// The rules in a `tokenizer.json`.
    pub(super) fn pre_tokenizer(&self) -> Value {
        let split = |expression: &&str| {
            json!({
                "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false
            })
        };
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
        });
        let steps = self.expressions.iter().map(split).chain([bytes]).collect::<Vec<_>>();
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}
