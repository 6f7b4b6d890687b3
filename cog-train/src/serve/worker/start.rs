//! The first message of the server to its worker.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use coglet::bridge::protocol::ControlRequest;
use coglet::bridge::transport::ChildTransportInfo;
use serde::{Deserialize, Serialize};

use crate::run::{FileRules, Kind};

/// The most bytes of the first message.
const MOST: usize = 1 << 20;

/// The most bytes of all files of one request: 100 GiB.
const MOST_BYTES: u64 = 100 << 30;

/// The most time in which they are fetched.
const MOST_TIME: Duration = Duration::from_hours(2);

/// The settings of the server that its worker needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerOptions {
    train: bool,
    pub(crate) device: Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) upload_url: Option<String>,
    /// Whether inputs may name files of this machine and hosts of its network.
    allow_local: bool,
}

impl WorkerOptions {
    pub(crate) fn new(
        kind: Kind,
        device: Option<String>,
        config: Option<PathBuf>,
        upload_url: Option<String>,
        allow_local: bool,
    ) -> Self {
        Self { train: kind == Kind::Train, device, config, upload_url, allow_local }
    }

    /// The rules for files that a client names.
    pub(super) fn files(&self) -> FileRules {
        FileRules {
            public_only: !self.allow_local,
            most_bytes: Some(MOST_BYTES),
            most_time: Some(MOST_TIME),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.train { Kind::Train } else { Kind::Predict }
    }

    /// The options as the text that coglet hands to the worker.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("options are JSON")
    }
}

/// The first message, read.
pub(crate) struct Start {
    pub(crate) options: WorkerOptions,
    pub(super) num_slots: usize,
    pub(super) transport: ChildTransportInfo,
}

impl Start {
    /// Reads the first message from standard input and nothing behind it.
    ///
    /// # Errors
    ///
    /// When standard input is not the connection to a server.
    pub(crate) fn read() -> io::Result<Self> {
        // A copy of the descriptor: `std::io::stdin` would read ahead.
        let mut input = File::from(rustix::io::dup(rustix::stdio::stdin())?);
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST {
            return Err(io::Error::other("the first message is too long"));
        }
        let mut message = vec![0; length];
        input.read_exact(&mut message)?;
        match serde_json::from_slice(&message)? {
            ControlRequest::Init { predictor_ref, num_slots, transport_info, .. } => {
                let options = serde_json::from_str(&predictor_ref)?;
                Ok(Self { options, num_slots, transport: transport_info })
            }
            _ => Err(io::Error::other("the first message is not the start")),
        }
    }
}
