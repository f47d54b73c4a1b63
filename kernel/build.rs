//! Hands the compiler two things it cannot find by itself: the vDSO image the kernel carries, and the linker script.
//!
//! The image is a file of its own, built before the kernel, because it is another program: it is mapped into other
//! people's address spaces. A build script could build it too, but then a kernel's build would hide the build of
//! something that deserves to be seen.

use std::path::{Path, PathBuf};

fn main() {
    let crate_folder = PathBuf::from(variable("CARGO_MANIFEST_DIR"));

    println!("cargo::rerun-if-env-changed=GNOMON_VDSO");
    let image = std::env::var_os("GNOMON_VDSO")
        .map(PathBuf::from)
        .unwrap_or_else(|| crate_folder.join("../target/image/vdso.so"));
    println!("cargo::rerun-if-changed={}", image.display());
    let copy = Path::new(&variable("OUT_DIR")).join("vdso.so");
    if let Err(error) = std::fs::copy(&image, copy) {
        println!(
            "cargo::error=there is no vDSO image at {} ({error}): run `make image` first",
            image.display()
        );
    }

    if variable("CARGO_CFG_TARGET_OS") == "none" {
        let script = crate_folder.join("src/arch/x86_64/kernel.lds");
        println!("cargo::rerun-if-changed={}", script.display());
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for a build script"))
}
