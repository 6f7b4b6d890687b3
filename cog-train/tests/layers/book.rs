//! The book: every page is in its table of contents and is compiled, and every link between documents leads to a file and a heading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the file, which is empty for the text's own, and the heading of each link of a Markdown text that leads to a file.
fn links(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(|target| match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    })
}

/// Returns the identifiers that mdBook and GitHub give the headings of a Markdown text.
fn headings(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    let words = lines.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    words.map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links(&summary).map(|(page, _)| docs.join(page)).collect();
    let mut there: BTreeSet<PathBuf> = pages().into_iter().collect();
    there.remove(&docs.join("SUMMARY.md"));
    assert_eq!(listed, there);
}

#[test]
fn every_page_with_rust_code_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let book = fs::read_to_string(root.join("src/book.rs")).unwrap();
    for page in pages() {
        let (text, name) =
            (fs::read_to_string(&page).unwrap(), page.file_name().unwrap().to_owned());
        // The trainer of the HTTP API is compiled by the test that sends its requests.
        let is_compiled =
            book.contains(&format!("\"{}\"", name.display())) || name == "http-api.md";
        assert!(is_compiled || !text.contains("\n```rust"), "{}", page.display());
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| root.join(name));
    let pages = pages();
    for document in documents.iter().chain(&pages) {
        let text = fs::read_to_string(document).unwrap();
        for (link, heading) in links(&text) {
            let target = match link {
                "" => document.clone(),
                _ => document.parent().unwrap().join(link),
            };
            assert!(target.exists(), "{}: {link}", document.display());
            // What lies outside of the book is not there for its readers.
            let is_within = !pages.contains(document) || pages.contains(&target);
            assert!(is_within, "{}: {link}", document.display());
            let Some(heading) = heading else { continue };
            let there = headings(&fs::read_to_string(&target).unwrap());
            assert!(there.contains(heading), "{}: {link}#{heading}: {there:?}", document.display());
        }
    }
}
