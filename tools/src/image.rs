//! From sources to what boots: the vDSO image, our programs, the kernels with it inside, symbols, the archive.
//!
//! The order is that of who holds whom: the kernel carries the vDSO image, the archive carries our programs. Each part
//! is built by cargo in a folder of its own, so that parts with different flags never evict each other, and a product
//! is written only if its bytes changed: an image asked for twice is made once.

use crate::archive::{self, contents};
use crate::command::{self, cargo, say};
use crate::setup::compiler::{KernelCompiler, TARGET};
use crate::setup::packages;
use crate::symbols;
use crate::vdso::{self, BuildOptions};
use crate::workspace::{self, Variant, shown};
use anyhow::{Context, Result};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Our programs run on the kernel and on the host alike; the host's target it is.
const USERLAND_TARGET: &str = "x86_64-unknown-linux-gnu";
/// One file that needs no loader and is placed where it was linked, the plainest kind an `execve` can meet.
const USERLAND_FLAGS: &str = "-Ctarget-feature=+crt-static -Crelocation-model=static";

/// A kernel, as built for one of the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `gnomon.elf`, which takes a compiler for bare metal.
    BareMetal,
    /// `gnomon-um`, an ordinary program of the host.
    UserMode,
}

/// Both.
pub const ALL: [Kernel; 2] = [Kernel::BareMetal, Kernel::UserMode];

/// Builds these kernels, and what goes with any, into the variant's folder and gives that folder.
pub fn build(variant: Variant, kernels: &[Kernel]) -> Result<PathBuf> {
    packages::install(&packages::IMAGE)?;
    let folder = variant.image_directory();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", shown(&folder)))?;
    say(format_args!("building {}", shown(&folder)));

    let vdso = vdso_image(variant)?;
    for kernel in kernels {
        match kernel {
            Kernel::BareMetal => {
                let mut file = bare_metal(variant, &vdso)?;
                symbols::fill(&mut file).context("the kernel's symbols were not written")?;
                write_if_changed(&folder.join("gnomon.elf"), &file)?;
            }
            Kernel::UserMode => {
                let program = folder.join("gnomon-um");
                write_if_changed(&program, &user_mode(variant, &vdso)?)?;
                std::fs::set_permissions(&program, Permissions::from_mode(0o755))?;
            }
        }
    }

    let archive = contents::default_archive(&userland()?).context("the archive was not built")?;
    write_if_changed(&folder.join("initramfs.cpio"), &archive.to_bytes())?;
    Ok(folder)
}

/// Builds the archive with Debian's programs; gives its file. It wants a machine with a gibibyte of memory.
pub fn debian_archive() -> Result<PathBuf> {
    packages::install(&packages::IMAGE)?;
    let archive = archive::debian::archive(&userland()?).context("the archive was not built")?;
    let file = Variant::WithTimeNamespaces.image_directory().join("debian.cpio");
    write_if_changed(&file, &archive.to_bytes())?;
    say(format_args!("{}: {} files and folders, {} MiB", shown(&file), archive.len(), archive.bytes() >> 20));
    Ok(file)
}

/// Builds and checks the vDSO image; gives its file.
pub fn vdso_image(variant: Variant) -> Result<PathBuf> {
    let output = variant.image_directory().join("vdso.so");
    let target_dir = workspace::target("vdso");
    let options = BuildOptions { output: output.clone(), target_dir, time_ns: variant.has_time_namespaces() };
    vdso::build(&options).context("the vDSO image was not built")?;
    Ok(output)
}

/// Builds our programs; gives the one file that holds them.
pub fn userland() -> Result<PathBuf> {
    let folder = workspace::target("userland");
    let mut build = cargo();
    build.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", USERLAND_FLAGS);
    build.args([
        "build",
        "--package",
        "gnomon-userland",
        "--profile",
        "userland",
        "--target",
        USERLAND_TARGET,
    ]);
    build.arg("--target-dir").arg(&folder);
    command::run(&mut build, "our programs did not build")?;
    Ok(folder.join(USERLAND_TARGET).join("userland/gnomon-userland"))
}

/// Builds the kernel as a program of the host; gives its bytes as linked.
fn user_mode(variant: Variant, vdso: &Path) -> Result<Vec<u8>> {
    let folder = workspace::target("user-mode");
    let mut build = cargo();
    build.env("GNOMON_VDSO", vdso);
    build
        .args(["build", "--package", "gnomon-kernel", "--profile", "user-mode", "--target-dir"])
        .arg(&folder);
    if !variant.has_time_namespaces() {
        build.arg("--no-default-features");
    }
    command::run(&mut build, "the user-mode kernel did not build")?;
    let linked = folder.join("user-mode/gnomon-kernel");
    std::fs::read(&linked).with_context(|| format!("cannot read {}", shown(&linked)))
}

/// Builds the kernel for bare metal; gives its bytes as linked.
fn bare_metal(variant: Variant, vdso: &Path) -> Result<Vec<u8>> {
    let compiler = KernelCompiler::find_or_make()?;
    let mut build = cargo();
    kernel_arguments(&mut build, "build", variant, vdso, &compiler);
    build.arg("--release");
    command::run(&mut build, "the kernel did not build")?;
    let linked = workspace::target("kernel").join(TARGET).join("release/gnomon-kernel");
    std::fs::read(&linked).with_context(|| format!("cannot read {}", shown(&linked)))
}

/// What every cargo command on the bare-metal kernel has in common; the flags stand in `.cargo/config.toml`.
pub(crate) fn kernel_arguments(
    cargo: &mut std::process::Command,
    verb: &str,
    variant: Variant,
    vdso: &Path,
    compiler: &KernelCompiler,
) {
    compiler.apply(cargo);
    cargo.env("GNOMON_VDSO", vdso);
    cargo.args([verb, "--package", "gnomon-kernel", "--target", TARGET]);
    cargo.arg("--target-dir").arg(workspace::target("kernel"));
    if !variant.has_time_namespaces() {
        cargo.arg("--no-default-features");
    }
}

/// Writes a product unless its bytes are the same already: its time then tells when it last changed.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // In one step, so that a machine booting right now sees the old file or the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_product_keeps_its_time() {
        let path = std::env::temp_dir().join(format!("gnomon-product-{}", std::process::id()));
        let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
        write_if_changed(&path, b"one").unwrap();
        let first = modified();
        write_if_changed(&path, b"one").unwrap();
        assert_eq!(modified(), first);
        write_if_changed(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        std::fs::remove_file(&path).unwrap();
    }
}
