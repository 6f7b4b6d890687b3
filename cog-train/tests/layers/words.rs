//! The docs, comments and messages speak in the field's standard terms.

use std::path::Path;

use crate::CRATES;
use crate::source::{files_in, sources};

/// Phrases that have a standard term, in small letters.
const BANNED: &[&str] = &[
    "a wish to",
    "are asked to",
    "are told",
    "brought to the disk",
    "go on with",
    "goes on with",
    "going on with",
    "gone on with",
    "is asked to",
    "is told",
    "tells",
    "was asked to",
    "was told",
    "without gaps",
];

/// A doc comment begins with a verb or a noun phrase, not with one of these.
const OPENINGS: &[&str] = &["How ", "What ", "Where "];

/// Folders whose programs and documents speak in the same terms.
const PROGRAMS: &[&str] = &["../examples", "../benches", "docs"];

/// The documents that are read beside the code.
const DOCUMENTS: &[&str] =
    &["../ARCHITECTURE.md", "../CONTRIBUTING.md", "../README.md", "nn/README.md"];

#[test]
fn docs_and_messages_use_standard_terms() {
    let mut wrong = Vec::new();
    let mut look = |name: &str, text: &str| {
        for (line, words) in (1..).zip(text.lines()) {
            let small = words.to_lowercase();
            let found = BANNED.iter().filter(|phrase| small.contains(*phrase));
            wrong.extend(found.map(|phrase| format!("{name}:{line}: \"{phrase}\"")));
        }
    };
    for folder in CRATES {
        for source in sources(folder) {
            look(&format!("{folder}/src/{}", source.path.display()), &source.text);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = DOCUMENTS.iter().map(|document| root.join(document)).collect();
    for folder in PROGRAMS {
        paths.extend(files_in(&root.join(folder), &["rs", "md"]));
    }
    for path in paths {
        look(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Adds the doc comments of a text that begin with one of [`OPENINGS`].
fn misbegun(name: &str, text: &str, wrong: &mut Vec<String>) {
    let mut before = "";
    for (line, words) in (1..).zip(text.lines()) {
        let words = words.trim_start();
        let doc = |line: &str| line.starts_with("/// ") || line.starts_with("//! ");
        if doc(words) && !doc(before) {
            let opening = OPENINGS.iter().find(|opening| words[4..].starts_with(*opening));
            wrong.extend(opening.map(|opening| format!("{name}:{line}: \"{opening}...\"")));
        }
        before = words;
    }
}

#[test]
fn doc_comments_begin_with_a_verb_or_a_noun() {
    let mut wrong = Vec::new();
    for folder in CRATES {
        for source in sources(folder) {
            let name = format!("{folder}/src/{}", source.path.display());
            misbegun(&name, &source.text, &mut wrong);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in PROGRAMS.iter().chain(&["tests"]) {
        for path in files_in(&root.join(folder), &["rs", "md"]) {
            let text = std::fs::read_to_string(&path).unwrap();
            misbegun(&path.display().to_string(), &text, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
