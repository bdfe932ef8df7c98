//! Valid inputs to begin from, written before the fuzzer looks at its corpus.

/// Writes the seeds into the directory that `SEEDS` names, if it does.
pub fn write(seeds: &[Vec<u8>]) {
    let Some(dir) = std::env::var_os("SEEDS") else {
        return;
    };
    for (n, seed) in seeds.iter().enumerate() {
        let path = std::path::Path::new(&dir).join(format!("seed-{n:02}"));
        std::fs::write(path, seed).expect("the seeds must be written");
    }
}
