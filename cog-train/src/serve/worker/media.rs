//! The media types of output files.

use std::path::Path;

/// Returns the media type of a file by its extension, as Cog's server names it.
pub(super) fn type_of(file: &Path) -> String {
    mime_guess::from_path(file).first_or_octet_stream().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types that Cog 0.23.1 was seen to answer.
    #[test]
    fn media_types_are_cogs() {
        for (name, expected) in [
            ("w.safetensors", "application/octet-stream"),
            ("w.pth", "application/octet-stream"),
            ("w.ckpt", "application/octet-stream"),
            ("w.gguf", "application/octet-stream"),
            ("w.bin", "application/octet-stream"),
            ("d.jsonl", "application/octet-stream"),
            ("none", "application/octet-stream"),
            ("w.tar", "application/x-tar"),
            ("w.tar.gz", "application/gzip"),
            ("w.zip", "application/zip"),
            ("d.json", "application/json"),
            ("d.txt", "text/plain"),
            ("d.csv", "text/csv"),
            ("i.png", "image/png"),
            ("c.yaml", "text/x-yaml"),
        ] {
            assert_eq!(type_of(Path::new(name)), expected, "{name}");
        }
    }
}
