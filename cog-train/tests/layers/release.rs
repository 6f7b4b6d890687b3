//! The version is the same wherever it stands, and the changelog has it.

use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

#[test]
fn the_changelog_begins_with_what_is_unreleased_and_this_version() {
    let changelog = read("CHANGELOG.md");
    let mut sections = changelog.lines().filter(|line| line.starts_with("## "));
    assert_eq!(sections.next(), Some("## [Unreleased]"));
    let newest = sections.next().unwrap();
    let date = newest.strip_prefix(&format!("## [{VERSION}] - ")).expect(newest);
    let digits = date.replace('-', "");
    assert!(date.len() == 10 && digits.len() == 8 && digits.parse::<u32>().is_ok(), "{newest}");

    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for line in changelog.lines().filter(|line| line.starts_with("###")) {
        assert!(kinds.iter().any(|kind| line == format!("### {kind}")), "{line}");
    }
}

#[test]
fn manifests_lock_files_and_documents_have_this_version() {
    let manifest = read("Cargo.toml");
    for name in ["cog-train-derive", "cog-train-nn"] {
        // Exactly this one: the macros emit calls into a hidden module.
        let dependency = format!("{name} = {{ version = \"={VERSION}\", ");
        assert!(manifest.contains(&dependency), "{dependency}");
    }
    for lock in ["Cargo.lock", "cog-train/fuzz/Cargo.lock"] {
        let text = read(lock);
        for name in ["cog-train", "cog-train-derive", "cog-train-nn"] {
            let package = format!("name = \"{name}\"\nversion = \"{VERSION}\"\n");
            assert!(text.contains(&package), "{lock}: {name}");
        }
    }
    let record = format!("\"versions\": {{ \"cog-train\": \"{VERSION}\" }}");
    assert!(read("cog-train/docs/files.md").contains(&record), "{record}");
}
