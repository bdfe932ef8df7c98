//! What could not be kept when objects were written to a directory of the host.

use crate::store::inside::text::PathText;
use std::fmt::{Display, Formatter};

/// As many names as a person reads.
const NAMED: usize = 3;

/// Objects that lost something: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// The first few, by their paths in the tree.
    pub first: Vec<Vec<u8>>,
}

impl Lost {
    pub(super) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(path.to_vec());
        }
    }
}

/// What was written, and what could not be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects written, directories included.
    pub written: u64,
    /// Bytes of the files written, hard links once.
    pub bytes: u64,
    /// Owner or group.
    pub owners: Lost,
    /// Set-id bits: where the owner could not be kept they would give the wrong one's rights away.
    pub set_id: Lost,
    /// Devices: left out.
    pub devices: Lost,
    /// Objects that lack some of their xattrs.
    pub xattrs: Lost,
    /// Whiteouts that are `.wh.` files, since devices could not be made. layerfs and fuse-overlayfs
    /// read them, the kernel's overlayfs does not.
    pub marker_files: Lost,
    /// Whiteouts that could not be written in any form.
    pub whiteouts: Lost,
}

impl Report {
    /// Whether everything is as it was.
    pub fn is_exact(&self) -> bool {
        self.losses().iter().all(|(lost, _)| lost.count == 0)
    }

    fn losses(&self) -> [(&Lost, &'static str); 6] {
        [
            (&self.owners, "owners not kept"),
            (&self.set_id, "set-id bits not kept"),
            (&self.devices, "devices left out"),
            (&self.xattrs, "xattrs not kept"),
            (&self.marker_files, "whiteouts written as .wh. files"),
            (&self.whiteouts, "whiteouts lost"),
        ]
    }
}

impl Display for Report {
    /// One line of what could not be kept; nothing if all was.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut between = "";
        for (lost, what) in self.losses().into_iter().filter(|(lost, _)| lost.count > 0) {
            write!(f, "{between}{what}: {} (", lost.count)?;
            for (at, path) in lost.first.iter().enumerate() {
                write!(f, "{}{}", if at == 0 { "" } else { ", " }, PathText::from(path.as_slice()))?;
            }
            let more = lost.count > lost.first.len() as u64;
            write!(f, "{})", if more { ", …" } else { "" })?;
            between = "; ";
        }
        Ok(())
    }
}
