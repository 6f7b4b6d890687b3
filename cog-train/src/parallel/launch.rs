//! The variables by which a launcher gives a process its rank.

use super::host_list::first_host;
use super::launcher::{KUBEFLOW, Launcher, MPICH, Names, OPEN_MPI, SLURM, TORCH};
use crate::error::Error;

/// The rank of this process among those that a launcher has started for one training.
///
/// # Examples
///
/// ```
/// use cog_train::parallel::{Launch, Launcher};
///
/// // `torchrun --no-python --nproc-per-node 4 my-trainer` sets these in its second process.
/// let variables =
///     [("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "node1")];
/// let launch = Launch::from_variables(|name| {
///     variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
/// })?
/// .expect("a launcher has set them");
/// assert_eq!((launch.rank, launch.world_size, launch.local_rank), (1, 4, 1));
/// assert_eq!(launch.launcher, Launcher::Torch);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Launch {
    /// The launcher that has set the variables.
    pub launcher: Launcher,
    /// The number of this process, from 0 to `world_size - 1`.
    pub rank: usize,
    /// The number of processes.
    pub world_size: usize,
    /// The number of this process among those of its machine, which is the number of its GPU.
    pub local_rank: usize,
    /// The machine of rank 0; `None` when the variables do not name it.
    pub host: Option<String>,
    /// `MASTER_PORT`, which an agent of torchrun listens on; `None` when the variables do not name one.
    pub port: Option<u16>,
}

const PROCESSES_PER_NODE: &str = "PET_NPROC_PER_NODE";

/// `mpirun` of `OpenMPI` and Slurm's plugin `pmix` number each process by it too.
const PMIX_RANK: &str = "PMIX_RANK";
/// Set by torchrun in its processes alone.
const TORCHRUN: &str = "TORCHELASTIC_RUN_ID";

/// A launcher's numbers.
struct Found<'a> {
    names: &'a Names,
    rank: usize,
    world_size: usize,
    local_rank: Option<usize>,
}

impl Launch {
    /// Reads the variables of the environment. `None` when no launcher has set any: the process trains alone.
    ///
    /// # Errors
    ///
    /// As [`Launch::from_variables`].
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the variables that `variable` returns by name.
    ///
    /// `srun` and Kubeflow may start another launcher, whose processes they do not number: the variables of torchrun and `mpirun`
    /// precede theirs. So do those of a torchrun that `mpirun` has started.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`] when variables contradict each other, when one of them is missing or is not a number, and when
    /// a rank is not below the number of processes.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Error> {
        Variables { get: &variable }.launch()
    }
}

struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    fn launch(&self) -> Result<Option<Launch>, Error> {
        let inner: &[&Names] =
            if self.text(TORCHRUN).is_some() { &[&TORCH] } else { &[&OPEN_MPI, &MPICH, &TORCH] };
        let mut found: Option<Found<'_>> = None;
        for names in inner {
            let Some(other) = self.find(names)? else { continue };
            match &mut found {
                None => found = Some(other),
                Some(first) => first.join(&other)?,
            }
        }
        if found.is_none() && self.text(SLURM.world_size).is_some() {
            found = self.find(&SLURM)?;
        }
        if found.is_none() {
            found = self.kubeflow()?;
        }
        let pmix = self.number(PMIX_RANK)?;
        let Some(found) = found else {
            return match pmix {
                Some(rank @ 1..) => Err(incomplete(PMIX_RANK, rank, OPEN_MPI.world_size)),
                _ => Ok(None),
            };
        };
        let numbered_by_pmix = matches!(found.names.launcher, Launcher::OpenMpi | Launcher::Slurm);
        if let Some(rank) = pmix.filter(|rank| numbered_by_pmix && *rank != found.rank) {
            return Err(contradiction(found.names.rank, found.rank, PMIX_RANK, rank));
        }
        self.resolve(&found).map(Some)
    }

    /// Returns a variable that is set and not empty.
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                Err(ranks(format!("`{name}` is `{text}`, which is no number that it may have")))
            }
        }
    }

    /// Returns the numbers of one launcher; `None` when it has set none.
    fn find<'a>(&self, names: &'a Names) -> Result<Option<Found<'a>>, Error> {
        let (rank, world_size) = match (self.number(names.rank)?, self.number(names.world_size)?) {
            (Some(rank), Some(world_size)) => (rank, world_size),
            // One process needs no number.
            (None, None | Some(1)) => return Ok(None),
            (Some(rank), None) => return Err(incomplete(names.rank, rank, names.world_size)),
            (None, Some(size)) => return Err(incomplete(names.world_size, size, names.rank)),
        };
        if rank >= world_size {
            return Err(ranks(format!(
                "`{}` is {rank}, and `{}` is {world_size}: ranks are counted from 0",
                names.rank, names.world_size
            )));
        }
        let local_rank = self.number(names.local_rank)?;
        Ok(Some(Found { names, rank, world_size, local_rank }))
    }

    fn kubeflow(&self) -> Result<Option<Found<'static>>, Error> {
        let Some(found) = self.find(&KUBEFLOW)? else { return Ok(None) };
        if found.world_size == 1 {
            return Ok(None);
        }
        match self.text(PROCESSES_PER_NODE).filter(|text| text != "1") {
            Some(processes) => Err(ranks(format!(
                "`{PROCESSES_PER_NODE}` is `{processes}`, and this process was not started by torchrun\n\
                 hint: start the program by `torchrun --no-python`, or set `numProcPerNode` to 1"
            ))),
            None => Ok(Some(Found { local_rank: Some(found.local_rank.unwrap_or(0)), ..found })),
        }
    }

    /// Adds the local rank and the address of rank 0.
    fn resolve(&self, found: &Found<'_>) -> Result<Launch, Error> {
        let launcher = found.names.launcher;
        let mut local_rank = found.local_rank;
        // Slurm's plugin `pmi2` sets the variables of MPICH but for the local rank.
        if local_rank.is_none() && self.number(SLURM.rank)? == Some(found.rank) {
            local_rank = self.number(SLURM.local_rank)?;
        }
        let Some(local_rank) = local_rank.or((found.world_size == 1).then_some(0)) else {
            return Err(ranks(format!(
                "`{}` is {}, and `{}` is not set\n\
                 hint: set it to the number of this process among those of its machine, 0 for the first",
                found.names.rank, found.rank, found.names.local_rank
            )));
        };
        let (address, port) = match launcher {
            Launcher::Kubeflow => ("PET_MASTER_ADDR", "PET_MASTER_PORT"),
            _ => ("MASTER_ADDR", "MASTER_PORT"),
        };
        let mut host = self.text(address);
        let mut port = self.number(port)?;
        if launcher == Launcher::Slurm {
            let nodes =
                self.text("SLURM_STEP_NODELIST").or_else(|| self.text("SLURM_JOB_NODELIST"));
            host = host.or_else(|| first_host(&nodes?));
            port = port.or(self.number("SLURM_JOB_ID")?.map(port_of_job));
        }
        Ok(Launch {
            launcher,
            rank: found.rank,
            world_size: found.world_size,
            local_rank,
            host,
            port,
        })
    }
}

/// Returns a port for a job of Slurm, which names none: two jobs on one machine rarely have the same.
fn port_of_job(job: u64) -> u16 {
    15_000 + u16::try_from(job % 10_000).unwrap_or_default()
}

impl Found<'_> {
    /// Compares the numbers of two launchers in one process, and takes the local rank that is there.
    fn join(&mut self, other: &Found<'_>) -> Result<(), Error> {
        if self.rank != other.rank {
            return Err(contradiction(self.names.rank, self.rank, other.names.rank, other.rank));
        }
        if self.world_size != other.world_size {
            return Err(contradiction(
                self.names.world_size,
                self.world_size,
                other.names.world_size,
                other.world_size,
            ));
        }
        self.local_rank = self.local_rank.or(other.local_rank);
        Ok(())
    }
}

fn ranks(reason: String) -> Error {
    Error::Ranks { reason }
}

fn incomplete(name: &str, value: usize, missing: &str) -> Error {
    ranks(format!(
        "`{name}` is {value}, and `{missing}` is not set\n\
         hint: a launcher sets both; unset `{name}` to train alone"
    ))
}

fn contradiction(name: &str, value: usize, other: &str, other_value: usize) -> Error {
    ranks(format!(
        "`{name}` is {value}, and `{other}` is {other_value}\n\
         hint: unset those of the launcher that did not start this process"
    ))
}

#[cfg(test)]
mod tests;
