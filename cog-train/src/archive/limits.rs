//! The caps on what an archive may hold: [`Limits`].

/// The most files and folders of an archive.
const MEMBERS: u64 = 200_000;
/// The most bytes of all members together, 1 TiB: more than the largest open model in full precision.
const BYTES: u64 = 1 << 40;
/// The most bytes of one member, 256 GiB.
const MEMBER_BYTES: u64 = 1 << 38;
/// The most bytes out for a byte in. Weights reach 2, text 10, a table of zeros and ones 50; a bomb has 1000.
const RATIO: u64 = 200;
/// The bytes out that no ratio limits, 64 MiB: small archives of very regular data are harmless.
const RATIO_FREE: u64 = 64 << 20;
/// The longest name in bytes.
const NAME_BYTES: usize = 1024;
/// The most bytes of all names together, 64 MiB: they are kept in memory.
const ALL_NAME_BYTES: u64 = 64 << 20;
/// The most parts of a name.
const DEPTH: usize = 64;
/// The bytes of the smallest file or folder on a disk.
const ENTRY_BYTES: u64 = 4096;

/// Caps on what an archive may hold. An archive that exceeds one is refused.
///
/// ```
/// let limits = cog_train::archive::Limits { members: 10, ..Default::default() };
/// assert_eq!(limits.ratio, 200);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders, with the folders that no member is but that the names of members imply: 200 000.
    pub members: u64,
    /// Bytes of all members together: 1 TiB. For a tar, its headers count.
    pub bytes: u64,
    /// Bytes of one member: 256 GiB.
    pub member_bytes: u64,
    /// Bytes out for each byte of the archive: 200. By themselves, files and folders are held to it as 4096 bytes each.
    pub ratio: u64,
    /// Bytes out before the ratio counts: 64 MiB.
    pub ratio_free: u64,
    /// Bytes of a name: 1024.
    pub name_bytes: usize,
    /// Bytes of the names of all members together: 64 MiB.
    pub all_name_bytes: u64,
    /// Parts of a name: 64.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: MEMBERS,
            bytes: BYTES,
            member_bytes: MEMBER_BYTES,
            ratio: RATIO,
            ratio_free: RATIO_FREE,
            name_bytes: NAME_BYTES,
            all_name_bytes: ALL_NAME_BYTES,
            depth: DEPTH,
        }
    }
}

impl Limits {
    /// Refuses too many files and folders from an archive of `size` bytes.
    pub(super) fn check_entries(&self, count: u64, size: u64) -> Result<(), String> {
        if count > self.members {
            return Err(format!("holds more files and folders than the limit of {}", self.members));
        }
        let bytes = count.saturating_mul(ENTRY_BYTES);
        if self.is_inflated(bytes, size) {
            return Err(format!(
                "makes {count} files and folders, which take more than {} times its own {size} bytes",
                self.ratio
            ));
        }
        Ok(())
    }

    /// Refuses too many bytes of names.
    pub(super) fn check_names(&self, bytes: u64) -> Result<(), String> {
        if bytes > self.all_name_bytes {
            return Err(format!(
                "has names of more than the limit of {} bytes together",
                self.all_name_bytes
            ));
        }
        Ok(())
    }

    /// Refuses too many bytes out of an archive of `size` bytes.
    pub(super) fn check_total(&self, out: u64, size: u64) -> Result<(), String> {
        if out > self.bytes {
            return Err(format!("unpacks to more than the limit of {} bytes", self.bytes));
        }
        if self.is_inflated(out, size) {
            return Err(format!("unpacks to more than {} times its own {size} bytes", self.ratio));
        }
        Ok(())
    }

    fn is_inflated(&self, out: u64, size: u64) -> bool {
        out > self.ratio_free && out > size.saturating_mul(self.ratio)
    }

    /// Refuses a member of too many bytes.
    pub(super) fn check_member(&self, name: &str, size: u64) -> Result<(), String> {
        if size > self.member_bytes {
            return Err(format!(
                "member `{name}` has {size} bytes, more than the limit of {}",
                self.member_bytes
            ));
        }
        Ok(())
    }
}
