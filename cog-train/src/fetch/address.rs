//! Addresses: their scheme, the digest they ask for, the name of their file, and what of them may be shown.

use std::path::PathBuf;

use crate::error::Error;

/// The longest name of a file in bytes; systems allow 255, and a little is left for what is added.
const NAME_BYTES: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    File,
    Data,
}

impl Scheme {
    pub(super) fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if rest.starts_with("//") => Some(Self::Http),
            "file" if rest.starts_with("//") => Some(Self::File),
            "data" => Some(Self::Data),
            _ => None,
        }
    }
}

/// An address without its fragment.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) url: String,
    /// From `#sha256=HEX`, in lower case.
    pub(super) sha256: Option<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Fetch { url: redact(text), reason: reason.to_owned() };
        let scheme = Scheme::of(text).ok_or_else(|| {
            bad("not an address\nhint: write `http://`, `https://`, `file://` or `data:`")
        })?;
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let sha256 = match fragment.strip_prefix("sha256=") {
            Some(hex) => Some(parse_digest(hex).ok_or_else(|| {
                bad(&format!("`#sha256={hex}` is not a digest of 64 hexadecimal digits"))
            })?),
            None => None,
        };
        if scheme == Scheme::Http && url.chars().any(|char| char.is_control() || char == ' ') {
            return Err(bad("has a space or a control character in it"));
        }
        Ok(Self { scheme, url: url.to_owned(), sha256 })
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Fetch { url: redact(&self.url), reason: reason.into() }
    }

    pub(super) fn check_digest(&self, found: &str) -> Result<(), Error> {
        match &self.sha256 {
            Some(wanted) if wanted != found => Err(self.error(format!(
                "the content has the SHA-256 digest `{found}`, and `{wanted}` was asked for"
            ))),
            _ => Ok(()),
        }
    }

    /// The last part of the path, unquoted, fit for a file system.
    pub(super) fn file_name(&self) -> String {
        let path = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = path.split('?').next().unwrap_or_default();
        let (_, path) = path.split_once('/').unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let name: String = String::from_utf8_lossy(&unquote(last.as_bytes()))
            .chars()
            .map(|char| if matches!(char, '/' | '\\') || char.is_control() { '_' } else { char })
            .collect();
        match shorten(&name) {
            name if name.is_empty() || name == "." || name == ".." => "file".to_owned(),
            name => name,
        }
    }
}

/// Cuts a long name in the middle, so that the extension stays.
fn shorten(name: &str) -> String {
    /// Of a longer extension nothing is known.
    const EXTENSION_BYTES: usize = 20;
    if name.len() <= NAME_BYTES {
        return name.to_owned();
    }
    let from = name.ceil_char_boundary(name.len() - EXTENSION_BYTES);
    let extension = name[from..].find('.').map_or("", |dot| &name[from + dot..]);
    let stem = name.floor_char_boundary(NAME_BYTES - extension.len());
    format!("{}{extension}", &name[..stem])
}

/// A SHA-256 digest in lower case.
pub(crate) fn parse_digest(hex: &str) -> Option<String> {
    let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| hex.to_ascii_lowercase())
}

/// Undoes `%41`; a `%` that quotes nothing stays.
pub(super) fn unquote(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

/// An address for a message: without user, password, query and fragment; the data of a `data:` address is left out.
pub(crate) fn redact(url: &str) -> String {
    if Scheme::of(url) == Some(Scheme::Data) {
        let kind = url.split([',', ';']).next().unwrap_or_default();
        return format!("{},...", kind.chars().take(60).collect::<String>());
    }
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    };
    shown.escape_debug().to_string()
}

/// The path of a `file://` address.
pub(crate) fn file_path(url: &str) -> Result<PathBuf, String> {
    let rest = url.get("file://".len()..).unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(format!(
            "`{host}` is another machine\nhint: a local file is `file:///` and its absolute path"
        ));
    }
    if path.is_empty() {
        return Err("has no path".to_owned());
    }
    let path = String::from_utf8(unquote(path.as_bytes()))
        .map_err(|_| "has a path that is not UTF-8".to_owned())?;
    if path.contains('\0') {
        return Err("has a NUL in its path".to_owned());
    }
    Ok(path.into())
}
