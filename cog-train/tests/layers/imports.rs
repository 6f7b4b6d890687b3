//! Which file takes what from which: `use` declarations and paths that begin with `crate`, `super` or `self`.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// A path as it is written, with the name that a `use` declaration gives it.
struct Import {
    path: Vec<String>,
    name: String,
    /// `pub use` and `pub(crate) use`: the name belongs to this module, its definition to another file.
    exported: bool,
}

/// The imports of a crate: for each file the files whose definitions it names.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Resolves all imports. A name that a module re-exports counts for the file that defines it.
pub(crate) fn graph(sources: &[Source]) -> Graph {
    let modules: BTreeMap<Vec<String>, &Source> =
        sources.iter().map(|source| (source.module(), source)).collect();
    let imports: BTreeMap<Vec<String>, Vec<Import>> = sources
        .iter()
        .map(|source| (source.module(), imports_of(&source.module(), &source.code, &modules)))
        .collect();
    let file = |module: &[String]| modules[module].path.display().to_string();
    let mut graph = Graph::new();
    for (module, found) in &imports {
        let targets: BTreeSet<String> = found
            .iter()
            .filter(|import| !import.exported)
            .map(|import| file(&home(&import.path, &modules, &imports, 0)))
            .filter(|target| *target != file(module))
            .collect();
        graph.insert(file(module), targets);
    }
    graph
}

/// The module whose file defines what `path` names.
fn home(
    path: &[String],
    modules: &BTreeMap<Vec<String>, &Source>,
    imports: &BTreeMap<Vec<String>, Vec<Import>>,
    depth: usize,
) -> Vec<String> {
    let known = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]));
    let (module, rest) = path.split_at(known.unwrap_or_default());
    if let Some(name) = rest.first()
        && depth < 8
        && let Some(import) =
            imports[module].iter().find(|import| import.exported && import.name == *name)
    {
        let onward = [import.path.as_slice(), &rest[1..]].concat();
        return home(&onward, modules, imports, depth + 1);
    }
    module.to_vec()
}

/// The imports of one file that stay in its crate.
fn imports_of(
    module: &[String],
    code: &str,
    modules: &BTreeMap<Vec<String>, &Source>,
) -> Vec<Import> {
    let (mut found, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        let declared = start.split_once("use ").filter(|(before, _)| {
            before.is_empty() || before.trim_end() == "pub" || before.starts_with("pub(")
        });
        let Some((before, tree)) = declared else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().expect("a `use` declaration ends with a semicolon"));
        }
        let tree = tree.split(';').next().unwrap_or_default();
        for (path, name) in members(tree) {
            if let Some(path) = absolute(module, &path, modules) {
                found.push(Import { path, name, exported: !before.is_empty() });
            }
        }
    }
    for door in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(door) {
            let before = &rest[..at];
            if before.ends_with(is_name) || before.ends_with(':') {
                continue;
            }
            let path: String =
                rest[at..].chars().take_while(|c| is_name(*c) || *c == ':').collect();
            let path: Vec<String> =
                path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            if let Some(path) = absolute(module, &path, modules) {
                let name = path.last().cloned().unwrap_or_default();
                found.push(Import { path, name, exported: false });
            }
        }
    }
    found
}

/// The path from the crate's root; `None` for what is of another crate.
fn absolute(
    module: &[String],
    path: &[String],
    modules: &BTreeMap<Vec<String>, &Source>,
) -> Option<Vec<String>> {
    let first = path.first()?;
    match first.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|name| *name == "super").count();
            let base = module.get(..module.len().checked_sub(up)?)?;
            Some([base, &path[up..]].concat())
        }
        _ => {
            let child = [module, std::slice::from_ref(first)].concat();
            modules.contains_key(&child).then(|| [module, path].concat())
        }
    }
}

/// Each path of a `use` tree with the name that it brings: `a::{self, b as c}` is `a` as `a`, and `a::b` as `c`.
pub(crate) fn members(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let prefix: Vec<String> = prefix
            .split("::")
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect();
        return branches(group)
            .iter()
            .flat_map(|branch| members(branch))
            .map(|(path, name)| {
                let own = path.first().is_some_and(|first| first == "self");
                let path = [&prefix[..], &path[usize::from(own)..]].concat();
                let name = if own && name == "self" { path.last().cloned().unwrap() } else { name };
                (path, name)
            })
            .collect();
    }
    let (path, name) = match tree.split_once(" as ") {
        Some((path, name)) => (path, Some(name.trim().to_owned())),
        None => (tree, None),
    };
    let path: Vec<String> = path.split("::").map(|name| name.trim().to_owned()).collect();
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    if path == [""] { Vec::new() } else { vec![(path, name)] }
}

/// Cuts the inside of a group at its own commas.
fn branches(group: &str) -> Vec<String> {
    let (mut found, mut depth) = (vec![String::new()], 0_usize);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        found.last_mut().unwrap().push(c);
    }
    found
}

pub(crate) fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Groups of files that import each other, directly or through others.
pub(crate) fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let reach = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = open.pop() {
            for next in &graph[&file] {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|file| (file, reach(file))).collect();
    let groups: BTreeSet<Vec<String>> = graph
        .keys()
        .filter(|file| reached[file].contains(*file))
        .map(|file| {
            let both = reached[file].iter().filter(|other| reached[other].contains(file));
            both.cloned().collect()
        })
        .collect();
    groups.into_iter().collect()
}
