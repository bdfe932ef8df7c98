//! The platform of this machine, in the words of image documents.

use oci_spec::image::Platform;

/// The operating system of this machine.
pub(super) const OS: &str = "linux";

/// The architecture of this machine, as Go calls it, which is how images name it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        "mips" if cfg!(target_endian = "little") => "mipsle",
        "mips64" if cfg!(target_endian = "little") => "mips64le",
        // arm, riscv64, s390x and so on have the same name.
        other => other,
    }
}

/// How well a platform fits this machine: 0 not at all; one without a variant fits best, as it asks for
/// the least.
pub(super) fn fitness(platform: &Platform) -> u8 {
    let same = platform.os().to_string() == OS && platform.architecture().to_string() == architecture();
    match platform.variant().as_deref() {
        _ if !same => 0,
        None | Some("") => 3,
        // What every processor of the architecture has.
        Some("v8" | "v1") => 2,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_fits_itself_best() {
        let platform = |os: &str, arch: &str, variant: Option<&str>| {
            let mut platform = Platform::default();
            platform.set_os(os.into()).set_architecture(arch.into());
            platform.set_variant(variant.map(str::to_owned));
            fitness(&platform)
        };
        let here = architecture();
        assert_eq!(platform("linux", here, None), 3);
        assert!(platform("linux", here, Some("v1")) > platform("linux", here, Some("v3")));
        assert_eq!(platform("windows", here, None), 0);
        assert_eq!(platform("linux", "pdp11", None), 0);
    }
}
