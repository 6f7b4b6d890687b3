//! Any bytes as a `cog.yaml`: a config or an error whose positions lie inside the text, and never a panic.
#![no_main]

use cog_train::config::{Config, Names};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let names = Names { trainer: Some("T"), predictor: Some("P") };
    let strict = Config::check(bytes, "cog.yaml", &names, |_| true);
    let lax = Config::parse(bytes, "cog.yaml");
    assert!(lax.is_ok() || strict.is_err(), "what is wrong at run time is wrong under `check`");
    let Err(error) = strict else { return };

    let shown = error.to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let widths: Vec<_> = text.split(['\n', '\r']).map(|line| line.chars().count()).collect();
    for note in &error {
        let (line, column) = (note.position.line(), note.position.column());
        let width = line.checked_sub(1).and_then(|index| widths.get(index));
        let width = width.unwrap_or_else(|| panic!("no line {line}: {shown}"));
        assert!((1..=width + 1).contains(&column), "no column {column} in line {line}: {shown}");
    }
});
