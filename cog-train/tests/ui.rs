//! Declarations that the macros refuse, each mistake with one message at its token, and those that they accept.
//!
//! A file under `ui/fail` is named after its one mistake; the `.stderr` beside it is all that a user then reads. After a
//! change of a sentence: `TRYBUILD=overwrite cargo test -p cog-train --test ui`, and read the difference.

#[test]
fn each_mistake_is_one_message_at_its_token() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

/// A mistake never causes a second error somewhere else: of what is expected above, each is one error.
#[test]
fn every_mistake_is_one_error() {
    let files: Vec<_> =
        std::fs::read_dir("tests/ui/fail").unwrap().map(|entry| entry.unwrap().path()).collect();
    let sources =
        files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    for source in sources {
        let expected = source.with_extension("stderr");
        let text = std::fs::read_to_string(&expected)
            .unwrap_or_else(|_| panic!("no {}", expected.display()));
        let errors = text.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "{}:\n{text}", expected.display());
        assert!(!text.contains("warning"), "{}:\n{text}", expected.display());
    }
    assert!(files.len() >= 120, "{}", files.len());
}
