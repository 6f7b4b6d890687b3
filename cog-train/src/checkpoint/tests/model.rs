//! A disk in memory that models a loss of power.
//!
//! A file keeps what it held when it was last synced; the rest is arbitrary. A folder keeps the names that it
//! had when it was last synced; each later change may be lost, independently of the others.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::disk::{Disk, Item, Sink};

/// The disk. Clones share it.
#[derive(Clone)]
pub(super) struct Model(Arc<Mutex<Vec<Node>>>);

/// A file or a folder. Its number is its index in the list; the first is the root.
#[derive(Clone)]
enum Node {
    File { data: Vec<u8>, synced: usize },
    Dir { now: Names, synced: Names, changes: Vec<Change> },
}

type Names = BTreeMap<String, usize>;

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

/// The content of a file after its synced part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rest {
    Whole,
    Lost,
    Half,
    Zeros,
    HalfZeros,
    Junk,
}

impl Rest {
    pub(super) const ALL: [Self; 6] =
        [Self::Whole, Self::Lost, Self::Half, Self::Zeros, Self::HalfZeros, Self::Junk];

    fn of(self, rest: &[u8]) -> Vec<u8> {
        let half = rest.len() / 2;
        match self {
            Self::Whole => rest.to_vec(),
            Self::Lost => Vec::new(),
            Self::Half => rest[..half].to_vec(),
            Self::Zeros => vec![0; rest.len()],
            Self::HalfZeros => [&rest[..half], &vec![0; rest.len() - half]].concat(),
            Self::Junk => rest.iter().map(|byte| byte ^ 0x5A).collect(),
        }
    }
}

fn folder() -> Node {
    Node::Dir { now: Names::new(), synced: Names::new(), changes: Vec::new() }
}

impl Model {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(vec![folder()])))
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.0.lock().unwrap()
    }

    /// Returns the number of changes of names that a loss of power could lose.
    pub(super) fn changes(&self) -> usize {
        let nodes = self.nodes();
        let reached = reached(&nodes);
        let count = |number: &usize| match &nodes[*number] {
            Node::Dir { changes, .. } => changes.len(),
            Node::File { .. } => 0,
        };
        reached.iter().map(count).sum()
    }

    /// Whether a file is not synced.
    pub(super) fn is_dirty(&self) -> bool {
        let nodes = self.nodes();
        let dirty = |number: &usize| matches!(&nodes[*number], Node::File { data, synced } if *synced < data.len());
        reached(&nodes).iter().any(dirty)
    }

    /// Returns the disk after a loss of power, with the changes of names for which `arrived` is true.
    pub(super) fn lose_power(&self, arrived: impl Fn(usize) -> bool, rest: Rest) -> Self {
        let mut nodes = self.nodes().clone();
        let mut at = 0;
        for number in reached(&nodes) {
            match &mut nodes[number] {
                Node::File { data, synced } => {
                    let after = rest.of(&data[*synced..]);
                    data.truncate(*synced);
                    data.extend(after);
                    *synced = data.len();
                }
                Node::Dir { now, synced, changes } => {
                    for change in changes.drain(..) {
                        if arrived(at) {
                            apply(synced, change);
                        }
                        at += 1;
                    }
                    now.clone_from(synced);
                }
            }
        }
        // A folder whose name has gone cannot have held anything.
        Self(Arc::new(Mutex::new(nodes)))
    }
}

/// Applies a change, unless what it changes is missing.
fn apply(names: &mut Names, change: Change) {
    match change {
        Change::Link(name, number) => drop(names.insert(name, number)),
        Change::Unlink(name) => drop(names.remove(&name)),
        Change::Rename(from, to) => {
            if !names.contains_key(&to)
                && let Some(number) = names.remove(&from)
            {
                names.insert(to, number);
            }
        }
    }
}

/// Returns the numbers of all nodes with a name, now or after a loss of power, in order.
fn reached(nodes: &[Node]) -> Vec<usize> {
    let (mut found, mut next) = (std::collections::BTreeSet::from([0]), vec![0]);
    while let Some(number) = next.pop() {
        if let Node::Dir { now, synced, changes } = &nodes[number] {
            let linked = changes.iter().filter_map(|change| match change {
                Change::Link(_, number) => Some(number),
                _ => None,
            });
            for &inner in now.values().chain(synced.values()).chain(linked) {
                if found.insert(inner) {
                    next.push(inner);
                }
            }
        }
    }
    found.into_iter().collect()
}

fn find(nodes: &[Node], path: &Path) -> io::Result<usize> {
    let mut at = 0;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        let Node::Dir { now, .. } = &nodes[at] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        at = *now.get(name.to_str().unwrap()).ok_or(ErrorKind::NotFound)?;
    }
    Ok(at)
}

/// Returns the folder of a path and its last name.
fn split(nodes: &[Node], path: &Path) -> io::Result<(usize, String)> {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    Ok((find(nodes, path.parent().unwrap())?, name))
}

fn change(nodes: &mut [Node], dir: usize, change: Change) {
    let Node::Dir { now, changes, .. } = &mut nodes[dir] else { panic!("not a folder") };
    apply(now, change.clone());
    changes.push(change);
}

fn link(nodes: &mut Vec<Node>, path: &Path, node: Node) -> io::Result<usize> {
    if find(nodes, path).is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let (dir, name) = split(nodes, path)?;
    nodes.push(node);
    let number = nodes.len() - 1;
    change(nodes, dir, Change::Link(name, number));
    Ok(number)
}

impl Disk for Model {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        link(&mut self.nodes(), path, folder()).map(drop)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let number = link(&mut self.nodes(), path, Node::File { data: Vec::new(), synced: 0 })?;
        Ok(Box::new(Open { disk: self.clone(), number }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        let number = find(&nodes, path)?;
        let Node::Dir { now, synced, changes } = &mut nodes[number] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        synced.clone_from(now);
        changes.clear();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        find(&nodes, from)?;
        if find(&nodes, to).is_ok() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let ((dir, from), (other, to)) = (split(&nodes, from)?, split(&nodes, to)?);
        assert_eq!(dir, other, "a rename stays in its folder");
        change(&mut nodes, dir, Change::Rename(from, to));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        let number = find(&nodes, path)?;
        assert!(matches!(nodes[number], Node::File { .. }));
        let (dir, name) = split(&nodes, path)?;
        change(&mut nodes, dir, Change::Unlink(name));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        let number = find(&nodes, path)?;
        let Node::Dir { now, .. } = &nodes[number] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        if !now.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = split(&nodes, path)?;
        change(&mut nodes, dir, Change::Unlink(name));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Item>> {
        let nodes = self.nodes();
        let Node::Dir { now, .. } = &nodes[find(&nodes, path)?] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        let item = |(name, number): (&String, &usize)| {
            let (is_dir, bytes) = match &nodes[*number] {
                Node::File { data, .. } => (false, data.len() as u64),
                Node::Dir { .. } => (true, 0),
            };
            Item { name: name.clone(), is_dir, bytes }
        };
        Ok(now.iter().map(item).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let nodes = self.nodes();
        match &nodes[find(&nodes, path)?] {
            Node::File { data, .. } => Ok(Box::new(io::Cursor::new(data.clone()))),
            Node::Dir { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }
}

/// An open file, which stays writable after its name is removed.
struct Open {
    disk: Model,
    number: usize,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Node::File { data, .. } = &mut self.disk.nodes()[self.number] else {
            panic!("not a file")
        };
        data.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Open {
    fn sync(&mut self) -> io::Result<()> {
        let Node::File { data, synced } = &mut self.disk.nodes()[self.number] else {
            panic!("not a file")
        };
        *synced = data.len();
        Ok(())
    }
}
