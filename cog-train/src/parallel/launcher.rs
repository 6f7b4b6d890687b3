//! The launchers, and the variables in which each of them numbers its processes.

use std::fmt;

/// A program that starts the processes of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Launcher {
    /// torchrun, and whatever sets the same variables: `--gpus`, Ray, Accelerate, Jobs of Kubernetes.
    Torch,
    /// `mpirun` of `OpenMPI`.
    OpenMpi,
    /// `mpirun` of MPICH and Intel MPI.
    Mpich,
    /// `srun` of Slurm.
    Slurm,
    /// Kubeflow Trainer, without torchrun in the container.
    Kubeflow,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torch => "torchrun",
            Self::OpenMpi => "mpirun (OpenMPI)",
            Self::Mpich => "mpirun (MPICH)",
            Self::Slurm => "srun",
            Self::Kubeflow => "Kubeflow Trainer",
        })
    }
}

/// The names of a launcher's variables.
pub(super) struct Names {
    pub(super) launcher: Launcher,
    pub(super) rank: &'static str,
    pub(super) world_size: &'static str,
    pub(super) local_rank: &'static str,
}

pub(super) const OPEN_MPI: Names = Names {
    launcher: Launcher::OpenMpi,
    rank: "OMPI_COMM_WORLD_RANK",
    world_size: "OMPI_COMM_WORLD_SIZE",
    local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
};
pub(super) const MPICH: Names = Names {
    launcher: Launcher::Mpich,
    rank: "PMI_RANK",
    world_size: "PMI_SIZE",
    local_rank: "MPI_LOCALRANKID",
};
pub(super) const TORCH: Names = Names {
    launcher: Launcher::Torch,
    rank: "RANK",
    world_size: "WORLD_SIZE",
    local_rank: "LOCAL_RANK",
};
/// `SLURM_NTASKS` is set in a batch script too, which is one process.
pub(super) const SLURM: Names = Names {
    launcher: Launcher::Slurm,
    rank: "SLURM_PROCID",
    world_size: "SLURM_STEP_NUM_TASKS",
    local_rank: "SLURM_LOCALID",
};
/// Kubeflow numbers nodes: they are ranks when each has one process.
pub(super) const KUBEFLOW: Names = Names {
    launcher: Launcher::Kubeflow,
    rank: "PET_NODE_RANK",
    world_size: "PET_NNODES",
    local_rank: "LOCAL_RANK",
};
