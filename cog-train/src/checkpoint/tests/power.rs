//! Losses of power at every change of the disk, with every outcome for what was not synced.

use std::path::Path;
use std::sync::Arc;

use super::super::disk::Disk;
use super::faults::{PLANS, Plan, assert_resumes, run};
use super::faulty::{Faulty, Mode};
use super::model::{Model, Rest};

/// The largest number of changes of names whose subsets are all tested.
const ALL_SUBSETS: usize = 6;
/// The number of pseudorandom subsets beyond that.
const SAMPLES: u64 = 24;

/// Returns sets of changes that are not lost, as bits.
fn outcomes(changes: usize) -> Vec<u64> {
    assert!(changes < 63, "{changes} changes are not synced");
    let all = (1_u64 << changes) - 1;
    if changes <= ALL_SUBSETS {
        return (0..=all).collect();
    }
    let each = (0..changes).map(|at| 1_u64 << at);
    let mut outcomes: Vec<u64> = vec![0, all];
    // A prefix, one alone, all but one, and pseudorandom ones.
    outcomes.extend(each.clone().map(|bit| bit - 1));
    outcomes.extend(each.clone());
    outcomes.extend(each.map(|bit| all ^ bit));
    outcomes.extend((1..=SAMPLES).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7 & all));
    outcomes.sort_unstable();
    outcomes.dedup();
    outcomes
}

#[test]
fn durable_checkpoints_survive_a_loss_of_power_at_any_change() {
    let dir = Path::new("/run/checkpoints");
    let (least_points, least_images) = (335, 22670);
    let (mut points, mut images) = (0, 0);
    let mut try_all = |model: &Model, durable: usize, plan: Plan, at: usize| {
        let rests = if model.is_dirty() { &Rest::ALL[..] } else { &Rest::ALL[..1] };
        for arrived in outcomes(model.changes()) {
            for &rest in rests {
                let image = model.lose_power(|change| arrived >> change & 1 == 1, rest);
                let what = format!("{plan:?}, power lost at {at}, {arrived:b} arrived, {rest:?}");
                let disk: Arc<dyn Disk> = Arc::new(image);
                // The parent folder may be lost as well.
                assert_resumes(&disk, dir, durable, &what);
                images += 1;
            }
        }
    };
    for plan in PLANS {
        for at in 1.. {
            let model = Model::new();
            let disk = Faulty::new(model.clone(), Mode::StopChange, at);
            let faulty: Arc<dyn Disk> = Arc::<Faulty<Model>>::clone(&disk);
            let (durable, _error) = run(&faulty, dir, plan);
            try_all(&model, durable, plan, at);
            if !disk.reached() {
                break;
            }
            points += 1;
        }
    }
    assert!(points >= least_points, "only {points} points");
    assert!(images >= least_images, "only {images} images");
}
