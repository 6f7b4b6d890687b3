use super::*;
use serde_json::json;

fn step(files: &mut Files, step: u64, loss: f64) {
    files.line(&format!("step {step}"));
    files.metrics(step, &Map::from_iter([("loss".to_owned(), json!(loss))]));
}

fn bytes(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    (std::fs::read(dir.join(LOG)).unwrap(), std::fs::read(dir.join(METRICS)).unwrap())
}

#[test]
fn a_rewound_run_leaves_the_files_of_a_straight_one() {
    let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut files = Files::open(straight.path()).unwrap();
    (1..=4).for_each(|at| step(&mut files, at, 0.5));

    let mut files = Files::open(resumed.path()).unwrap();
    (1..=2).for_each(|at| step(&mut files, at, 0.5));
    let marks = files.marks().unwrap();
    step(&mut files, 3, 0.25);
    drop(files);
    let mut files = Files::open(resumed.path()).unwrap();
    files.rewind(&marks, false).unwrap();
    assert_eq!(files.marks().unwrap(), marks);
    (3..=4).for_each(|at| step(&mut files, at, 0.5));

    assert_eq!(bytes(straight.path()), bytes(resumed.path()));
    let length = |dir: &Path| Files::open(dir).unwrap().marks().unwrap();
    assert_eq!(length(straight.path()), length(resumed.path()));
}

#[test]
fn a_run_that_starts_over_keeps_its_own_lines_alone() {
    let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut files = Files::open(straight.path()).unwrap();
    (1..=3).for_each(|at| step(&mut files, at, 0.5));
    let mut files = Files::open(resumed.path()).unwrap();
    (1..=2).for_each(|at| step(&mut files, at, 0.25));
    drop(files);
    let mut files = Files::open(resumed.path()).unwrap();
    step(&mut files, 1, 0.5);
    files.forget_earlier().unwrap();
    (2..=3).for_each(|at| step(&mut files, at, 0.5));
    assert_eq!(bytes(straight.path()), bytes(resumed.path()));
}

#[test]
fn a_file_shorter_than_its_mark_is_refused_every_time_and_accepted_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    step(&mut files, 1, 0.5);
    let marks = files.marks().unwrap();
    step(&mut files, 2, 0.5);
    drop(files);
    std::fs::write(dir.path().join(METRICS), "").unwrap();
    let before = bytes(dir.path());
    for _ in 0..3 {
        let mut files = Files::open(dir.path()).unwrap();
        // Longer than the mark, by lines of this process.
        (1..=4).for_each(|at| step(&mut files, at, 0.5));
        let error = files.rewind(&marks, false).unwrap_err().to_string();
        assert!(
            error.contains("metrics.jsonl` has 0 bytes, fewer than the 22 of the checkpoint\n"),
            "{error}"
        );
        assert_eq!(bytes(dir.path()), before);
    }
    let mut files = Files::open(dir.path()).unwrap();
    step(&mut files, 1, 0.5);
    files.rewind(&marks, true).unwrap();
    assert_eq!(bytes(dir.path()), (before.0[..7].to_vec(), Vec::new()));
}

/// A process that fails before it rewinds leaves lines, which make a short file long enough for the next one.
#[test]
fn a_file_of_other_content_than_the_checkpoints_is_refused_whatever_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    (1..=3).for_each(|at| step(&mut files, at, 0.5));
    let marks = files.marks().unwrap();
    let whole = bytes(dir.path());
    drop(files);
    let longer = [&b"cut and grown again beyond the checkpoint\n"[..], &whole.0].concat();
    let mut flipped = whole.0.clone();
    flipped[3] ^= 1;
    for other in [longer, flipped] {
        std::fs::write(dir.path().join(LOG), &other).unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        step(&mut files, 4, 0.5);
        let error = files.rewind(&marks, false).unwrap_err().to_string();
        assert!(error.contains("log.txt` is not as it was at the checkpoint\nhint: "), "{error}");
        assert_eq!(bytes(dir.path()), (other, whole.1.clone()));
        files.rewind(&marks, true).unwrap();
    }
    std::fs::write(dir.path().join(LOG), &whole.0).unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    step(&mut files, 4, 0.5);
    files.rewind(&marks, false).unwrap();
    assert_eq!(bytes(dir.path()), whole);
}

#[test]
fn marks_of_a_file_that_somebody_truncated_are_of_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    step(&mut files, 1, 0.5);
    std::fs::write(dir.path().join(LOG), "").unwrap();
    step(&mut files, 2, 0.5);
    let marks = files.marks().unwrap();
    assert_eq!(marks.log, 7);
    step(&mut files, 3, 0.5);
    let mut files = Files::open(dir.path()).unwrap();
    files.rewind(&marks, false).unwrap();
    assert_eq!(bytes(dir.path()).0, b"step 2\n");
    // Marks of an earlier version have no digests.
    let json = json!({"log": 7, "metrics": 44, "tensorboard": 0});
    files.rewind(&serde_json::from_value(json).unwrap(), false).unwrap();
}

#[test]
fn a_deleted_event_file_does_not_keep_a_run_from_being_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    step(&mut files, 1, 0.5);
    let marks = files.marks().unwrap();
    std::fs::remove_file(dir.path().join(files.events.name())).unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    files.rewind(&marks, false).unwrap();
    step(&mut files, 2, 0.5);
    assert_eq!(files.marks().unwrap().tensorboard, marks.tensorboard);
}

#[test]
fn a_mark_before_the_first_event_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::open(dir.path()).unwrap();
    let marks = files.marks().unwrap();
    assert_eq!(marks, Marks::default());
    step(&mut files, 1, 0.5);
    let one = files.marks().unwrap();
    files.rewind(&marks, false).unwrap();
    step(&mut files, 1, 0.5);
    assert_eq!(files.marks().unwrap(), one, "the file's head is written again");
}
