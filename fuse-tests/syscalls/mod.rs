//! One file a family of system calls; each test looks at lower, upper and fresh objects, at the
//! answer, at the errno, and at where the bytes are afterwards.

mod acl;
mod chmod;
mod data;
mod dirs;
mod flags;
mod holes;
mod link;
mod locks;
mod mkdir;
mod mknod;
mod mmap;
mod names;
mod objects;
mod open;
mod open_unlinked;
mod ranges;
mod rename;
mod rename_dirs;
mod stat;
mod symlink;
mod sync;
mod times;
mod truncate;
mod unlink;
mod xattr;
