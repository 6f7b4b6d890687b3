//! Slurm's compact lists of hosts.

/// Returns the first host of a list such as `gpu[03-05,9],login1`; `None` when it is not such a list.
pub(super) fn first_host(list: &str) -> Option<String> {
    let first = first_item(list);
    let mut host = String::new();
    let mut rest = first;
    while let Some((prefix, bracket)) = rest.split_once('[') {
        let (ranges, suffix) = bracket.split_once(']')?;
        let lowest = ranges.split([',', '-']).next()?;
        if lowest.is_empty() || !lowest.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        host.push_str(prefix);
        host.push_str(lowest);
        rest = suffix;
    }
    host.push_str(rest);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_name)).then_some(host)
}

/// Returns the text before the first comma outside of brackets.
fn first_item(list: &str) -> &str {
    let mut is_inside = false;
    let end = list.find(|c| {
        match c {
            '[' => is_inside = true,
            ']' => is_inside = false,
            _ => {}
        }
        c == ',' && !is_inside
    });
    &list[..end.unwrap_or(list.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first lines of `scontrol show hostnames LIST`.
    #[test]
    fn the_first_host_is_that_of_scontrol() {
        for (list, host) in [
            ("gpu1", "gpu1"),
            ("gpu1,gpu2", "gpu1"),
            ("gpu[03-05,9],login1", "gpu03"),
            ("gpu[9,11-12]", "gpu9"),
            ("rack[2-3]-node[001-128]", "rack2-node001"),
            ("node-a.cluster.local,node-b", "node-a.cluster.local"),
        ] {
            assert_eq!(first_host(list).as_deref(), Some(host), "{list}");
        }
        for list in ["", "gpu[", "gpu[]", "gpu[a-b]", "a b", ",gpu1"] {
            assert_eq!(first_host(list), None, "{list}");
        }
    }
}
