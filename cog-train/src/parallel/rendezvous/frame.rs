//! The messages of a connection between two ranks.

use std::io::{self, Read, Write};

use crate::parallel::end::End;
use crate::parallel::operation::Position;

/// A message: a tag, the length of the rest in 8 bytes, the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Bytes(Vec<u8>),
    /// The end of a rank.
    End(usize, End),
    /// A sign of life, with the operation that the rank has begun last.
    Beat(Position),
}

const BYTES: u8 = b'b';
const END: u8 = b'e';
const BEAT: u8 = b'h';

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a message of a rank")
}

pub(super) fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Bytes(bytes) => write(stream, BYTES, bytes),
        Frame::End(rank, end) => {
            write(stream, END, &[&(*rank as u64).to_le_bytes()[..], &end.to_bytes()].concat())
        }
        Frame::Beat(position) => write(stream, BEAT, &position.bits().to_le_bytes()),
    }
}

fn write(stream: &mut impl Write, tag: u8, bytes: &[u8]) -> io::Result<()> {
    let mut head = [tag; 9];
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    stream.write_all(&[&head[..], bytes].concat())?;
    stream.flush()
}

pub(super) fn read_frame(stream: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [tag, length @ ..] = head;
    let length = u64::from_le_bytes(length);
    // What is allocated has arrived: the length alone allocates nothing.
    let mut bytes = Vec::new();
    if stream.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match (tag, bytes.split_first_chunk::<8>()) {
        (BYTES, _) => Ok(Frame::Bytes(bytes)),
        (END, Some((rank, end))) => Ok(Frame::End(index(*rank)?, End::from_bytes(end))),
        (BEAT, Some((bits, []))) => Ok(Frame::Beat(Position::from_bits(u64::from_le_bytes(*bits)))),
        _ => Err(malformed()),
    }
}

pub(super) fn index(bytes: [u8; 8]) -> io::Result<usize> {
    usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| malformed())
}
