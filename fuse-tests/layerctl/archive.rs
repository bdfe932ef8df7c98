//! docker-archives by hand, in the old form with a directory a layer.

use super::tarball::{Entry, append, dir, entry};
use sha2::{Digest as _, Sha256};

/// An image to be put into an archive.
pub struct Image {
    /// Names with tags.
    pub names: Vec<String>,
    /// The tars of its layers, the lowest first.
    pub layers: Vec<Vec<u8>>,
}

/// `sha256:HEX` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The config document of an image of these layers.
pub fn config(layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", digest(layer))).collect();
    let history: Vec<String> = (0..layers.len())
        .map(|n| format!(r#"{{"created":"2024-03-04T05:06:07Z","created_by":"layer {n}"}}"#))
        .collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-03-04T05:06:07Z","config":{{"Cmd":["/bin/sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[{}]}}"#,
        diff_ids.join(","),
        history.join(",")
    )
}

/// An archive as docker wrote it before it knew OCI: `HEX/layer.tar`, `HEX/json`, `HEX/VERSION`,
/// `HEX.json` and `manifest.json`. A layer that stood there before is a symlink to it.
pub fn old_docker_archive(images: &[Image]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut manifest = Vec::new();
    for (i, image) in images.iter().enumerate() {
        let mut paths = Vec::new();
        for (n, layer) in image.layers.iter().enumerate() {
            let own = hex(format!("image {i} layer {n}").as_bytes());
            let (name, path) = (format!("{own}/"), format!("{own}/layer.tar"));
            append(&mut out, &dir(&name));
            append(&mut out, &Entry { data: b"1.0", ..entry(&format!("{own}/VERSION"), b'0') });
            append(&mut out, &Entry { data: b"{}", ..entry(&format!("{own}/json"), b'0') });
            let digest = digest(layer);
            match seen.iter().find(|(known, _)| *known == digest) {
                Some((_, first)) => {
                    let target = format!("../{first}");
                    append(&mut out, &Entry { link: target.as_bytes(), ..entry(&path, b'2') });
                }
                None => {
                    append(&mut out, &Entry { data: layer, ..entry(&path, b'0') });
                    seen.push((digest, path.clone()));
                }
            }
            paths.push(format!("\"{path}\""));
        }
        let config = config(&image.layers);
        let name = format!("{}.json", hex(config.as_bytes()));
        append(&mut out, &Entry { data: config.as_bytes(), ..entry(&name, b'0') });
        let names: Vec<String> = image.names.iter().map(|name| format!("\"{name}\"")).collect();
        manifest.push(format!(
            r#"{{"Config":"{name}","RepoTags":[{}],"Layers":[{}]}}"#,
            names.join(","),
            paths.join(",")
        ));
    }
    let manifest = format!("[{}]", manifest.join(","));
    append(&mut out, &Entry { data: manifest.as_bytes(), ..entry("manifest.json", b'0') });
    out.resize(out.len() + 1024, 0);
    out
}

/// An archive of one image of these layers, named `NAME`.
pub fn archive_of(name: &str, layers: &[&[u8]]) -> Vec<u8> {
    let layers = layers.iter().map(|layer| layer.to_vec()).collect();
    old_docker_archive(&[Image { names: vec![name.to_owned()], layers }])
}
