//! Layers of the cache: those of the image that is mounted, and those that `lowerdir=` names.

use crate::args::MountRequest;
use layerfs::config::{Lower, Settings};
use layerfs::layer::Layer;
use layerfs::store::{DiffId, MountGuard, MountRecord, Store, StoreError, default_root};
use std::error::Error;

/// What a mount takes from the cache.
#[derive(Default)]
pub(crate) struct Cached {
    /// The layers that the settings name by their digest, in that order.
    pub(crate) layers: Vec<Box<dyn Layer>>,
    /// Keeps them from being removed, as long as it lives.
    pub(crate) guard: Option<MountGuard>,
}

/// Opens what the request takes from the cache. The layers of an image become the lowers of the settings.
/// Call it in the process that serves the mount.
pub(crate) fn open(request: &MountRequest, settings: &mut Settings) -> Result<Cached, Box<dyn Error>> {
    if settings.lowers.iter().all(|lower| matches!(lower, Lower::Directory(_))) && !settings.lowers.is_empty()
    {
        return Ok(Cached::default());
    }
    let root = default_root(settings.root.as_deref())?;
    // A mount makes no cache.
    if !root.exists() {
        let (source, root) = (&request.source, root.display());
        return Err(match settings.lowers.is_empty() {
            true => {
                format!("no lowerdir is given, and {source} is no image: there is no cache at {root}").into()
            }
            false => format!("lowerdir names a layer of the cache: there is none at {root}").into(),
        });
    }
    let store = Store::open(&root)?;
    let (mut image, mut layers) = (None, Vec::<DiffId>::new());
    if settings.lowers.is_empty() {
        let found = store.resolve(&request.source);
        let found =
            found.map_err(|error| format!("no lowerdir is given, and SOURCE names no image: {error}"))?;
        image = Some(found.id());
        layers.extend(found.diff_ids().iter().rev());
        settings.lowers = layers.iter().map(|diff_id| Lower::Cached(diff_id.to_string())).collect();
    } else {
        for lower in &settings.lowers {
            if let Lower::Cached(digest) = lower {
                layers.push(store.layer_by_prefix(digest)?);
            }
        }
    }
    let guard = store.register_mount(MountRecord {
        image,
        layers: layers.clone(),
        name: request.source.clone(),
        mount_point: request.mount_point.clone(),
        upper: settings.upper.as_ref().map(|dirs| dirs.upper.clone()),
        work: settings.upper.as_ref().map(|dirs| dirs.work.clone()),
        pid: std::process::id(),
    })?;
    let open =
        |diff_id: DiffId| -> Result<Box<dyn Layer>, StoreError> { Ok(Box::new(store.layer(diff_id)?)) };
    let layers = layers.into_iter().map(open).collect::<Result<_, StoreError>>()?;
    Ok(Cached { layers, guard: Some(guard) })
}
