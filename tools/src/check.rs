//! What a reviewer should not have to look for: format, lints, documentation, with warnings counting as errors.
//!
//! The kernel is looked at twice, as built for the host and for bare metal, because each build leaves out the other
//! machine's files; and bare metal twice again, with and without time namespaces.

use crate::command::{self, cargo, say};
use crate::image::{kernel_arguments, vdso_image};
use crate::setup::compiler::KernelCompiler;
use crate::setup::packages::{self, Evidence, Need};
use crate::workspace::Variant;
use anyhow::{Result, bail};
use std::process::Command;

/// Debian's clippy, which must be of the same release as Debian's compiler; rustup's is another one's.
const DEBIAN_CLIPPY: Need = Need { package: "rust-web-clippy", evidence: Evidence::File(CLIPPY) };
const CLIPPY: &str = "/usr/bin/cargo-clippy";

/// Runs all checks, the later ones even if an earlier one found something.
pub fn everything() -> Result<()> {
    let compiler = KernelCompiler::find_or_make()?;
    if compiler != KernelCompiler::Host {
        packages::install(&[DEBIAN_CLIPPY])?;
    }
    let mut checks = on_the_host()?;
    for variant in [Variant::WithTimeNamespaces, Variant::WithoutTimeNamespaces] {
        checks.extend(on_bare_metal(variant, &compiler)?);
    }
    let mut failed = Vec::new();
    for (name, mut command) in checks {
        say(format_args!("checking {name}"));
        failed.extend(command::run(&mut command, name).is_err().then_some(name));
    }
    if !failed.is_empty() {
        bail!("something is to be mended in {}", failed.join(", "));
    }
    say("nothing found");
    Ok(())
}

fn on_the_host() -> Result<Vec<(&'static str, Command)>> {
    // The kernel carries the image, so even looking at the kernel needs one, at its usual place.
    vdso_image(Variant::WithTimeNamespaces)?;
    let (mut format, mut lints, mut documentation) = (cargo(), cargo(), cargo());
    format.args(["fmt", "--all", "--check"]);
    lints.args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]);
    documentation.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    documentation.env("RUSTDOCFLAGS", "-Dwarnings");
    Ok(vec![("the format", format), ("the lints", lints), ("the documentation", documentation)])
}

fn on_bare_metal(variant: Variant, compiler: &KernelCompiler) -> Result<Vec<(&'static str, Command)>> {
    let vdso = vdso_image(variant)?;
    let (mut lints, mut documentation) = (cargo(), cargo());
    if let KernelCompiler::Debian { sysroot, .. } = compiler {
        // A front end that calls cargo with the driver beside it; the driver is a compiler by itself and takes its
        // libraries from where SYSROOT says.
        lints = command::without_flags(CLIPPY.as_ref());
        lints.env("CARGO", command::cargo_program()).env("SYSROOT", sysroot);
    }
    kernel_arguments(&mut lints, "clippy", variant, &vdso, compiler);
    lints.args(["--", "-Dwarnings"]);
    kernel_arguments(&mut documentation, "doc", variant, &vdso, compiler);
    documentation.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-Dwarnings");
    Ok(match variant {
        Variant::WithTimeNamespaces => {
            vec![
                ("the bare-metal kernel's lints", lints),
                ("the bare-metal kernel's documentation", documentation),
            ]
        }
        Variant::WithoutTimeNamespaces => vec![("the lints of the kernel without time namespaces", lints)],
    })
}
