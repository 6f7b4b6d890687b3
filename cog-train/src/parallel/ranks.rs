//! The ranks of this process's training, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;

pub(crate) use super::end::End;
use super::end::{errors, failure};
use super::guard::{self, Report, turn};
#[cfg(feature = "mpi")]
use super::mpi::Mpi;
use super::rendezvous::Rendezvous;
use super::wait::timeout;
use super::{Communicator, Launch, Launcher, Single, devices};
use crate::error::Error;

/// The processes that train together, before and after they have a device. The default is this process alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranks(Option<Group>);

#[derive(Debug, Clone)]
struct Group {
    launch: Launch,
    rendezvous: Arc<Rendezvous>,
    /// The connection of ranks that `mpirun` or `srun` has started.
    #[cfg(feature = "mpi")]
    mpi: Option<Arc<Mpi>>,
    report: Report,
}

/// The time in which ranks that fail together report it to rank 0.
const GRACE: Duration = Duration::from_secs(2);
/// The time in which they see that a rank is lost. A launcher that sees it too ends them soon.
const BRIEF: Duration = Duration::from_millis(300);
/// The time in which rank 0 prints the errors and ends all, unless it computes for longer: then its guard does.
const PATIENCE: Duration = Duration::from_secs(22);

/// The time in which a launcher forwards what was printed: it drops the rest when a process aborts.
const FORWARDED: Duration = Duration::from_millis(200);

impl Ranks {
    /// Connects to the other processes that a launcher has started.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`] when the binary has no transport for them, or they cannot be reached.
    pub(crate) fn open(launch: Option<Launch>) -> Result<Self, Error> {
        let Some(launch) = launch.filter(|launch| launch.world_size > 1) else {
            return Ok(Self::default());
        };
        Group::open(launch).map(|group| Self(Some(group)))
    }

    pub(crate) fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |group| group.launch.rank)
    }

    /// Returns the number of this process among those of its machine.
    pub(crate) fn local_rank(&self) -> usize {
        self.0.as_ref().map_or(0, |group| group.launch.local_rank)
    }

    /// Whether this process follows rank 0, which alone prints and writes.
    pub(crate) fn is_follower(&self) -> bool {
        self.rank() > 0
    }

    /// Returns the bytes of all ranks, in the order of ranks.
    pub(crate) fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
        match &self.0 {
            Some(group) => group.rendezvous.gather(&bytes),
            None => Ok(vec![bytes]),
        }
    }

    /// Returns the bytes of rank 0 on every rank.
    pub(crate) fn share(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        let own = if self.is_follower() { Vec::new() } else { bytes };
        Ok(self.gather(own)?.swap_remove(0))
    }

    /// Returns the operations between the ranks on a device.
    pub(crate) fn connect(&self, device: &Device) -> Result<Arc<dyn Communicator>, Error> {
        match &self.0 {
            Some(group) => group.connect(device),
            None => Ok(Arc::new(Single)),
        }
    }

    /// Spawns a thread that ends this process when another rank has failed or is lost, and the training does not see it in time.
    /// `exit` prints errors, if there are any, and ends the process.
    pub(crate) fn guard(&self, exit: impl FnOnce(&[String]) + Send + 'static) -> Result<(), Error> {
        let Some(Group { launch, rendezvous, report, .. }) = &self.0 else { return Ok(()) };
        guard::spawn(launch.clone(), Arc::clone(rendezvous), report.clone(), exit)
    }

    /// Ends the training on all ranks. When one of them has failed, all processes end: `print` prints the errors, on rank 0 unless
    /// it is lost, and returns the exit code.
    pub(crate) fn end(&self, own: &End, print: impl FnOnce(&[String]) -> u8) {
        let Some(group) = &self.0 else { return };
        let (longest, leads) = (timeout(), !self.is_follower());
        let ends = group.rendezvous.end(own, &|ends| match (&ends[0], failure(ends)) {
            (_, None) => longest,
            // It sends no other end.
            (Some(End::Lost(_)), _) => Duration::ZERO,
            _ if !leads => PATIENCE,
            _ if ends.iter().flatten().any(|end| matches!(end, End::Lost(_))) => BRIEF,
            _ => GRACE,
        });
        let errors = errors(&ends);
        if errors.is_empty() {
            return group.close();
        }
        if let Some(turn) = turn(&group.launch, &ends) {
            std::thread::sleep(turn);
            if group.report.take() {
                let code = print(&errors).max(1);
                std::thread::sleep(FORWARDED);
                group.abort(code);
            }
        }
        // Rank 0 or the guard prints the errors and ends this process.
        std::thread::sleep(PATIENCE);
        group.abort(1)
    }
}

impl Group {
    /// Opens the path to the other processes: MPI where the program has it and an MPI launcher has started them, else a port of rank 0.
    fn open(launch: Launch) -> Result<Self, Error> {
        let by_mpi = match launch.launcher {
            Launcher::OpenMpi | Launcher::Mpich | Launcher::Slurm => true,
            Launcher::Torch | Launcher::Kubeflow => false,
        };
        let report = Report::default();
        #[cfg(feature = "mpi")]
        if by_mpi {
            let mpi = Mpi::open(&launch)?;
            let rendezvous = Arc::clone(mpi.rendezvous());
            return Ok(Self { launch, rendezvous, mpi: Some(mpi), report });
        }
        if cfg!(feature = "nccl") {
            let rendezvous = Rendezvous::open(&launch)?;
            return Ok(Self {
                launch,
                rendezvous,
                #[cfg(feature = "mpi")]
                mpi: None,
                report,
            });
        }
        let hint = if by_mpi {
            "build it with the feature `mpi`, or `nccl` for GPUs"
        } else {
            "build it with the feature `nccl` for GPUs; ranks on the CPU are started by `mpirun` or `srun`"
        };
        Err(Error::Ranks {
            reason: format!(
                "{} has started {} processes, and this binary has no transport between them\nhint: {hint}",
                launch.launcher, launch.world_size
            ),
        })
    }

    fn connect(&self, device: &Device) -> Result<Arc<dyn Communicator>, Error> {
        let names: Vec<String> =
            (0..self.launch.world_size).map(|rank| self.rendezvous.name(rank)).collect();
        devices::check(&names, &self.rendezvous.gather(devices::kind(device).as_bytes())?)?;
        #[cfg(feature = "nccl")]
        if let Device::Cuda(device) = device {
            return Ok(Arc::new(super::Nccl::open(Arc::clone(&self.rendezvous), device)?));
        }
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            return Ok(Arc::<Mpi>::clone(mpi));
        }
        let hint = if device.is_cuda() {
            "build it with the feature `nccl`"
        } else {
            "start ranks on the CPU by `mpirun` or `srun`, and build the program with the feature `mpi`"
        };
        Err(Error::Ranks {
            reason: format!(
                "no transport between {} ranks on this device\nhint: {hint}",
                self.launch.world_size
            ),
        })
    }

    /// Closes the path: all ranks have ended well.
    fn close(&self) {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = &self.mpi {
            mpi.close();
        }
        self.rendezvous.close();
    }

    /// Ends this process, and by MPI those of all ranks. Others see the lost connection, and the launcher the code.
    #[cfg_attr(not(feature = "mpi"), expect(clippy::unused_self, reason = "MPI ends the others"))]
    fn abort(&self, code: u8) -> ! {
        #[cfg(feature = "mpi")]
        if self.mpi.is_some() {
            Mpi::abort(code);
        }
        std::process::exit(code.into())
    }
}
