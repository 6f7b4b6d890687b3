//! The parameters of a request.

/// The buckets of a curve where no width is given.
const WIDTH: usize = 600;
/// The most buckets that a client may ask for, in pixels of the widest screens.
const MOST: usize = 8192;

/// The parameters of a request for data.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    /// The width of a plot in pixels: the least number of buckets for a curve with more points.
    pub(super) width: usize,
    /// The first step.
    pub(super) from: f64,
    /// The last step.
    pub(super) to: f64,
    /// The position after which to begin.
    pub(super) after: Option<String>,
    /// The byte before which to end.
    pub(super) until: Option<u64>,
}

impl Query {
    /// Reads `name=value&...`; the sentence about a value that is not valid. Unknown names are ignored.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self {
            width: WIDTH,
            from: f64::NEG_INFINITY,
            to: f64::INFINITY,
            after: None,
            until: None,
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "width" => query.width = number::<usize>(name, value)?.clamp(1, MOST),
                "from" => query.from = number(name, value)?,
                "to" => query.to = number(name, value)?,
                "until" => query.until = Some(number(name, value)?),
                "after" => query.after = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(query)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    let value = crate::error::printable_name(value);
    value.parse().map_err(|_| format!("`{name}={value}` is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbers_or_refused_by_name() {
        let query = Query::parse("width=99999&from=2&to=1e3&after=12-ab&until=7&x=%").unwrap();
        assert_eq!((query.width, query.from, query.to), (MOST, 2.0, 1000.0));
        assert_eq!((query.after.as_deref(), query.until), (Some("12-ab"), Some(7)));
        assert_eq!(Query::parse("").unwrap(), Query::parse("width=600").unwrap());
        for wrong in ["width=-1", "from=a", "until=", "to"] {
            let name = wrong.split('=').next().unwrap();
            let error = Query::parse(wrong).unwrap_err();
            assert!(error.starts_with(&format!("`{name}=")), "{error}");
        }
    }
}
