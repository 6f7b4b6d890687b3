//! Damage to the files of the newest checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::manifest::{self, Manifest};
use super::*;

/// A folder with two checkpoints.
struct Saved {
    folder: tempfile::TempDir,
    older: PathBuf,
    newest: PathBuf,
}

fn two_checkpoints() -> Saved {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut checkpoints = Checkpoints::open(folder.path(), keep(2)).unwrap();
    checkpoints.save(snapshot(1)).unwrap();
    checkpoints.save(snapshot(2)).unwrap();
    checkpoints.finish().unwrap();
    let (one, two) = (folder.path().join("step-000001"), folder.path().join("step-000002"));
    Saved { folder, older: one, newest: two }
}

/// Asserts that the newest is passed over for a reason with these words in it, and that the older one is found.
fn assert_passed_over(dir: &Path, words: &str, what: &str) {
    let found = newest(dir).unwrap();
    let (path, reason) = &found.passed_over[0];
    assert_eq!(found.passed_over.len(), 1, "{what}");
    assert!(path.ends_with("step-000002"), "{what}: {}", path.display());
    assert!(reason.contains(words), "{what}: {reason}");
    assert_eq!(found.checkpoint.map(|checkpoint| checkpoint.step()), Some(1), "{what}");
}

#[test]
fn a_flipped_bit_in_any_byte_and_any_truncation_is_detected() {
    let Saved { folder, newest: two, .. } = two_checkpoints();
    let (mut cuts, mut flips) = (0, 0);
    for name in names(&two) {
        let file = two.join(&name);
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(13).chain([whole.len() - 1]) {
            fs::write(&file, &whole[..at]).unwrap();
            assert_passed_over(folder.path(), &name, &format!("{name} cut at {at}"));
            cuts += 1;
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&file, bytes).unwrap();
            let what = format!("{name}, bit {} of byte {at}", at % 8);
            assert_passed_over(folder.path(), "is damaged", &what);
            flips += 1;
        }
        // Longer than it was.
        fs::write(&file, [&whole[..], b"\n"].concat()).unwrap();
        assert_passed_over(folder.path(), &name, "a byte more");
        fs::write(&file, whole).unwrap();
    }
    assert_holds(&newest(folder.path()).unwrap().checkpoint.unwrap(), 2);
    assert!(cuts >= 357 && flips >= 4551, "only {cuts} cuts and {flips} flips");
}

#[test]
fn a_folder_that_differs_from_its_manifest_is_passed_over() {
    let Saved { folder, older: one, newest: two } = two_checkpoints();
    let (dir, mut kinds) = (folder.path(), 0);
    for name in names(&two) {
        let (file, aside) = (two.join(&name), dir.join("aside"));
        fs::rename(&file, &aside).unwrap();
        assert_passed_over(dir, &name, "a missing file");
        fs::create_dir(&file).unwrap();
        assert_passed_over(dir, &name, "a folder in its place");
        fs::remove_dir(&file).unwrap();
        if name != "ema.safetensors" {
            // A file without tensors is equal at all steps.
            fs::copy(one.join(&name), &file).unwrap();
            assert_passed_over(dir, "", "the older one's file");
            kinds += 1;
        }
        fs::rename(&aside, &file).unwrap();
        kinds += 2;
    }
    for name in ["notes.txt", ".hidden", "more.safetensors"] {
        fs::write(two.join(name), "").unwrap();
        assert_passed_over(dir, name, "an extra file");
        fs::remove_file(two.join(name)).unwrap();
        kinds += 1;
    }
    fs::write(two.join("red\u{1b}[31m"), "").unwrap();
    assert_passed_over(dir, "`red\\u{1b}[31m` does not belong to it", "control characters");
    fs::remove_file(two.join("red\u{1b}[31m")).unwrap();
    fs::create_dir(two.join("more")).unwrap();
    assert_passed_over(dir, "`more` does not belong to it", "an extra folder");
    fs::remove_dir(two.join("more")).unwrap();

    let file = two.join(manifest::NAME);
    let whole = fs::read(&file).unwrap();
    let manifest = Manifest::from_bytes(&whole).unwrap();
    let older = Manifest { version: 1, ..manifest.clone() }.to_bytes().unwrap();
    fs::write(&file, older).unwrap();
    assert_passed_over(dir, "is of version 1, and this program reads version 2", "version");
    let other = Manifest { step: 3, ..manifest }.to_bytes().unwrap();
    fs::write(&file, other).unwrap();
    assert_passed_over(dir, "its manifest is of step 3", "another step");
    fs::write(&file, whole).unwrap();

    fs::rename(&two, dir.join("aside")).unwrap();
    fs::create_dir(&two).unwrap();
    assert_passed_over(dir, "there is no `manifest.json`", "an empty folder");
    fs::remove_dir(&two).unwrap();
    fs::write(&two, "text").unwrap();
    assert_passed_over(dir, "not a directory", "a file with the name of a checkpoint");
    fs::remove_file(&two).unwrap();
    fs::rename(dir.join("aside"), &two).unwrap();
    assert_holds(&newest(dir).unwrap().checkpoint.unwrap(), 2);
    assert_eq!(kinds + 6, 20);
}

#[test]
fn unrelated_files_are_ignored_and_kept() {
    let Saved { folder, .. } = two_checkpoints();
    let dir = folder.path();
    for name in ["step-3", "step-abc", "best", ".step-000009.partial.bak", "step-000009 (copy)"] {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("file"), name).unwrap();
    }
    fs::write(dir.join("notes.txt"), "").unwrap();
    let before = names(dir);
    for leftover in [".step-000009.partial", ".step-000001.deleted"] {
        fs::create_dir_all(dir.join(leftover).join("inner")).unwrap();
        fs::write(dir.join(leftover).join("inner/file"), "").unwrap();
    }
    let found = newest(dir).unwrap();
    assert!(found.passed_over.is_empty());
    assert_holds(&found.checkpoint.unwrap(), 2);
    let _checkpoints = Checkpoints::open(dir, keep(2)).unwrap();
    assert_eq!(names(dir), before);
}

/// A run that resumed before a damaged checkpoint overtakes it.
#[test]
fn a_damaged_checkpoint_is_replaced_and_never_counted() {
    let Saved { folder, newest: two, .. } = two_checkpoints();
    let dir = folder.path();
    fs::remove_file(two.join("weights.safetensors")).unwrap();
    let nine = dir.join("step-000009");
    fs::create_dir(&nine).unwrap();
    let mut checkpoints = Checkpoints::open(dir, keep(1)).unwrap();
    // Step 2 replaces the damaged one; step 3 is the newest, whatever the folder of step 9 says.
    for step in [2, 3] {
        checkpoints.save(snapshot(step)).unwrap();
        checkpoints.finish().unwrap();
        let found = newest(dir).unwrap();
        assert_eq!(found.passed_over.len(), 1);
        assert_holds(&found.checkpoint.unwrap(), step);
    }
    assert_eq!(names(dir), ["step-000003", "step-000009"]);
}

#[test]
fn without_a_complete_checkpoint_all_reasons_are_returned() {
    let Saved { folder, older: one, newest: two } = two_checkpoints();
    for file in [one.join("ema.safetensors"), two.join("optimizer.safetensors")] {
        fs::write(file, "").unwrap();
    }
    let found = newest(folder.path()).unwrap();
    assert!(found.checkpoint.is_none());
    let reasons: Vec<&str> = found.passed_over.iter().map(|(_, reason)| &**reason).collect();
    assert!(
        reasons[0].starts_with("`optimizer.safetensors` has 0 bytes instead of "),
        "{reasons:?}"
    );
    assert!(reasons[1].starts_with("`ema.safetensors` has 0 bytes instead of "), "{reasons:?}");
    let error = Checkpoint::open(&two).unwrap_err().to_string();
    assert!(error.contains("step-000002`: `optimizer.safetensors` has 0 bytes"), "{error}");
}
