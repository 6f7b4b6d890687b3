//! Faults at every operation of a run, and a full disk.

use std::path::Path;
use std::sync::Arc;

use super::super::disk::{Disk, Item, Real};
use super::super::load::newest_on;
use super::faulty::{Faulty, Mode};
use super::model::Model;
use super::*;

/// A run of three saves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) steps: [u64; 3],
    pub(super) keep: Keep,
    /// Whether each save starts while the one before is written.
    pub(super) overlaps: bool,
}

/// Saves that delete one each, keep one as the best, and replace one of the same step.
pub(super) const PLANS: [Plan; 4] = [
    Plan { steps: [1, 2, 3], keep: Keep { last: 1, best: false }, overlaps: false },
    Plan { steps: [1, 2, 3], keep: Keep { last: 1, best: true }, overlaps: true },
    Plan { steps: [1, 2, 2], keep: Keep { last: 2, best: false }, overlaps: false },
    Plan { steps: [2, 2, 2], keep: Keep { last: 1, best: false }, overlaps: true },
];

/// Returns the snapshot of the `number`-th save of a run, counted from 1.
fn nth(number: usize, step: u64) -> Snapshot {
    let files = files(number as u64);
    Snapshot { step, state: json!({"number": number}), files, best: number == 1 }
}

/// Runs a plan to its end or its first error: returns the number of the last save that was reported durable, and the error.
pub(super) fn run(disk: &Arc<dyn Disk>, dir: &Path, plan: Plan) -> (usize, Option<Error>) {
    let mut durable = 0;
    let mut all = || {
        let mut checkpoints = Checkpoints::open_on(Arc::clone(disk), dir, plan.keep)?;
        for (before, step) in plan.steps.into_iter().enumerate() {
            checkpoints.save(nth(before + 1, step))?;
            durable = before;
            if !plan.overlaps {
                checkpoints.finish()?;
                durable = before + 1;
            }
        }
        checkpoints.finish()?;
        durable = plan.steps.len();
        Ok(())
    };
    let error = all().err();
    (durable, error)
}

/// Returns the number of the save that a resumed run would read, 0 for none.
pub(super) fn found(disk: &dyn Disk, dir: &Path) -> usize {
    let found = newest_on(disk, dir).unwrap();
    found.checkpoint.map_or(0, |checkpoint| {
        usize::try_from(checkpoint.state()["number"].as_u64().unwrap()).unwrap()
    })
}

pub(super) fn listed(disk: &dyn Disk, dir: &Path) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|item| item.name).collect()
}

/// Asserts that the save reported durable, or a later one, is found, and that another process resumes and cleans up.
pub(super) fn assert_resumes(disk: &Arc<dyn Disk>, dir: &Path, durable: usize, what: &str) {
    let there = found(&**disk, dir);
    assert!(there >= durable, "{what}: save {durable} was durable, and {there} is there");

    let keep = Keep { last: 1, best: false };
    let mut checkpoints = Checkpoints::open_on(Arc::clone(disk), dir, keep).unwrap();
    assert_eq!(found(&**disk, dir), there, "{what}: the cleanup changed what is found");
    let hidden = listed(&**disk, dir).into_iter().find(|name| name.starts_with('.'));
    assert_eq!(hidden, None, "{what}: not cleaned up");
    checkpoints.save(nth(9, 3)).unwrap();
    checkpoints.finish().unwrap();
    assert_eq!(found(&**disk, dir), 9, "{what}");
    assert_eq!(listed(&**disk, dir), ["step-000003"], "{what}");
}

/// Runs every plan with a fault at every operation, on disks from `make`, and returns the number of faults.
fn everywhere<D: Disk + 'static>(
    mode: Mode,
    plans: &[Plan],
    mut check: impl FnMut(&Arc<Faulty<D>>, Plan, &str),
    mut make: impl FnMut() -> D,
) -> usize {
    let mut points = 0;
    for &plan in plans {
        for at in 1.. {
            let disk = Faulty::new(make(), mode, at);
            let what = format!("{plan:?}, {mode:?} at {at}");
            check(&disk, plan, &what);
            if !disk.reached() {
                break;
            }
            points += 1;
        }
    }
    points
}

#[test]
fn durable_checkpoints_survive_a_crash_at_any_operation() {
    let dir = Path::new("/run/checkpoints");
    for (mode, least) in [(Mode::Stop, 599), (Mode::StopWithin, 599)] {
        let mut model = Model::new();
        let points = everywhere(
            mode,
            &PLANS,
            |disk, plan, what| {
                let faulty: Arc<dyn Disk> = Arc::<Faulty<Model>>::clone(disk);
                let (durable, _error) = run(&faulty, dir, plan);
                let left: Arc<dyn Disk> = Arc::new(disk.disk.clone());
                if listed_or_none(&*left, dir).is_some() || durable > 0 {
                    assert_resumes(&left, dir, durable, what);
                }
            },
            || {
                model = Model::new();
                model.clone()
            },
        );
        assert!(points >= least, "{mode:?}: only {points} points");
    }
}

fn listed_or_none(disk: &dyn Disk, dir: &Path) -> Option<Vec<Item>> {
    disk.list(dir).ok()
}

#[test]
fn durable_checkpoints_survive_a_crash_at_any_operation_on_real_files() {
    for (mode, least) in [(Mode::Stop, 290), (Mode::StopWithin, 290)] {
        let mut points = 0;
        for plan in [PLANS[0], PLANS[3]] {
            for at in 1.. {
                let folder = quick_folder();
                let dir = folder.path().join("run/checkpoints");
                let disk = Faulty::new(Real, mode, at);
                let faulty: Arc<dyn Disk> = Arc::<Faulty<Real>>::clone(&disk);
                let (durable, _error) = run(&faulty, &dir, plan);
                let left: Arc<dyn Disk> = Arc::new(Real);
                assert_resumes(&left, &dir, durable, &format!("{plan:?}, {mode:?} at {at}"));
                if !disk.reached() {
                    break;
                }
                points += 1;
            }
        }
        assert!(points >= least, "{mode:?}: only {points} points");
    }
}

/// Returns a folder in memory where there is one: these tests are about order, not about the disk.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The training continues after the failure and saves again.
#[test]
fn durable_checkpoints_survive_a_failed_operation_and_nothing_stays_staged() {
    let dir = Path::new("/run/checkpoints");
    let (least_points, least_errors) = (599, 390);
    let (mut points, mut errors) = (0, 0);
    for plan in PLANS {
        for at in 1.. {
            let model = Model::new();
            let disk = Faulty::new(model.clone(), Mode::Once, at);
            let what = format!("{plan:?}, failure at {at}");
            let faulty: Arc<dyn Disk> = Arc::<Faulty<Model>>::clone(&disk);
            let mut durable = 0;
            let opened = Checkpoints::open_on(Arc::clone(&faulty), dir, plan.keep);
            errors += usize::from(opened.is_err());
            if let Ok(mut checkpoints) = opened {
                for (before, step) in plan.steps.into_iter().enumerate() {
                    checkpoints.save(nth(before + 1, step)).unwrap();
                    match checkpoints.finish() {
                        Ok(()) => durable = before + 1,
                        Err(error) => {
                            errors += 1;
                            assert!(matches!(error, Error::Checkpoint { .. }), "{what}: {error}");
                        }
                    }
                    let staged = Kind::Partial.name(step);
                    assert!(!listed(&model, dir).contains(&staged), "{what}: `{staged}` stays");
                    let there = found(&model, dir);
                    assert!(there >= durable, "{what}: {there} instead of {durable}");
                }
                drop(checkpoints);
            }
            let left: Arc<dyn Disk> = Arc::new(model);
            assert_resumes(&left, dir, durable, &what);
            if !disk.reached() {
                break;
            }
            points += 1;
        }
    }
    assert!(points >= least_points, "only {points} points");
    // An older checkpoint that cannot be read is left alone.
    assert!(errors >= least_errors, "{errors} errors at {points} points");
}

#[test]
fn a_full_disk_is_reported_and_older_checkpoints_are_kept() {
    let dir = Path::new("/run/checkpoints");
    let least = 144;
    let mut points = 0;
    for plan in [PLANS[0], PLANS[2]] {
        for at in 1.. {
            let model = Model::new();
            let disk = Faulty::new(model.clone(), Mode::Full, at);
            let what = format!("{plan:?}, full at {at}");
            let faulty: Arc<dyn Disk> = Arc::<Faulty<Model>>::clone(&disk);
            let (durable, error) = run(&faulty, dir, plan);
            if !disk.reached() {
                assert!(error.is_none(), "{what}");
                break;
            }
            points += 1;
            let error = error.unwrap();
            let text = error.to_string();
            assert!(text.contains("no space left on device"), "{what}: {text}");
            let left: Arc<dyn Disk> = Arc::new(model);
            if let Error::Checkpoint { location, .. } = &error {
                let folder = Kind::Complete.name(plan.steps[durable.min(2)]);
                if text.contains("is saved, but") {
                    // The older one could not be deleted.
                    assert!(text.contains(&format!("step {}", plan.steps[durable])), "{text}");
                } else {
                    assert!(location.ends_with(&folder), "{what}: {text}");
                    assert!(text.ends_with("hint: free some space, or keep fewer checkpoints"));
                    if durable > 0 {
                        let step = plan.steps.into_iter().take(durable);
                        let step = step.filter(|&step| step != plan.steps[durable]).max().unwrap();
                        let still = format!("the checkpoint of step {step} is still there");
                        assert!(text.contains(&still), "{what}: {text}");
                    }
                    let staged = Kind::Partial.name(plan.steps[durable]);
                    assert!(!listed(&*left, dir).contains(&staged), "{what}");
                }
            } else {
                assert!(matches!(error, Error::File { action: "create", .. }), "{what}: {text}");
            }
            assert_resumes(&left, dir, durable, &what);
        }
    }
    assert!(points >= least, "only {points} points");
}
