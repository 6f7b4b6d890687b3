//! The ways in which ranks learn where rank 0 listens.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::Rendezvous;
use super::meeting::{accept, connect};
use crate::error::{Error, plain_io};
use crate::parallel::Launch;
use crate::parallel::machine::host;
use crate::parallel::wait::{heartbeat, timeout};

impl Rendezvous {
    /// Connects the ranks by the launcher's variables. Rank 0 listens on the port after `MASTER_PORT`, on which an agent of torchrun may
    /// listen itself.
    pub(in crate::parallel) fn open(launch: &Launch) -> Result<Arc<Self>, Error> {
        let missing = |name: &str| Error::Ranks {
            reason: format!(
                "{} has started {} processes, and `{name}` is not set\n\
                 hint: set `MASTER_ADDR` to the machine of rank 0, and `MASTER_PORT` to a free port there",
                launch.launcher, launch.world_size
            ),
        };
        let host = launch.host.as_deref().ok_or_else(|| missing("MASTER_ADDR"))?;
        let port = launch.port.ok_or_else(|| missing("MASTER_PORT"))?.saturating_add(1);
        let timeout = timeout();
        let streams = if launch.rank == 0 {
            let listener = TcpListener::bind(("0.0.0.0", port)).map_err(|error| Error::Ranks {
                reason: format!(
                    "rank 0 cannot listen on port {port}, the one after `MASTER_PORT`: {}",
                    plain_io(&error)
                ),
            })?;
            accept(&listener, launch.world_size, timeout)?
        } else {
            of_rank_0(connect(host, port, launch.rank, launch.world_size, timeout)?, launch)
        };
        Self::named(Self::start(launch.rank, streams, timeout, heartbeat())?)
    }

    /// Connects ranks that have met already: `share` returns the bytes of all of them. Rank 0 listens on any free port, and on one machine
    /// for that machine alone.
    #[cfg(feature = "mpi")]
    pub(in crate::parallel) fn open_between(
        launch: &Launch,
        share: impl Fn(&[u8]) -> Vec<Vec<u8>>,
    ) -> Result<Arc<Self>, Error> {
        // The ranks run: what takes longer than this is a closed port.
        const PROMPT: std::time::Duration = std::time::Duration::from_secs(20);
        let machines = share(crate::parallel::machine::identity().as_bytes());
        let is_one = machines.iter().all(|machine| *machine == machines[0]);
        let address = if is_one { "127.0.0.1" } else { "0.0.0.0" };
        let listener = (launch.rank == 0).then(|| TcpListener::bind((address, 0))).transpose();
        let port = match &listener {
            Ok(Some(listener)) => listener.local_addr().map_or(0, |address| address.port()),
            _ => 0,
        };
        let port =
            u16::from_le_bytes(share(&port.to_le_bytes())[0][..].try_into().unwrap_or([0; 2]));
        let hosts = share(host().as_bytes());
        let refused = |error: &std::io::Error| Error::Ranks {
            reason: format!("rank 0 cannot listen on a port of its machine: {}", plain_io(error)),
        };
        let streams = if let Some(listener) = &listener.map_err(|error| refused(&error))? {
            accept(listener, launch.world_size, PROMPT)?
        } else {
            let named = launch.host.clone().filter(|_| !is_one);
            let hosts = String::from_utf8_lossy(&hosts[0]);
            let host = named.unwrap_or_else(|| if is_one { address } else { &hosts }.to_owned());
            of_rank_0(connect(&host, port, launch.rank, launch.world_size, PROMPT)?, launch)
        };
        Self::named(Self::start(launch.rank, streams, timeout(), heartbeat())?)
    }

    /// Sends the host and the process of each rank to all others, for messages about it.
    fn named(own: Arc<Self>) -> Result<Arc<Self>, Error> {
        let names = own.gather(format!("{}, pid {}", host(), std::process::id()).as_bytes())?;
        let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
        // Set here alone.
        let _ = own.names.set(names.iter().map(text).collect());
        Ok(own)
    }
}

/// Returns the connections of a rank that is connected to rank 0.
fn of_rank_0(stream: TcpStream, launch: &Launch) -> Vec<Option<TcpStream>> {
    let mut streams: Vec<_> = (0..launch.world_size).map(|_| None).collect();
    streams[0] = Some(stream);
    streams
}
