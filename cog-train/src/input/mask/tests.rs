use proptest::prelude::*;
use serde_json::json;

use super::*;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n\
    BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
    wQ==\n\
    -----END PRIVATE KEY-----\n";

fn mask(secrets: &[&str]) -> Mask {
    Mask::new(secrets.iter().map(|&secret| secret.to_owned()))
}

#[test]
fn secrets_vanish_from_texts_names_and_nested_values() {
    let mask = mask(&["canary", "canary-long", ""]);
    assert_eq!(mask.text("a canary-long, a canary"), format!("a {MASK}, a {MASK}"));
    assert_eq!(
        mask.value(json!({"canary": ["x canary", 1]})),
        json!({MASK: [format!("x {MASK}"), 1]})
    );
    assert!(matches!(mask.text("nothing"), Cow::Borrowed(_)));
}

#[test]
fn overlapping_secrets_leave_nothing_of_either() {
    assert_eq!(mask(&["abcd", "cdef"]).text("-abcdef-"), format!("-{MASK}-"));
    assert_eq!(mask(&["aba"]).text("-ababa-"), format!("-{MASK}-"));
}

#[test]
fn names_that_become_equal_keep_their_values() {
    let value = mask(&["one", "two"]).value(json!({"one": 1, "two": 2, "three": 3}));
    assert_eq!(value, json!({MASK: 1, format!("{MASK}_2"): 2, "three": 3}));
}

#[test]
fn a_map_is_copied_only_to_hide_something() {
    let mask = mask(&["hunter2"]);
    let map = |value: Value| value.as_object().unwrap().clone();
    let plain = map(json!({"loss": 1.0, "text": ["a"]}));
    assert!(matches!(mask.map(&plain), Cow::Borrowed(_)));
    for (held, expected) in [
        (json!({"eval_hunter2": 1.0}), json!({format!("eval_{MASK}"): 1.0})),
        (json!({"a": {"b": ["hunter2"]}}), json!({"a": {"b": [MASK]}})),
    ] {
        assert!(mask.hides(&held));
        assert_eq!(*mask.map(&map(held)), map(expected));
    }
}

/// Each form with what must be left of it.
#[test]
fn every_escaped_form_is_hidden() {
    let secret = "p\"a\\s/s ü🚂\n\u{1b}%1";
    let mask = mask(&[secret]);
    let json = serde_json::to_string(secret).unwrap();
    let debug = format!("{secret:?}");
    let ascii = r#"p\"a\\s\/s \u00fc\ud83d\ude82\n\u001b%1"#;
    for (name, text) in [
        ("as it is", secret.to_owned()),
        ("JSON", json[1..json.len() - 1].to_owned()),
        ("JSON in ASCII", ascii.to_owned()),
        ("JSON in upper case", r#"p\"a\\s\/s \u00FC\uD83D\uDE82\n\u001B%1"#.to_owned()),
        ("debug", debug[1..debug.len() - 1].to_owned()),
        ("bytes", secret.as_bytes().escape_ascii().to_string()),
        ("percent, strict", "p%22a%5Cs%2Fs%20%C3%BC%F0%9F%9A%82%0A%1B%251".to_owned()),
        ("percent, in a path", "p%22a%5Cs/s%20%c3%bc%f0%9f%9a%82%0a%1b%251".to_owned()),
        ("a form", "p%22a%5Cs%2Fs+%C3%BC%F0%9F%9A%82%0D%0A%1B%251".to_owned()),
        (
            "percent, twice",
            "p%2522a%255Cs%252Fs%2520%25C3%25BC%25F0%259F%259A%2582%250A%251B%25251".to_owned(),
        ),
        ("CRLF", secret.replace('\n', "\r\n")),
    ] {
        assert_eq!(mask.text(&format!("<{text}>")), format!("<{MASK}>"), "{name}: {text}");
    }
    let twice = format!("{:?}", format!("{debug} {json}"));
    assert_eq!(mask.text(&twice), format!(r#""\"{MASK}\" \"{MASK}\"""#), "{twice}");
}

#[test]
fn escapes_of_other_texts_stay() {
    let mask = mask(&["a\nb", "C:\\new"]);
    for text in [r"a\\tb", "a%0Bb", "anb", "a b", r"a\u000bb", "C:/new", r"C:\old"] {
        assert!(matches!(mask.text(text), Cow::Borrowed(_)), "{text}");
    }
    assert_eq!(mask.text(r"C:\new C:\\new"), format!("{MASK} {MASK}"));
}

#[test]
fn the_lines_of_a_key_are_hidden_together_and_alone() {
    let mask = mask(&[PEM]);
    assert_eq!(mask.text(&format!("key:\n{PEM}")), format!("key:\n{MASK}\n"));
    assert_eq!(mask.text(&format!("{PEM:?}")), format!("\"{MASK}\\n\""));
    assert_eq!(mask.text(&json!({ "k": PEM }).to_string()), format!("{{\"k\":\"{MASK}\\n\"}}"));
    for line in PEM.lines() {
        let shown = mask.text(line);
        let kept = line.len() < 8 || line.starts_with("-----");
        assert_eq!(shown, if kept { line } else { MASK }, "{line}");
    }
}

#[test]
fn space_around_a_secret_may_be_trimmed() {
    for secret in ["hunter2\n", " hunter2", "hunter2\r\n", "\thunter2 "] {
        assert_eq!(mask(&[secret]).text("(hunter2)"), format!("({MASK})"), "{secret:?}");
    }
    assert!(matches!(mask(&[" ", "\n"]).text("a b\nc"), Cow::Borrowed(_)));
}

proptest! {
    /// Whatever the secret is, no form of it that a formatter writes is shown.
    #[test]
    fn no_form_of_any_secret_is_shown(secret in "\\PC{1,6}[\"\\\\\n\t'%+ü\u{200f}🚂a-c]{1,8}\\PC{0,4}", before in "[a\\\\%\" ]{0,3}") {
        prop_assume!(!secret.trim().is_empty());
        let mask = mask(&[&secret]);
        let trimmed = secret.trim();
        let percent: Vec<_> = trimmed.bytes().map(|b| format!("%{b:02x}")).collect();
        for text in [
            trimmed.to_owned(),
            format!("{trimmed:?}"),
            serde_json::to_string(trimmed).unwrap(),
            format!("{:?}", format!("{trimmed:?}")),
            serde_json::to_string(&json!({ "a": trimmed }).to_string()).unwrap(),
            percent.concat(),
        ] {
            let shown = mask.text(&text).into_owned();
            prop_assert!(shown.contains(MASK), "{text} gave {shown}");
            // What is left is the quotes and what stands around the value.
            let left = shown.replace(MASK, "");
            prop_assert!(left.len() <= r#""{\"a\":\"\"}""#.len(), "{text} gave {shown}");
            let around = format!("{before}{text}");
            prop_assert!(mask.text(&around).contains(MASK), "{around}");
        }
    }

    /// Masking a text without secrets gives the same text, and masking twice is masking once.
    #[test]
    fn masking_is_idempotent(secret in "[a-d\\\\]{2,4}", text in "[a-f\\\\%n]{0,30}") {
        let mask = mask(&[&secret]);
        let once = mask.text(&text).into_owned();
        prop_assert_eq!(mask.text(&once).into_owned(), once.clone());
        prop_assert!(!once.contains(secret.trim()), "{}", once);
    }
}
