//! The event file that `TensorBoard` reads: `events.out.tfevents.SECONDS.HOST`, in the run's folder itself, so that
//! `tensorboard --logdir runs` shows one run for each folder of `runs/`.
//!
//! A file is a row of records (`TFRecord`): the length as 8 bytes, its checksum, the message, its checksum. A message is
//! an `Event` of `tensorflow/core/util/event.proto`, of which these fields are written by hand here:
//!
//! | message | field | type | what |
//! |---|---|---|---|
//! | `Event` | 1 | double | `wall_time`, seconds since 1970 |
//! | | 2 | int64 | `step` |
//! | | 3 | string | `file_version`, in the first record only |
//! | | 5 | message | `summary` |

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::{VARINT, bytes_field, fixed64, key, varint};
use crate::error::Error;

const PREFIX: &str = "events.out.tfevents.";
/// The content of the first record of every event file.
const VERSION: &str = "brain.Event:2";

/// An event file that is made with its first number.
pub(super) struct Events {
    dir: PathBuf,
    name: String,
    file: Option<File>,
}

impl Events {
    /// Opens the folder's event file to append to it, if there is one.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<std::io::Result<_>>()
            })
            .map_err(Error::file("read", dir))?;
        names.retain(|name| name.starts_with(PREFIX));
        names.sort();
        let (name, file) = match names.pop() {
            Some(name) => {
                let file = append(&dir.join(&name))?;
                (name, Some(file))
            }
            None => (format!("{PREFIX}{}.{}", now().as_secs(), crate::parallel::host()), None),
        };
        Ok(Self { dir: dir.to_owned(), name, file })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Adds an event with a [summary](super::summaries).
    pub(super) fn add(&mut self, step: u64, summary: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                fs::OpenOptions::new().create(true).append(true).open(self.dir.join(&self.name))?,
            ),
        };
        let time = now().as_secs_f64();
        let mut bytes = Vec::new();
        if file.metadata()?.len() == 0 {
            record(&mut bytes, &head(time));
        }
        record(&mut bytes, &event(time, step, summary));
        // One write: a process that is killed leaves whole records.
        file.write_all(&bytes)
    }
}

/// Opens a file to write at its end, created if it is not there.
pub(super) fn append(path: &Path) -> Result<File, Error> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.map_err(Error::file("create", path))
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn head(time: f64) -> Vec<u8> {
    let mut message = Vec::new();
    fixed64(&mut message, 1, time.to_bits());
    bytes_field(&mut message, 3, VERSION.as_bytes());
    message
}

fn event(time: f64, step: u64, summary: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    fixed64(&mut message, 1, time.to_bits());
    key(&mut message, 2, VARINT);
    varint(&mut message, step);
    bytes_field(&mut message, 5, summary);
    message
}

/// Frames a message as a `TFRecord`.
fn record(into: &mut Vec<u8>, message: &[u8]) {
    let length = (message.len() as u64).to_le_bytes();
    into.extend(length);
    into.extend(masked(crc32c(&length)).to_le_bytes());
    into.extend(message);
    into.extend(masked(crc32c(message)).to_le_bytes());
}

/// A checksum of data that itself holds checksums is of little use, so they are stored rotated and shifted.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit-reversed polynomial `0x82f63b78`.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();

    let step = |crc: u32, byte: &u8| TABLE[(crc as usize ^ usize::from(*byte)) & 0xff] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the CRC catalogue, and a vector of RFC 3720, section B.4.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b""), 0);
    }
}
