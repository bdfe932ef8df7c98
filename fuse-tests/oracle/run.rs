//! One run: the same operations, step by step, on a plain directory and on one or more unions.

use super::excuse;
use super::exec::{Answer, Executor};
use super::kernel::KernelMount;
use super::op::{Draw, Names, Op};
use super::rng::Rng;
use super::tree::Tree;
use super::{layers, report};
use crate::harness::{Check, Mount, Stack, Target, in_user_namespace};
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which unions run beside the plain directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unions {
    pub(crate) kernel: bool,
    pub(crate) layerfs: bool,
    /// Options of the layerfs mount; with any, its upper need not be one that the kernel mounts.
    pub(crate) options: &'static [&'static str],
}

/// How often the whole trees are compared.
const TREES_EVERY: usize = 10;

/// What is mounted at a side's root.
enum Backing {
    Plain,
    Kernel(KernelMount),
    Layerfs(Mount),
}

/// One of the trees. The descriptors close before the mount goes.
struct Side {
    name: &'static str,
    exec: Executor,
    backing: Backing,
    root: PathBuf,
    options: &'static [&'static str],
    /// Inode number here of each inode number of the plain tree.
    inodes: HashMap<u64, u64>,
}

impl Side {
    fn new(name: &'static str, backing: Backing, root: &Path, start: i64) -> Side {
        let exec = Executor::new(root, start);
        Side { name, exec, backing, root: root.to_owned(), options: &[], inodes: HashMap::new() }
    }

    fn run(&mut self, op: &Op) -> Answer {
        if !matches!(op, Op::Remount) {
            return self.exec.run(op);
        }
        self.exec.close_all();
        match &mut self.backing {
            Backing::Plain => {}
            Backing::Kernel(mount) => {
                mount.down();
                mount.again();
            }
            Backing::Layerfs(mount) => {
                mount.remount(self.options);
                if in_user_namespace() {
                    // Copied symlinks and fifos have numbers of their own now (I1).
                    self.inodes.clear();
                }
            }
        }
        Ok(String::new())
    }

    fn tree(&self, start: i64) -> Tree {
        let mut tree = Tree::of(&self.root, start);
        if self.name == "kernel" {
            tree.text = excuse::without_d_ino(&tree.text);
        }
        tree
    }
}

/// A run in progress.
pub(crate) struct Run {
    plain: Side,
    unions: Vec<Side>,
    stack: Stack,
    kernel_upper: PathBuf,
    kernel_work: PathBuf,
    start: i64,
    /// Keeps every inode of the plain tree that was ever seen, so that no number is used twice.
    kept: HashMap<u64, OwnedFd>,
    pub(crate) done: Vec<Op>,
}

impl Run {
    /// Builds the layers of `seed` and mounts them.
    pub(crate) fn start(rng: &mut Rng, unions: Unions) -> Run {
        let stack = Stack::new(1 + rng.below(3));
        // The index alone holds a file while none but lower names lead to it.
        stack.opt_out(Check::IndexLinks);
        if !unions.options.is_empty() {
            stack.opt_out(Check::UpperNames);
        }
        layers::build(&stack, rng);
        if let Some(dir) = std::env::var_os("LAYERFS_ORACLE_KEEP") {
            report::keep(stack.lowers(), Path::new(&dir));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = i64::try_from(now).unwrap() - 1;
        let at = |name: &str| {
            let dir = stack.base().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let [upper, work, root, plain] = ["ku", "kw", "km", "plain"].map(at);
        let kernel = KernelMount::new(stack.lowers(), &upper, &work, &root);
        report::copy_tree(&root, &plain);
        let mut sides = Vec::new();
        if unions.kernel {
            sides.push(Side::new("kernel", Backing::Kernel(kernel), &root, start));
        } else {
            drop(kernel);
        }
        if unions.layerfs {
            let mount = stack.mount_as(Target::Layerfs, unions.options);
            let side = Side::new("layerfs", Backing::Layerfs(mount), stack.mnt(), start);
            sides.push(Side { options: unions.options, ..side });
        }
        Run {
            plain: Side::new("plain", Backing::Plain, &plain, start),
            unions: sides,
            stack,
            kernel_upper: upper,
            kernel_work: work,
            start,
            kept: HashMap::new(),
            done: Vec::new(),
        }
    }

    /// Draws and runs `steps` operations.
    pub(crate) fn random(&mut self, rng: &mut Rng, steps: usize) -> Result<(), String> {
        self.compare_trees()?;
        for step in 1..=steps {
            let names = Names::of(&self.plain.root);
            let op = Draw { rng, names: &names }.next();
            self.step(&op)?;
            if step % TREES_EVERY == 0 {
                self.compare_trees()?;
            }
        }
        self.compare_trees()
    }

    /// Runs given operations and compares the trees after each.
    pub(crate) fn replay(&mut self, ops: &[Op]) -> Result<(), String> {
        self.compare_trees()?;
        for op in ops {
            self.step(op)?;
            self.compare_trees()?;
        }
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        self.done.push(op.clone());
        let expected = self.plain.run(op);
        for side in &mut self.unions {
            let got = side.run(op);
            if got != expected && !excuse::excused(side.name, op, &expected, &got) {
                return Err(format!("{op:?}: plain {expected:?}, {} {got:?}", side.name));
            }
        }
        Ok(())
    }

    fn compare_trees(&mut self) -> Result<(), String> {
        let plain = Tree::of(&self.plain.root, self.start);
        for (path, ino) in &plain.inodes {
            self.kept.entry(*ino).or_insert_with(|| report::hold(&self.plain.root.join(path)));
        }
        for side in &mut self.unions {
            let tree = side.tree(self.start);
            let expected = excuse::expected(side.name, &plain.text, &tree.text);
            report::same_text("plain", &expected, side.name, &tree.text)?;
            report::same_identity(side.name, &mut side.inodes, &plain.inodes, &tree.inodes)?;
        }
        Ok(())
    }

    /// Unmounts everything, then lets the kernel show layerfs' upper (O1) and layerfs the kernel's
    /// (O2); both must show what the plain directory holds. Only where the kernel ran beside it.
    pub(crate) fn cross_mount(mut self) -> Result<(), String> {
        let names: Vec<&str> = self.unions.iter().map(|side| side.name).collect();
        let Some(kernel) = self.unions.iter().find(|side| side.name == "kernel") else {
            return Ok(());
        };
        let kernel = kernel.tree(self.start).text;
        let expected = Tree::of(&self.plain.root, self.start).text;
        self.unions.clear();
        let (stack, root) = (&self.stack, self.stack.mnt());
        if names.contains(&"layerfs") {
            let mount = KernelMount::new(stack.lowers(), stack.upper(), stack.work(), root);
            let got = excuse::without_d_ino(&Tree::of(root, self.start).text);
            drop(mount);
            report::same_text("plain", &expected, "the kernel over layerfs' upper", &got)?;
            let mount =
                report::LayerfsMount::new(stack.lowers(), &self.kernel_upper, &self.kernel_work, root);
            let got = Tree::of(root, self.start).text;
            drop(mount);
            report::same_text("the kernel", &kernel, "layerfs over the kernel's upper", &got)?;
        }
        Ok(())
    }
}
