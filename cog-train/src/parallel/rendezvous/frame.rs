//! The bytes of a connection between two ranks.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::parallel::channel::End;

/// A message: a tag, the length of the rest in 8 bytes, the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Bytes(Vec<u8>),
    /// The end of a rank.
    End(usize, End),
}

/// The first bytes of a connection, with the version of the frames.
const GREETING: &[u8] = b"cog-train ranks 1\n";

const BYTES: u8 = b'b';
const END: u8 = b'e';

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a message of a rank")
}

pub(super) fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Bytes(bytes) => write(stream, BYTES, bytes),
        Frame::End(rank, end) => {
            write(stream, END, &[&(*rank as u64).to_le_bytes()[..], &end.to_bytes()].concat())
        }
    }
}

fn write(stream: &mut impl Write, tag: u8, bytes: &[u8]) -> io::Result<()> {
    let mut head = [tag; 9];
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    stream.write_all(&head)?;
    stream.write_all(bytes)?;
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
        _ => Err(malformed()),
    }
}

fn index(bytes: [u8; 8]) -> io::Result<usize> {
    usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| malformed())
}

/// The time in which a connection introduces itself.
const PROMPT: Duration = Duration::from_secs(10);

/// Introduces this rank to rank 0, and waits for its answer.
pub(super) fn greet(mut stream: &TcpStream, rank: usize, world_size: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PROMPT))?;
    let numbers = [(rank as u64).to_le_bytes(), (world_size as u64).to_le_bytes()];
    stream.write_all(&[GREETING, &numbers.concat()].concat())?;
    let mut answer = [0; GREETING.len()];
    stream.read_exact(&mut answer)?;
    stream.set_read_timeout(None)?;
    if answer == *GREETING { Ok(()) } else { Err(malformed()) }
}

/// Returns the rank and the number of ranks of a connection, and answers it.
pub(super) fn greeted(mut stream: &TcpStream) -> io::Result<(usize, usize)> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PROMPT))?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting)?;
    let mut numbers = [[0; 8]; 2];
    for number in &mut numbers {
        stream.read_exact(number)?;
    }
    if greeting != *GREETING {
        return Err(malformed());
    }
    stream.write_all(GREETING)?;
    stream.set_read_timeout(None)?;
    Ok((index(numbers[0])?, index(numbers[1])?))
}
