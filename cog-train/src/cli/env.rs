//! Environment variables for the trainer: `-e NAME=VALUE` and `environment` of `cog.yaml`.

use crate::error::Error;

/// `-e` values, read before anything is set.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<(String, String)>, Error> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(Error::Arguments {
                // The text is not shown: it may be a secret in the wrong variable.
                reason: "`-e` is not given a name and a value\nhint: write `-e NAME=VALUE`"
                    .to_owned(),
            }),
        })
        .collect()
}

/// Sets variables of this process: those of `cog.yaml` where the caller has not set them, those of `-e` always.
///
/// # Safety
///
/// 1. No other thread of the process runs during the call.
#[expect(unsafe_code, reason = "there is no safe way to set a variable of one's own process")]
pub(crate) unsafe fn apply<'a>(
    config: impl Iterator<Item = (&'a str, &'a str)>,
    arguments: &[(String, String)],
) {
    for (name, value) in config {
        if std::env::var_os(name).is_none() {
            // SAFETY: by (1) no other thread reads or writes the environment during the call.
            unsafe { std::env::set_var(name, value) };
        }
    }
    for (name, value) in arguments {
        // SAFETY: by (1), as above.
        unsafe { std::env::set_var(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_a_name_must_be_there() {
        let texts = ["A=b=c".to_owned(), "B=".to_owned()];
        assert_eq!(
            parse(&texts).unwrap(),
            [("A".into(), "b=c".into()), ("B".into(), String::new())]
        );
        for bad in ["A", "=x", "", "A=\0"] {
            assert_eq!(parse(&[bad.to_owned()]).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
