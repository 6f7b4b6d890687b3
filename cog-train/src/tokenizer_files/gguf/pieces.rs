//! Pieces of `SentencePiece` with scores, of which merges are made (Kudo and Richardson, "`SentencePiece`", 2018).

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Kind, Parts, Vocabulary};
use crate::error::counted;
use crate::gguf::{self, Array};

/// Stands for a space in a piece.
pub(super) const SPACE: &str = "\u{2581}";

/// A text between special tokens begins with a space, as in llama.cpp, unless a key says otherwise.
pub(super) fn parts(vocabulary: &Vocabulary) -> Result<Parts, String> {
    let Some(gguf::Value::Array(Array::F32(scores))) = vocabulary.get("scores") else {
        return Err("there is no `tokenizer.ggml.scores`, a list of 32-bit floats".to_owned());
    };
    let (found, count) = (scores.len(), vocabulary.tokens.len());
    if found != count {
        return Err(format!(
            "`tokenizer.ggml.scores` has {} for {}",
            counted(found, "value"),
            counted(count, "token")
        ));
    }
    let spaced = vocabulary.flag("add_space_prefix", true);
    let replaced = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let prepend = json!({"type": "Prepend", "prepend": SPACE});
    let normalizers = if spaced { vec![prepend, replaced] } else { vec![replaced] };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if spaced {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = vocabulary.token("unknown")?.map(|(_, token)| token);
    Ok(Parts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary.ids(), "merges": merges(vocabulary.tokens, &vocabulary.kinds, scores),
        }),
        begins: true,
    })
}

/// A pair of pieces that make another.
struct Merge<'a> {
    parts: [&'a str; 2],
    /// The characters of each.
    lengths: [usize; 2],
    score: f32,
}

/// The pairs of pieces by the score of what they make, the highest first.
pub(super) fn merges(tokens: &[String], kinds: &[Kind], scores: &[f32]) -> Vec<[String; 2]> {
    let pieces = || tokens.iter().zip(kinds).zip(scores);
    let normal = |kind: &Kind| matches!(kind, Kind::Normal | Kind::UserDefined);
    let known: HashMap<&str, f32> = pieces()
        .filter(|((_, kind), _)| normal(kind))
        .map(|((token, _), score)| (token.as_str(), *score))
        .collect();
    let mut merges = Vec::new();
    for ((token, _), score) in pieces().filter(|((_, kind), _)| normal(kind)) {
        let count = token.chars().count();
        for (length, (at, _)) in token.char_indices().enumerate().skip(1) {
            let parts: [&str; 2] = token.split_at(at).into();
            if parts.iter().all(|part| known.contains_key(part)) {
                merges.push(Merge { parts, lengths: [length, count - length], score: *score });
            }
        }
    }
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.lengths.cmp(&a.lengths)));
    merges.into_iter().map(|merge| merge.parts.map(str::to_owned)).collect()
}
