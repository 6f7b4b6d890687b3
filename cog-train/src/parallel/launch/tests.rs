//! Each launcher by the variables that it sets.

use super::*;

/// Reads `A=1 B=2` as the environment.
fn read(variables: &str) -> Result<Option<Launch>, Error> {
    Launch::from_variables(|name| {
        let mut pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    })
}

fn launch(variables: &str) -> Launch {
    read(variables).unwrap().unwrap_or_else(|| panic!("no launcher in {variables}"))
}

fn refusal(variables: &str) -> String {
    match read(variables) {
        Err(error @ Error::Ranks { .. }) => error.to_string(),
        other => panic!("{variables}: {other:?}"),
    }
}

/// `rank/world_size:local_rank host:port`, `-` for what is not known.
fn shown(launch: &Launch) -> String {
    let host = launch.host.as_deref().unwrap_or("-");
    let port = launch.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
    format!("{}/{}:{} {host}:{port}", launch.rank, launch.world_size, launch.local_rank)
}

#[test]
fn each_launcher_is_known_by_its_variables() {
    for (variables, launcher, expected) in [
        // `torchrun --no-python --nproc-per-node 4`.
        (
            "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 GROUP_RANK=1 MASTER_ADDR=n0 MASTER_PORT=29500 \
             TORCHELASTIC_RUN_ID=none TORCHELASTIC_USE_AGENT_STORE=True",
            Launcher::Torch,
            "5/8:1 n0:29500",
        ),
        // `mpirun` of OpenMPI 4 and 5.
        (
            "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 PMIX_RANK=3",
            Launcher::OpenMpi,
            "3/4:1 -:-",
        ),
        // `mpirun -x MASTER_ADDR=n0 -x MASTER_PORT=29500`.
        (
            "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 MASTER_ADDR=n0 MASTER_PORT=29500",
            Launcher::OpenMpi,
            "3/4:1 n0:29500",
        ),
        // `mpiexec` of MPICH (Hydra) and Intel MPI.
        ("PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2", Launcher::Mpich, "1/2:1 -:-"),
        // `srun`, and `srun --mpi=pmix`.
        (
            "SLURM_PROCID=6 SLURM_NTASKS=8 SLURM_STEP_NUM_TASKS=8 SLURM_LOCALID=2 SLURM_STEP_NODELIST=gpu[07-08] \
             SLURM_JOB_NODELIST=gpu[01-08] SLURM_JOB_ID=1234567",
            Launcher::Slurm,
            "6/8:2 gpu07:19567",
        ),
        (
            "SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=1 PMIX_RANK=1 SLURM_JOB_NODELIST=a,b MASTER_PORT=7",
            Launcher::Slurm,
            "1/2:1 a:7",
        ),
        // `srun --mpi=pmi2`: the local rank is Slurm's.
        (
            "PMI_RANK=3 PMI_SIZE=4 SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4 SLURM_LOCALID=1",
            Launcher::Mpich,
            "3/4:1 -:-",
        ),
        // Kubeflow Trainer with one process a node.
        (
            "PET_NODE_RANK=1 PET_NNODES=2 PET_NPROC_PER_NODE=1 PET_MASTER_ADDR=job-node-0-0.job PET_MASTER_PORT=29500",
            Launcher::Kubeflow,
            "1/2:0 job-node-0-0.job:29500",
        ),
        // torchrun in its container.
        (
            "PET_NODE_RANK=1 PET_NNODES=2 PET_NPROC_PER_NODE=4 PET_MASTER_ADDR=n0 RANK=6 WORLD_SIZE=8 LOCAL_RANK=2 \
             MASTER_ADDR=n0 MASTER_PORT=29500",
            Launcher::Torch,
            "6/8:2 n0:29500",
        ),
        // An indexed Job of Kubernetes, and Ray: the submit file sets the variables of torchrun.
        (
            "RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=job-0.job",
            Launcher::Torch,
            "0/2:0 job-0.job:-",
        ),
        ("RANK=0 WORLD_SIZE=1", Launcher::Torch, "0/1:0 -:-"),
    ] {
        let found = launch(variables);
        assert_eq!(found.launcher, launcher, "{variables}");
        assert_eq!(shown(&found), expected, "{variables}");
    }
}

#[test]
fn a_launcher_in_a_launcher_numbers_the_processes() {
    let srun_of_mpirun = "SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=0 ";
    let mpirun =
        "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 PMIX_RANK=5";
    assert_eq!(shown(&launch(&format!("{srun_of_mpirun}{mpirun}"))), "5/8:1 -:-");
    let torchrun = "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 TORCHELASTIC_RUN_ID=x";
    assert_eq!(shown(&launch(&format!("{srun_of_mpirun}{torchrun}"))), "5/8:1 -:-");
    // One torchrun on each node, started by mpirun.
    let mpirun =
        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 PMIX_RANK=1";
    let found = launch(&format!("{mpirun} {torchrun}"));
    assert_eq!((found.launcher, shown(&found).as_str()), (Launcher::Torch, "5/8:1 -:-"));
}

/// A script that exports the variables of torchrun under `mpirun` may leave the local rank to `mpirun`.
#[test]
fn launchers_that_agree_complete_each_other() {
    let found = launch(
        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 RANK=1 WORLD_SIZE=2 MASTER_ADDR=n0",
    );
    assert_eq!((found.launcher, shown(&found).as_str()), (Launcher::OpenMpi, "1/2:1 n0:-"));
}

#[test]
fn a_process_without_a_launcher_trains_alone() {
    for variables in [
        "",
        "RANK= WORLD_SIZE=",
        "WORLD_SIZE=1",
        "MASTER_ADDR=n0 MASTER_PORT=29500",
        // A batch script of `sbatch --ntasks 4`, and a shell of `salloc --ntasks 4`.
        "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_NODELIST=gpu[1-4]",
        "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_JOB_NODELIST=gpu[1-4]",
        "PET_NODE_RANK=0 PET_NNODES=1 PET_NPROC_PER_NODE=auto",
        "PMIX_RANK=0",
    ] {
        assert_eq!(read(variables).unwrap(), None, "{variables}");
    }
}

#[test]
fn contradictory_variables_are_an_error_that_shows_both() {
    let hint = "\nhint: unset those of the launcher that did not start this process";
    for (variables, expected) in [
        (
            "RANK=1 WORLD_SIZE=4 LOCAL_RANK=1 OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4",
            "`OMPI_COMM_WORLD_RANK` is 2, and `RANK` is 1",
        ),
        (
            "RANK=1 WORLD_SIZE=4 LOCAL_RANK=1 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2",
            "`OMPI_COMM_WORLD_SIZE` is 2, and `WORLD_SIZE` is 4",
        ),
        (
            "PMI_RANK=0 PMI_SIZE=2 MPI_LOCALRANKID=0 RANK=1 WORLD_SIZE=2 LOCAL_RANK=1",
            "`PMI_RANK` is 0, and `RANK` is 1",
        ),
        (
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 PMIX_RANK=0",
            "`OMPI_COMM_WORLD_RANK` is 1, and `PMIX_RANK` is 0",
        ),
        (
            "SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=1 PMIX_RANK=0",
            "`SLURM_PROCID` is 1, and `PMIX_RANK` is 0",
        ),
    ] {
        assert_eq!(refusal(variables), format!("{expected}{hint}"), "{variables}");
    }
}

#[test]
fn a_variable_without_its_partner_is_an_error() {
    for (variables, name, missing) in [
        ("RANK=0", "RANK", "WORLD_SIZE"),
        ("WORLD_SIZE=2", "WORLD_SIZE", "RANK"),
        ("OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_RANK=1", "PMI_RANK", "PMI_SIZE"),
        ("SLURM_STEP_NUM_TASKS=2", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        ("PET_NNODES=2", "PET_NNODES", "PET_NODE_RANK"),
        ("PMIX_RANK=1", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("RANK=1 WORLD_SIZE=2", "RANK", "LOCAL_RANK"),
        ("PMI_RANK=1 PMI_SIZE=2 SLURM_PROCID=0 SLURM_LOCALID=0", "PMI_RANK", "MPI_LOCALRANKID"),
    ] {
        let message = refusal(variables);
        assert!(message.starts_with(&format!("`{name}` is ")), "{variables}: {message}");
        let rest = format!("`{missing}` is not set\nhint: ");
        assert!(message.contains(&rest), "{variables}: {message}");
    }
}

#[test]
fn numbers_out_of_range_are_errors() {
    for (variables, expected) in [
        (
            "RANK=2 WORLD_SIZE=2 LOCAL_RANK=0",
            "`RANK` is 2, and `WORLD_SIZE` is 2: ranks are counted from 0",
        ),
        ("RANK=-1 WORLD_SIZE=2", "`RANK` is `-1`, which is no number that it may have"),
        (
            "RANK=0 WORLD_SIZE=1 MASTER_PORT=70000",
            "`MASTER_PORT` is `70000`, which is no number that it may have",
        ),
        (
            "PET_NODE_RANK=0 PET_NNODES=2 PET_NPROC_PER_NODE=gpu",
            "`PET_NPROC_PER_NODE` is `gpu`, and this process was not started by torchrun\n\
             hint: start the program by `torchrun --no-python`, or set `numProcPerNode` to 1",
        ),
    ] {
        assert_eq!(refusal(variables), expected, "{variables}");
    }
}
