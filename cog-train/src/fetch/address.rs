//! Addresses: their scheme, the digest that they give, the name of their file, and the part that messages may show.

use std::path::PathBuf;

use crate::error::{Error, printable, printable_name};

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
    /// The whole address as messages may show it.
    shown: String,
    /// From `#sha256=HEX`, in lower case.
    pub(super) sha256: Option<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let shown = redact(text);
        let bad = |reason: &str| Error::Fetch { url: shown.clone(), reason: reason.to_owned() };
        let scheme = Scheme::of(text).ok_or_else(|| {
            bad("not an address\nhint: write `http://`, `https://`, `file://` or `data:`")
        })?;
        if scheme == Scheme::Http && has_open_password(text) {
            return Err(bad(
                "its password holds a `/`, `?` or `#` as it is\nhint: write `%2F`, `%3F` or `%23`",
            ));
        }
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let sha256 = match fragment.strip_prefix("sha256=") {
            Some(hex) => Some(parse_digest(hex).ok_or_else(|| {
                let hex = printable_name(hex);
                bad(&format!("`#sha256={hex}` is not a digest of 64 hexadecimal digits"))
            })?),
            None => None,
        };
        if scheme == Scheme::Http && url.chars().any(|char| char.is_control() || char == ' ') {
            return Err(bad("has a space or a control character in it"));
        }
        Ok(Self { scheme, url: url.to_owned(), shown, sha256 })
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Fetch { url: self.shown.clone(), reason: reason.into() }
    }

    pub(super) fn check_digest(&self, found: &str) -> Result<(), Error> {
        match &self.sha256 {
            Some(wanted) if wanted != found => Err(self.error(format!(
                "the content has the SHA-256 digest `{found}` instead of `{wanted}`"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the last part of the path, decoded, and fit for a file system.
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
    /// No known extension is longer.
    const EXTENSION_BYTES: usize = 20;
    if name.len() <= NAME_BYTES {
        return name.to_owned();
    }
    let from = name.ceil_char_boundary(name.len() - EXTENSION_BYTES);
    let extension = name[from..].find('.').map_or("", |dot| &name[from + dot..]);
    let stem = name.floor_char_boundary(NAME_BYTES - extension.len());
    format!("{}{extension}", &name[..stem])
}

/// Parses a SHA-256 digest, and returns it in lower case.
pub(crate) fn parse_digest(hex: &str) -> Option<String> {
    let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| hex.to_ascii_lowercase())
}

/// Decodes `%41`; a `%` without two digits stays.
pub(crate) fn unquote(text: &[u8]) -> Vec<u8> {
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

/// The part of an address between its scheme and its path.
struct Authority<'a> {
    text: &'a str,
    /// The path, the query and the fragment.
    rest: &'a str,
}

impl<'a> Authority<'a> {
    /// Splits what follows the `://`.
    fn split(text: &'a str) -> Self {
        let end = text.find(['/', '\\', '?', '#']).unwrap_or(text.len());
        let (text, rest) = text.split_at(end);
        Self { text, rest }
    }

    fn host(&self) -> &'a str {
        self.text.rsplit('@').next().unwrap_or_default()
    }

    /// Returns whether a password may reach into the rest: `user:a/b@host` is by its form a host, a port and a path.
    fn may_hold_password(&self) -> bool {
        self.text.contains(':') && self.rest.contains('@')
    }
}

/// The scheme, the host and the port of an address: what a token is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: String,
}

/// Returns the origin of an `http://` or `https://` address.
pub(super) fn origin(url: &str) -> Origin {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let host = Authority::split(rest).host().to_ascii_lowercase();
    let (host, port) = match host.rsplit_once(':') {
        // `[::1]` has no port.
        Some((name, port)) if !port.ends_with(']') => (name.to_owned(), port.to_owned()),
        _ => (host, String::new()),
    };
    let port = match port.as_str() {
        "" if scheme == "https" => "443".to_owned(),
        "" => "80".to_owned(),
        _ => port,
    };
    Origin { scheme, host, port }
}

/// Returns whether an address has a password that ends its authority too early, by what is then no port.
fn has_open_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = Authority::split(rest);
    let host = authority.host();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    // `[::1]` has no port.
    let is_port = host.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    authority.may_hold_password() && !is_port
}

/// Returns an address as messages may show it: without user, password, query and fragment, and without the content of a
/// `data:` address. Of an address whose password may reach into the path only the scheme is left.
pub(crate) fn redact(url: &str) -> String {
    if Scheme::of(url) == Some(Scheme::Data) {
        let kind = url.split([',', ';']).next().unwrap_or_default();
        return printable(format!("{},...", kind.chars().take(60).collect::<String>()));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return printable(url.split(['?', '#']).next().unwrap_or_default());
    };
    let authority = Authority::split(rest);
    if authority.may_hold_password() {
        return printable(format!("{scheme}://..."));
    }
    let path = authority.rest.split(['?', '#']).next().unwrap_or_default();
    printable(format!("{scheme}://{}{path}", authority.host()))
}

/// Returns the path of a `file://` address.
pub(crate) fn file_path(url: &str) -> Result<PathBuf, String> {
    let rest = url.get("file://".len()..).unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        // Not shown: what stands here may be credentials.
        return Err(
            "is a file of another machine\nhint: a local file is `file:///` and its absolute path"
                .to_owned(),
        );
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
