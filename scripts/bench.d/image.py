"""Makes an image of plain directories, one a layer: as a gzipped OCI directory and as a docker-archive.

Usage: image.py DIR TREE...
"""
import gzip
import hashlib
import json
import pathlib
import subprocess
import sys

WHERE, TREES = pathlib.Path(sys.argv[1]), sys.argv[2:]
BLOBS = WHERE / "oci/blobs/sha256"
OCI = "application/vnd.oci.image."


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def descriptor(kind, path):
    """Moves a file among the blobs."""
    digest = digest_of(path)
    size = path.stat().st_size
    path.rename(BLOBS / digest)
    return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": size}


def document(kind, content):
    path = WHERE / "document"
    path.write_text(json.dumps(content))
    return descriptor(kind, path)


def layer(tree):
    """The digest of the plain tar, and the descriptor of the gzipped one."""
    plain, packed = WHERE / "layer.tar", WHERE / "layer.tar.gz"
    subprocess.run(["tar", "--create", "--file", plain, "--directory", tree, "--sort=name", "--format=pax",
                    "--pax-option=delete=atime,delete=ctime", "--xattrs", "."], check=True)
    diff_id = f"sha256:{digest_of(plain)}"
    # Level 6 is what docker, podman and umoci write.
    with open(plain, "rb") as source, gzip.GzipFile(packed, "wb", 6, mtime=0) as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
    plain.unlink()
    return diff_id, descriptor("layer.v1.tar+gzip", packed)


BLOBS.mkdir(parents=True)
layers = [layer(tree) for tree in TREES]
config = document("config.v1+json", {
    "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/bash"]},
    "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]},
    "history": [{"created_by": f"layer {number}"} for number in range(len(layers))]})
manifest = document("manifest.v1+json", {
    "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
    "layers": [entry for _, entry in layers]})
manifest["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
(WHERE / "oci/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
(WHERE / "oci/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{WHERE}/oci:bench",
                f"docker-archive:{WHERE}/docker.tar:localhost/bench:1"], check=True)
