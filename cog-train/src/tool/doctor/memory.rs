//! The memory of the machine, and the limit of a container.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::message::human;

const GROUP: &str = "memory";
/// Less than this is little even for a small model with its optimizer.
const LITTLE: u64 = 2 << 30;

pub(super) fn findings() -> Vec<Finding> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (total, free) = (field(&text, "MemTotal"), field(&text, "MemAvailable"));
    let mut findings = Vec::new();
    if let (Some(total), Some(free)) = (total, free) {
        let value = format!("{}, {} available", human(total), human(free));
        findings.push(Finding::fine(GROUP, "machine", value));
    }
    let limit = limit(Path::new("/sys/fs/cgroup"), &own_cgroup());
    if let Some(limit) = limit.filter(|limit| total.is_none_or(|total| *limit < total)) {
        findings.push(Finding::fine(GROUP, "limit of cgroup", human(limit)));
    }
    let most = [free, limit].into_iter().flatten().min();
    if let Some(most) = most.filter(|most| *most < LITTLE)
        && let Some(last) = findings.pop()
    {
        let hint = format!(
            "{} is little for a training: `--dry-run` measures what a run needs",
            human(most)
        );
        findings.push(last.limited(hint));
    }
    findings
}

/// A line of `/proc/meminfo`, in bytes: `MemTotal:  24590000 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The path of this process's group in version 2: `0::/user.slice`.
fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned()
}

/// The least limit of a group and the groups around it, of version 2 or 1.
fn limit(root: &Path, group: &str) -> Option<u64> {
    let own: PathBuf = root.join(group.trim_start_matches('/'));
    let around = own.ancestors().take_while(|dir| dir.starts_with(root));
    let files = around.map(|dir| dir.join("memory.max"));
    let files = files.chain([root.join("memory/memory.limit_in_bytes")]);
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    // Version 1 writes a number near the largest where there is no limit.
    limits.filter(|limit| *limit < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_counts_in_kibibytes() {
        let text = "MemTotal:       24590000 kB\nMemFree: 1 kB\n";
        assert_eq!(field(text, "MemTotal"), Some(24_590_000 << 10));
        assert_eq!(field(text, "Mem"), None);
    }

    #[test]
    fn the_least_limit_of_the_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(limit(root.path(), "/a/b"), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("a/memory.max"), "1073741824\n").unwrap();
        assert_eq!(limit(root.path(), "/a/b"), Some(1 << 30));
        fs::create_dir_all(root.path().join("memory")).unwrap();
        let file = root.path().join("memory/memory.limit_in_bytes");
        fs::write(&file, "9223372036854771712\n").unwrap();
        assert_eq!(limit(root.path(), "/a/b"), Some(1 << 30));
        fs::write(&file, "1024").unwrap();
        assert_eq!(limit(root.path(), "/"), Some(1024));
    }
}
