//! The layers of an image as one tree, and what is shown of its objects.

use crate::failure::{Failure, Result};
use crate::session::Session;
use crate::target::Target;
use layerfs::layer::Layer;
use layerfs::store::inside::text::{NameStyle, kind_word};
use layerfs::store::inside::{Child, InsideError, LastLink, Tree};
use layerfs::store::{DiffId, Image, Store};
use layerfs::types::Timestamp;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;

/// The tree that an image shows, or one layer of it.
pub(crate) fn tree_of(store: &Store, image: &Image, layer: Option<usize>) -> Result<Tree<'static>> {
    if let Some(number) = layer {
        let diff_id = diff_id_of(image, number)?;
        let own: Box<dyn Layer> = Box::new(store.layer(diff_id)?);
        return Ok(Tree::alone(own).named([key(&diff_id)]));
    }
    let mut layers: Vec<Box<dyn Layer>> = Vec::new();
    for layer in store.layers(image)? {
        layers.push(Box::new(layer));
    }
    layers.reverse();
    Ok(Tree::new(layers).named(image.diff_ids().iter().rev().map(key)))
}

/// The digest of a layer by its number.
pub(crate) fn diff_id_of(image: &Image, number: usize) -> Result<DiffId> {
    let all = image.diff_ids();
    let found = number.checked_sub(1).and_then(|at| all.get(at)).copied();
    found.ok_or_else(|| {
        let title = image.title();
        Failure::failed(format_args!("{title}@{number}: no such layer: {title} has {}", all.len()))
    })
}

/// The tree that was typed.
pub(crate) fn typed_tree(session: &Session, target: &Target) -> Result<Tree<'static>> {
    let (store, image) = session.image(&target.image)?;
    tree_of(&store, &image, target.layer)
}

fn key(diff_id: &DiffId) -> Vec<u8> {
    diff_id.as_bytes().to_vec()
}

/// How names are printed: on a terminal nothing that it would act on.
pub(crate) fn name_style() -> NameStyle {
    if std::io::stdout().is_terminal() { NameStyle::Safe } else { NameStyle::Raw }
}

/// A path for programs: as text, and as digits where it is no text.
pub(crate) fn path_fields(path: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("Path".to_owned(), String::from_utf8_lossy(path).into());
    if std::str::from_utf8(path).is_err() {
        let digits: String = path.iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert("PathHex".to_owned(), digits.into());
    }
    fields
}

/// An object for programs.
pub(crate) fn object_fields(tree: &Tree<'_>, path: &[u8], child: &Child) -> Result<Value> {
    let mut fields = path_fields(path);
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let Some(node) = child.node() else {
        put("Type", "whiteout".into());
        return Ok(Value::Object(fields));
    };
    let attr = node.attr();
    put("Type", kind_word(attr.kind).into());
    put("Mode", format!("{:04o}", attr.mode).into());
    put("Uid", attr.uid.into());
    put("Gid", attr.gid.into());
    put("Size", attr.size.into());
    put("Links", attr.nlink.into());
    put("ModTime", time(attr.mtime));
    if attr.kind == layerfs::types::FileKind::Symlink {
        put("Target", String::from_utf8_lossy(&tree.read_link(node, path)?).into_owned().into());
    }
    if matches!(attr.kind, layerfs::types::FileKind::CharDevice | layerfs::types::FileKind::BlockDevice) {
        put("Device", json!([attr.rdev.major, attr.rdev.minor]));
    }
    if !tree.is_alone() {
        put("Layer", (tree.depth() - node.top().layer).into());
    }
    Ok(Value::Object(fields))
}

fn time(time: Timestamp) -> Value {
    crate::output::units::utc_time(Some(time)).into()
}

/// What stands at a path of a tree.
pub(crate) fn child_at(tree: &Tree<'_>, path: &[u8]) -> Result<Child> {
    match tree.resolve(path, LastLink::Keep) {
        Ok(found) => Ok(Child::Object(found.node)),
        Err(InsideError::Whiteout(_)) => Ok(Child::Whiteout),
        Err(error) => Err(error.into()),
    }
}
