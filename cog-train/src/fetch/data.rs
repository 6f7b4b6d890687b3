//! `data:` addresses: `data:[MEDIA TYPE][;base64],DATA`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::address::{Address, unquote};
use crate::error::Error;

/// Returns the bytes and the name of their file: `file` and an extension by the media type.
pub(super) fn decode(address: &Address, limit: u64) -> Result<(Vec<u8>, String), Error> {
    let rest = &address.url["data:".len()..];
    let (head, data) = rest.split_once(',').ok_or_else(|| address.error("has no comma"))?;
    let (kind, base64) = match head.strip_suffix(";base64") {
        Some(kind) => (kind, true),
        None => (head, false),
    };
    let mut bytes = unquote(data.as_bytes());
    if base64 {
        // Without the padding is common; with the other alphabet is a data URL made from a web-safe text.
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        let engine =
            if bytes.iter().any(|byte| b"-_".contains(byte)) { &URL_SAFE } else { &STANDARD };
        while bytes.len() % 4 > 1 {
            bytes.push(b'=');
        }
        bytes = engine.decode(&bytes).map_err(|_| address.error("its base64 is not valid"))?;
    }
    if bytes.len() as u64 > limit {
        let count = bytes.len();
        return Err(address.error(format!("has {count} bytes, more than the limit of {limit}")));
    }
    Ok((bytes, format!("file{}", extension(kind))))
}

/// Returns the extension for a media type; none for one that is not known.
fn extension(kind: &str) -> &'static str {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "text/plain" => ".txt",
        "application/octet-stream" => ".bin",
        "application/json" => ".json",
        "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => ".jsonl",
        "text/csv" => ".csv",
        "text/tab-separated-values" => ".tsv",
        "text/html" => ".html",
        "text/markdown" => ".md",
        "text/yaml" | "text/x-yaml" | "application/yaml" => ".yaml",
        "application/zip" => ".zip",
        "application/x-tar" => ".tar",
        "application/gzip" | "application/x-gzip" => ".gz",
        "application/zstd" => ".zst",
        "application/pdf" => ".pdf",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/gif" => ".gif",
        "image/webp" => ".webp",
        "image/bmp" => ".bmp",
        "audio/wav" | "audio/x-wav" => ".wav",
        "audio/mpeg" => ".mp3",
        "video/mp4" => ".mp4",
        _ => "",
    }
}
