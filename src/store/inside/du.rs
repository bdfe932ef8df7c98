//! How much each layer has, and how much of it later layers hid.

use super::error::Result;
use super::hidden::{MetWhat, every_entry};
use super::tree::Tree;
use crate::types::{FileKind, RealId};
use std::collections::HashMap;

/// The sums of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerUse {
    /// Bytes of its files, hard links once.
    pub bytes: u64,
    /// Its entries, whiteouts included, the root not.
    pub entries: u64,
    /// Bytes of the files that later layers overwrote or deleted; of a file with several names, if all
    /// are hidden.
    pub hidden: u64,
    /// Its whiteouts.
    pub whiteouts: u64,
}

/// A path of which a layer has a copy that is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasted {
    /// The path.
    pub path: Vec<u8>,
    /// How many layers have a hidden copy.
    pub times: u64,
    /// Bytes of the hidden copies.
    pub bytes: u64,
}

/// The sums of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By layer, the topmost first.
    pub layers: Vec<LayerUse>,
    /// The largest first, then by path.
    pub wasted: Vec<Wasted>,
}

impl Usage {
    /// Bytes of all layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Bytes that are shown.
    pub fn visible(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes - layer.hidden).sum()
    }

    /// The share of bytes that is shown, from 0 to 1; 1 of an empty stack.
    pub fn efficiency(&self) -> f64 {
        match self.bytes() {
            0 => 1.0,
            all => self.visible() as f64 / all as f64,
        }
    }

    /// The `n` paths that waste most.
    pub fn top(&self, n: usize) -> &[Wasted] {
        &self.wasted[..n.min(self.wasted.len())]
    }
}

/// A file with several names.
#[derive(Default)]
struct Linked {
    size: u64,
    shown: bool,
    /// Under the first of its names that is hidden, its waste is told.
    first_hidden: Option<Vec<u8>>,
}

/// Sums up a stack.
pub fn du(tree: &Tree<'_>) -> Result<Usage> {
    let mut layers = vec![LayerUse::default(); tree.depth()];
    let mut links = HashMap::<(usize, RealId), Linked>::new();
    let mut wasted = HashMap::<Vec<u8>, Wasted>::new();
    every_entry(tree, &mut |met| {
        let sums = &mut layers[met.layer];
        sums.entries += 1;
        let MetWhat::Object(found) = met.what else {
            sums.whiteouts += 1;
            return Ok(());
        };
        if found.attr.kind != FileKind::Regular {
            return Ok(());
        }
        if found.attr.nlink > 1 {
            let linked = links.entry((met.layer, found.real)).or_default();
            linked.size = found.attr.size;
            match met.hidden_by {
                None => linked.shown = true,
                Some(_) if linked.first_hidden.is_none() => linked.first_hidden = Some(met.path.to_vec()),
                Some(_) => {}
            }
            return Ok(());
        }
        sums.bytes += found.attr.size;
        if met.hidden_by.is_some() {
            sums.hidden += found.attr.size;
            waste(&mut wasted, met.path.to_vec(), found.attr.size);
        }
        Ok(())
    })?;
    for ((layer, _), linked) in links {
        layers[layer].bytes += linked.size;
        if let Some(path) = linked.first_hidden.filter(|_| !linked.shown) {
            layers[layer].hidden += linked.size;
            waste(&mut wasted, path, linked.size);
        }
    }
    let mut wasted: Vec<Wasted> = wasted.into_values().filter(|waste| waste.bytes > 0).collect();
    wasted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    Ok(Usage { layers, wasted })
}

fn waste(wasted: &mut HashMap<Vec<u8>, Wasted>, path: Vec<u8>, bytes: u64) {
    let entry =
        wasted.entry(path).or_insert_with_key(|path| Wasted { path: path.clone(), times: 0, bytes: 0 });
    entry.times += 1;
    entry.bytes += bytes;
}
