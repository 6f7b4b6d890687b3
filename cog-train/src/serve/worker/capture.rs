//! Standard output and standard error of the worker, as the pipe that the server reads.

use std::fs::File;
use std::io::{self, Write};

/// The pipe to the server. Trainings print into it.
pub(super) struct Capture {
    pipe: File,
    is_installed: bool,
}

impl Capture {
    /// Takes the pipe from standard error, before coglet puts another one there. coglet writes remarks about itself to the standard error that
    /// it finds, and finds none.
    pub(super) fn new() -> io::Result<Self> {
        let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
        rustix::stdio::dup2_stderr(File::options().write(true).open("/dev/null")?)?;
        Ok(Self { pipe: pipe.into(), is_installed: false })
    }

    /// Points standard output and standard error at the pipe. The first training does it, and it stays.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if !self.is_installed {
            io::stdout().flush()?;
            rustix::stdio::dup2_stdout(&self.pipe)?;
            rustix::stdio::dup2_stderr(&self.pipe)?;
            self.is_installed = true;
        }
        Ok(())
    }

    /// Ends a training: its last line is in the pipe, and its mark behind it.
    pub(super) fn end(&mut self, mark: &str) {
        // A server that has gone reads nothing.
        drop(io::stdout().flush());
        drop(self.pipe.write_all(mark.as_bytes()));
    }
}

/// The other end of the pipe, kept by the worker: to print is no error for a training that saves its state after its server has gone.
pub(super) struct Drain(Option<File>);

impl Drain {
    /// Opens the pipe behind standard error once more, where the system allows that, before [`Capture`] takes it.
    pub(super) fn new() -> Self {
        Self(File::open("/dev/fd/2").ok())
    }

    /// Reads what nobody else does, so that the pipe is never full.
    pub(super) fn run(self) {
        if let Some(mut pipe) = self.0 {
            drop(io::copy(&mut pipe, &mut io::sink()));
        }
    }
}
