//! The start of each connection: who connects, and with which version of the messages.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::frame::{index, malformed};
use crate::error::{Error, plain_io};

/// The first bytes of a connection, with the version of the messages.
pub(super) const GREETING: &[u8] = b"cog-train ranks 2\n";

/// Sent by a rank that has the answer of rank 0.
const READY: u8 = b'r';

const HINT: &str =
    "hint: set `MASTER_ADDR` on all ranks to a name of rank 0's machine that the others reach";

/// The time in which a connection introduces itself.
const PROMPT: Duration = Duration::from_secs(10);

/// Accepts the connections of all other ranks. A connection that is none of theirs is closed.
pub(super) fn accept(
    listener: &TcpListener,
    world_size: usize,
    timeout: Duration,
) -> Result<Vec<Option<TcpStream>>, Error> {
    let failed = |error: io::Error| Error::Ranks {
        reason: format!("rank 0 cannot accept connections: {}", plain_io(&error)),
    };
    listener.set_nonblocking(true).map_err(failed)?;
    let began = Instant::now();
    let mut streams: Vec<Option<TcpStream>> = (0..world_size).map(|_| None).collect();
    while streams.iter().skip(1).any(Option::is_none) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Ok((rank, size)) = greeted(&stream)
                    && size == world_size
                    && streams.get(rank).is_some_and(Option::is_none)
                    && rank > 0
                {
                    streams[rank] = Some(stream);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(failed(error)),
        }
        if began.elapsed() > timeout {
            let missing: Vec<String> = (1..world_size)
                .filter(|rank| streams[*rank].is_none())
                .map(|rank| rank.to_string())
                .collect();
            let seconds = timeout.as_secs();
            return Err(Error::Ranks {
                reason: format!(
                    "no connection of rank {} in {seconds} s\n{HINT}",
                    missing.join(", ")
                ),
            });
        }
    }
    Ok(streams)
}

/// Connects to rank 0, which may start later.
pub(super) fn connect(
    host: &str,
    port: u16,
    rank: usize,
    world_size: usize,
    timeout: Duration,
) -> Result<TcpStream, Error> {
    let began = Instant::now();
    loop {
        let connected = TcpStream::connect((host, port))
            .and_then(|stream| greet(&stream, rank, world_size).map(|()| stream));
        match connected {
            Ok(stream) => return Ok(stream),
            Err(_) if began.elapsed() < timeout => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => {
                let reason = format!(
                    "rank 0 is not reached at `{host}:{port}`: {}\n{HINT}",
                    plain_io(&error)
                );
                return Err(Error::Ranks { reason });
            }
        }
    }
}

/// Introduces this rank to rank 0, and waits for its answer.
fn greet(mut stream: &TcpStream, rank: usize, world_size: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PROMPT))?;
    let numbers = [(rank as u64).to_le_bytes(), (world_size as u64).to_le_bytes()];
    stream.write_all(&[GREETING, &numbers.concat()].concat())?;
    let mut answer = [0; GREETING.len()];
    stream.read_exact(&mut answer)?;
    if answer != *GREETING {
        return Err(malformed());
    }
    stream.write_all(&[READY])?;
    stream.set_read_timeout(None)
}

/// Answers a connection. Returns its rank and its number of ranks when the answer has arrived.
fn greeted(mut stream: &TcpStream) -> io::Result<(usize, usize)> {
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
    // A rank that waited too long for the answer has closed this connection and made another one.
    stream.read_exact(&mut [0])?;
    stream.set_read_timeout(None)?;
    Ok((index(numbers[0])?, index(numbers[1])?))
}
