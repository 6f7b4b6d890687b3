//! The profiles that README.md and the book recommend are those of this workspace.

use std::collections::BTreeMap;
use std::path::Path;

/// The profiles of a manifest: the settings of each table whose name begins with `profile.dev`.
fn dev_profiles(manifest: &str) -> BTreeMap<String, Vec<String>> {
    let mut profiles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            line.clone_into(&mut table);
        } else if table.starts_with("[profile.dev") && !line.is_empty() && !line.starts_with('#') {
            profiles.entry(table.clone()).or_default().push(line.to_owned());
        }
    }
    profiles
}

#[test]
fn an_applications_profiles_are_those_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let mut own = dev_profiles(&read("Cargo.toml"));
    // In an application `package."*"` holds for this crate too; here it is a member, which the pattern leaves out.
    let kernels = own.remove("[profile.dev.package.cog-train-nn]").unwrap();
    assert_eq!(kernels, own["[profile.dev.package.\"*\"]"][..1]);
    for document in ["README.md", "cog-train/docs/first-training.md"] {
        let text = read(document);
        let blocks = text.split("```toml\n").skip(1);
        let block = blocks.filter_map(|rest| rest.split("```").next());
        let recommended: BTreeMap<_, _> = block.flat_map(dev_profiles).collect();
        assert_eq!(recommended, own, "{document}");
    }
}
