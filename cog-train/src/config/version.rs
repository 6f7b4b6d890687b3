//! Version numbers in `build`, by Cog's rules for Python and CUDA.

use super::node::Mistake;
use super::note::quoted;
use super::read::Text;

/// Cog's own minimum of `python_version`.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Cog's own minimum of `cuda`.
const OLDEST_CUDA: (u32, u32) = (11, 0);

/// Checks a version of Python: `3.10` or `3.10.4`.
pub(super) fn python(text: &Text) -> Result<(), Mistake> {
    check("python_version", "Python", text, OLDEST_PYTHON, "3.13").map(drop)
}

/// Parses a version of CUDA, `12.8` or `12.8.1`, as major and minor.
pub(super) fn cuda(text: &Text) -> Result<(u32, u32), Mistake> {
    check("cuda", "CUDA", text, OLDEST_CUDA, "12.8")
}

fn check(
    key: &str,
    of: &str,
    text: &Text,
    oldest: (u32, u32),
    example: &str,
) -> Result<(u32, u32), Mistake> {
    let hint = format!("write `{key}: \"{example}\"`");
    let Some(version) = parse(&text.text) else {
        let message = format!("{} is not a version of {of}, major and minor", quoted(&text.text));
        return Err(Mistake::new(text.at, message).hint(hint));
    };
    if version < oldest {
        let (major, minor) = oldest;
        let message = format!(
            "{of} {} is older than the oldest that Cog supports, {major}.{minor}",
            text.text
        );
        return Err(Mistake::new(text.at, message).hint(hint));
    }
    Ok(version)
}

/// Parses two or three numbers separated by dots, as major and minor.
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(number);
    let version = (numbers.next()??, numbers.next()??);
    match (numbers.next(), numbers.next()) {
        (None | Some(Some(_)), None) => Some(version),
        _ => None,
    }
}

/// Parses digits. `parse` alone would accept `+1`.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
