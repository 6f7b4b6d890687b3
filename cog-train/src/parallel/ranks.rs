//! The ranks of this process's training, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;

pub(crate) use super::channel::End;
use super::channel::{Channel, failure, of_rank, timeout};
use super::rendezvous::Rendezvous;
use super::{Communicator, Launch, Launcher, Single};
use crate::error::Error;

/// The processes that train together, before and after they have a device. The default is this process alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranks(Option<Group>);

#[derive(Debug, Clone)]
struct Group {
    launch: Launch,
    channel: Arc<dyn Channel>,
}

/// The time in which ranks that fail together report it to rank 0.
const GRACE: Duration = Duration::from_secs(2);
/// The time in which rank 0 sees that another rank has failed, unless it computes for longer.
const PATIENCE: Duration = Duration::from_secs(15);

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
        let channel = channel(&launch)?;
        Ok(Self(Some(Group { launch, channel })))
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

    /// Returns the bytes of rank 0 on every rank.
    pub(crate) fn share(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Some(group) => {
                let own = if self.is_follower() { &[] } else { &bytes[..] };
                Ok(group.channel.gather(own)?.swap_remove(0))
            }
            None => Ok(bytes),
        }
    }

    /// Returns the operations between the ranks on a device.
    pub(crate) fn connect(&self, device: &Device) -> Result<Arc<dyn Communicator>, Error> {
        match &self.0 {
            Some(group) => Arc::clone(&group.channel).connect(device),
            None => Ok(Arc::new(Single)),
        }
    }

    /// Ends the training on all ranks. When one of them has failed, all processes end: `print` prints the errors, on rank 0 unless
    /// it is not reached, and returns the exit code.
    pub(crate) fn end(&self, own: &End, print: impl FnOnce(&[String]) -> u8) {
        let Some(Group { launch, channel }) = &self.0 else { return };
        let (longest, after_failure) = (timeout(), if launch.rank == 0 { GRACE } else { PATIENCE });
        let ends = channel.end(own, &|ends| match failure(ends) {
            Some(_) => after_failure,
            None => longest,
        });
        let errors = errors(&ends);
        if errors.is_empty() {
            return channel.close();
        }
        if launch.rank > 0 && ends[0].is_some() {
            // Rank 0 prints the errors and ends this process.
            std::thread::sleep(PATIENCE);
        }
        channel.abort(print(&errors).max(1))
    }
}

/// Opens the path to the other processes: MPI where the program has it and an MPI launcher has started them, else a port of rank 0.
fn channel(launch: &Launch) -> Result<Arc<dyn Channel>, Error> {
    let by_mpi = match launch.launcher {
        Launcher::OpenMpi | Launcher::Mpich | Launcher::Slurm => true,
        Launcher::Torch | Launcher::Kubeflow => false,
    };
    #[cfg(feature = "mpi")]
    if by_mpi {
        return Ok(super::Mpi::open(launch)?);
    }
    if cfg!(feature = "nccl") {
        return Ok(Rendezvous::open(launch)?);
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

/// Returns the errors of all ranks, each once, with its rank where not all have the same.
fn errors(ends: &[Option<End>]) -> Vec<String> {
    if let Some(Some(End::Refused(text))) = ends.first() {
        return vec![text.clone()];
    }
    let failed = |end: &Option<End>| match end {
        Some(End::Failed(text)) => Some(text.clone()),
        _ => None,
    };
    let texts: Vec<Option<String>> = ends.iter().map(failed).collect();
    if let Some(Some(first)) = texts.first()
        && texts.iter().all(|text| text.as_ref() == Some(first))
    {
        return vec![first.clone()];
    }
    let mut errors: Vec<String> = Vec::new();
    for (rank, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        let error = of_rank(rank, text);
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    if errors.is_empty() {
        let late = ends.iter().enumerate().filter(|(_, end)| end.is_none());
        errors.extend(late.map(|(rank, _)| {
            format!(
                "rank {rank}: the others have waited for it too long\nhint: `COG_TRAIN_RANKS_TIMEOUT` is the longest wait in seconds"
            )
        }));
    }
    if errors.is_empty() && ends.iter().any(|end| *end != ends[0] || *end == Some(End::Waited)) {
        let odd = ends.iter().position(|end| *end != Some(End::Succeeded)).unwrap_or_default();
        errors.extend(ends[odd].as_ref().map(|end| end.seen_of(odd).to_string()));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "an end that has arrived")]
    fn failed(text: &str) -> Option<End> {
        Some(End::Failed(text.to_owned()))
    }

    #[test]
    fn each_error_is_reported_once_and_with_its_rank() {
        let ok = || Some(End::Succeeded);
        for (ends, expected) in [
            (vec![ok(), ok()], vec![]),
            (vec![Some(End::Cancelled), Some(End::Cancelled)], vec![]),
            // All made the same mistake.
            (vec![failed("no such file"), failed("no such file")], vec!["no such file"]),
            (
                vec![
                    Some(End::Refused("no such input".to_owned())),
                    failed("rank 0: no such input"),
                ],
                vec!["no such input"],
            ),
            // Rank 1 failed, and the others saw it or are killed.
            (vec![failed("rank 1: full"), failed("full"), None], vec!["rank 1: full"]),
            (vec![ok(), failed("full"), ok()], vec!["rank 1: full"]),
            (vec![failed("a"), failed("b")], vec!["rank 0: a", "rank 1: b"]),
            (vec![Some(End::Cancelled), failed("rank 0: cancelled")], vec!["rank 0: cancelled"]),
            (vec![Some(End::Cancelled), ok()], vec!["rank 0: cancelled"]),
        ] {
            assert_eq!(errors(&ends), expected, "{ends:?}");
        }
        let hangs = [Some(End::Waited), None, Some(End::Waited)];
        let expected = "rank 1: the others have waited for it too long\nhint: ";
        let [error] = &errors(&hangs)[..] else { panic!("{:?}", errors(&hangs)) };
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(errors(&[Some(End::Waited), Some(End::Waited)]).len(), 1);
    }
}
