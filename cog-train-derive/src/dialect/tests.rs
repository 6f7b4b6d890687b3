use super::*;
use proptest::prelude::*;

/// Characters on which the two dialects are known to part.
const TEXTS: [&str; 24] = [
    "",
    "a",
    "A",
    "z",
    "_",
    "-",
    "5",
    "\u{665}",
    "é",
    "\u{3b1}",
    "\u{1f600}",
    " ",
    "\t",
    "\n",
    "\r",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "]",
    "[",
    "&",
    "a-b_c",
    "\u{7}",
];

fn schema(pattern: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::json!({ "pattern": pattern }))
        .unwrap_or_else(|error| panic!("JSON Schema refuses {pattern:?}: {error}"))
}

fn assert_read_alike(pattern: &str, texts: &[&str]) {
    let Ok(regex) = compile(pattern) else { return };
    let schema = schema(pattern);
    for text in texts {
        assert_eq!(
            schema.is_valid(&(*text).into()),
            regex.is_match(text),
            "{pattern:?} on {text:?}"
        );
    }
}

#[test]
fn common_patterns_mean_the_same_in_both_dialects() {
    for pattern in [
        "^[a-z0-9-]+$",
        "",
        "^(a|b)*$",
        "^(?:a|b){2,3}?$",
        r"^\p{Lu}\P{Lu}$",
        r"[^\n]",
        r"^\x41\u0042$",
        r"\u{1f600}",
        r"^[\]\[\\^-]$",
        r"^[a&b~c]$",
        r"a\.b\/c",
        r"^[+-]?[0-9]+$",
        r"(?<year>[0-9]{4})",
        r"^\p{Script=Greek}$",
        r"[\-a]",
        "[a-]",
        "[-a]",
        "[^-a]",
        "[a-c-e]",
        r"\t|\v|\f",
        "a{2,}",
        "^$",
        r"\*",
        "[.*+?]",
        "é",
        "[😀-😃]",
    ] {
        assert!(compile(pattern).is_ok(), "{pattern:?}: {:?}", compile(pattern));
        assert_read_alike(pattern, &TEXTS);
    }
    for category in GENERAL_CATEGORIES.iter().chain(&BINARY_PROPERTIES) {
        assert_read_alike(&format!(r"\p{{{category}}}"), &TEXTS);
        assert!(compile(&format!(r"\p{{{category}}}")).is_ok(), "{category}");
    }
}

#[test]
fn a_pattern_with_two_meanings_is_refused_with_a_remedy() {
    for (pattern, remedy) in [
        (r"\d", "write `[0-9]`"),
        (r"\W", "write `[^A-Za-z0-9_]`"),
        (r"[\d_]", "write `0-9`"),
        (r"\bword", "write the characters"),
        (r"\b{start}a", "write the characters"),
        (r"\Aa", "write `^`"),
        (r"a\z", "write `$`"),
        ("a.b", "write `[^"),
        ("(?i)a", "without flags"),
        ("(?i:a)", "without flags"),
        ("(?P<n>a)", "write `(?<name>...)`"),
        ("(?<a.b>a)", "name the group"),
        ("[[:alpha:]]", "write the characters"),
        ("[a-z&&[^b]]", "without `&&`"),
        ("[a-z--b]", "without `&&`"),
        ("[a~~b]", "without `&&`"),
        ("[a[bc]]", "without brackets"),
        ("[--a]", "write one `-`"),
        ("[]a]", r"write `\]`"),
        ("[^]a]", r"write `\]`"),
        ("a]", r"write `\]`"),
        ("a}", r"write `\}`"),
        (r"\pL", r"write `\p{L}`"),
        (r"\PL", r"write `\P{L}`"),
        (r"\p{Greek}", "write a general category"),
        (r"\p{lu}", "write a general category"),
        (r"\p{sc!=Greek}", "write a general category"),
        (r"\x{41}", r"write `\u{41}`"),
        (r"\U00000041", r"write `\u{41}`"),
        (r"\a", r"write `\x07`"),
        (r"\@", "without the backslash"),
        (r"a\-b", "without the backslash"),
        (r"[\&]", "without the backslash"),
        ("a{ 3 }", "without spaces"),
        ("a**", "in a group"),
        ("a{2}{3}", "in a group"),
        ("^*a", "in a group"),
        ("a(?:)?", "repeats nothing"),
        ("(?:(?:)(?:))*", "repeats nothing"),
    ] {
        let message = compile(pattern).expect_err(pattern);
        assert!(
            message.starts_with("JSON Schema") && message.contains(remedy),
            "{pattern:?}: {message}"
        );
    }
}

#[test]
fn a_pattern_that_does_not_compile_names_the_piece() {
    for (pattern, piece) in [
        ("(a", "`(`"),
        ("[a", "`[`"),
        ("a{3,2}", "`{3,2}`"),
        ("(?=a)", "`(?=`"),
        (r"(a)\1", r"`\1`"),
        (r"\p{Nope}", r"`\p{Nope}`"),
    ] {
        let message = compile(pattern).expect_err(pattern);
        assert!(
            message.starts_with("this regex does not compile") && message.ends_with(piece),
            "{message}"
        );
    }
    assert!(compile("(?:(?:(?:[0-9]{99}){99}){99}){99}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is accepted, JSON Schema reads alike: pieces of every construct, thrown together.
    #[test]
    fn every_accepted_pattern_is_read_alike(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "-", "^", "$", ".", "[", "]", "[^", "(", ")", "(?:", "(?<n>", "(?i)", "|", "*", "+", "?", "{2}", "{,2}", "{",
            "}", "&", "&&", "~~", "--", "a-z", r"\d", r"\w", r"\s", r"\b", r"\-", r"\]", r"\[", r"\.", r"\/", r"\n", r"\v",
            r"\x41", r"\u0042", r"\u{1f600}", r"\p{L}", r"\P{Lu}", r"\pL", "[:alpha:]", "é", " ", ",",
        ]), 0..8),
        text in "[-a-cA-B_&~\\]\\[ \u{e9}\u{3b1}\u{665}\n\r\u{2028}]{0,4}",
    ) {
        assert_read_alike(&pieces.concat(), &[text.as_str(), "", "a", "-", "B", "\u{e9}"]);
    }
}
