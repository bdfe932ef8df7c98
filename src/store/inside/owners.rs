//! Names of users and groups, as the image itself knows them.

use super::error::{InsideError, Result};
use super::tree::{LastLink, Tree};
use std::collections::HashMap;

/// The names of `/etc/passwd` and `/etc/group` of a tree.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

/// More than any image's account files have; a larger one is not read.
const MOST_BYTES: u64 = 16 << 20;

impl Owners {
    /// Reads both files, as far as the tree has them.
    pub fn of(tree: &Tree<'_>) -> Result<Owners> {
        Ok(Owners { users: read(tree, b"/etc/passwd")?, groups: read(tree, b"/etc/group")? })
    }

    /// No names: owners are shown as numbers.
    pub fn numeric() -> Owners {
        Owners::default()
    }

    /// A user's name.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.get(&uid).map(Vec::as_slice)
    }

    /// A group's name.
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.get(&gid).map(Vec::as_slice)
    }

    /// The number of a user's name.
    pub fn uid(&self, name: &[u8]) -> Option<u32> {
        self.users.iter().find(|(_, n)| *n == name).map(|(uid, _)| *uid)
    }

    /// The number of a group's name.
    pub fn gid(&self, name: &[u8]) -> Option<u32> {
        self.groups.iter().find(|(_, n)| *n == name).map(|(gid, _)| *gid)
    }
}

fn read(tree: &Tree<'_>, path: &[u8]) -> Result<HashMap<u32, Vec<u8>>> {
    let found = match tree.resolve(path, LastLink::Follow) {
        Ok(found) => found,
        Err(e @ (InsideError::Layer { .. } | InsideError::BadRedirect(_))) => return Err(e),
        Err(_) => return Ok(HashMap::new()),
    };
    let size = found.node.attr().size;
    if found.node.kind() != crate::types::FileKind::Regular || size > MOST_BYTES {
        return Ok(HashMap::new());
    }
    let mut data = Vec::new();
    super::cat::copy(tree, &found.node, &found.path, &mut data)?;
    Ok(parse(&data))
}

/// `NAME:PASSWORD:NUMBER:…`; the first line of a number counts, as getpwuid has it.
fn parse(data: &[u8]) -> HashMap<u32, Vec<u8>> {
    let mut names = HashMap::new();
    for line in data.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty());
        let number = fields.nth(1).and_then(|n| std::str::from_utf8(n).ok()).and_then(|n| n.parse().ok());
        if let (Some(name), Some(number)) = (name, number) {
            names.entry(number).or_insert(name.to_vec());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_files_give_names() {
        let names = parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:\n# no\nbad:x:y:\nwww:x:33:");
        assert_eq!(names, HashMap::from([(0, b"root".to_vec()), (33, b"www".to_vec())]));
    }
}
