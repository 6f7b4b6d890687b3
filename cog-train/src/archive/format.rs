//! The formats of archives, recognized by name and by content.

use super::tar;

/// The kinds of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
    /// `.tar.zst`
    TarZst,
    /// `.zip`
    Zip,
}

impl Format {
    /// Returns the format by a name's extension. Case does not count.
    ///
    /// ```
    /// use cog_train::archive::Format;
    /// assert_eq!(Format::of_name("weights.tgz"), Some(Format::TarGz));
    /// assert_eq!(Format::of_name("weights.safetensors"), None);
    /// ```
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        [
            (".tar.gz", Self::TarGz),
            (".tgz", Self::TarGz),
            (".tar.zst", Self::TarZst),
            (".tar", Self::Tar),
            (".zip", Self::Zip),
        ]
        .into_iter()
        .find_map(|(extension, format)| name.ends_with(extension).then_some(format))
    }

    /// Returns the format by the first bytes; 512 of them are enough.
    #[must_use]
    pub fn of_content(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::TarZst),
            // A first member, or the end of an archive without any.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            _ => tar::looks_like_tar(start).then_some(Self::Tar),
        }
    }

    /// Returns the format's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "gzip",
            Self::TarZst => "zstd",
            Self::Zip => "zip",
        }
    }
}
