//! The compiler for bare metal: the kernel is built for `x86_64-unknown-none`, for which a compiler needs its own `core`.
//!
//! On an ordinary machine rustup has brought that with the rest, because `rust-toolchain.toml` names the target. Where
//! rustup is told to install nothing (`RUSTUP_AUTO_INSTALL=0`), or is not there, Debian helps: the package `rustc-web` is a
//! recent compiler, `rust-web-src` the source of its `core`. Building that source needs an unstable flag of cargo, so it
//! is done once, here, into a *sysroot*; the kernel is then built with it by stable means. The sysroot is used for the
//! kernel alone: everything that runs on the host keeps the host's own compiler.
//!
//! Why not cargo's `-Zbuild-std` on each build: it needs the unstable flag each time, and builds `core` again after every
//! change of flags. Why not the host's `core`, which is there already: it is compiled with SSE and the red zone, and a
//! kernel may have neither before it can save them.

use crate::command::{self, cargo, say};
use crate::setup::packages::{self, Evidence, Need};
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target the bare-metal kernel is built for.
pub const TARGET: &str = "x86_64-unknown-none";
const HOST: &str = "x86_64-unknown-linux-gnu";
/// Debian's compiler. Not looked for in `PATH`, where rustup's comes first.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The oldest compiler that will do: `rust-version` in Cargo.toml.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// What to set for cargo so that it builds for bare metal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelCompiler {
    /// The host's own toolchain has the target.
    Host,
    /// Debian's compiler with the sysroot we made for it.
    Debian {
        /// The folder with `bin/rustc`, `bin/rustdoc` and `lib/rustlib`.
        sysroot: PathBuf,
        /// What links, as rustc's `linker` option.
        linker: OsString,
    },
}

/// How to get a compiler, given what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ready,
    AskRustup,
    AskDebian,
}

/// rustup is asked only if nobody told it to leave the machine alone.
fn way(target_is_there: bool, rustup_is_there: bool, auto_install: Option<&str>) -> Way {
    match (target_is_there, rustup_is_there, auto_install) {
        (true, _, _) => Way::Ready,
        (false, true, None) => Way::AskRustup,
        (false, true, Some(setting)) if setting != "0" => Way::AskRustup,
        (false, _, _) => Way::AskDebian,
    }
}

impl KernelCompiler {
    /// Finds one that is there, or brings one.
    pub fn find_or_make() -> Result<KernelCompiler> {
        let setting = std::env::var("RUSTUP_AUTO_INSTALL").ok();
        match way(host_has_target()?, command::exists("rustup"), setting.as_deref()) {
            Way::Ready => Ok(KernelCompiler::Host),
            Way::AskRustup => {
                say(format_args!("asking rustup for the target {TARGET}"));
                let mut rustup = Command::new("rustup");
                rustup.current_dir(workspace::root()).args(["target", "add", TARGET]);
                command::run(&mut rustup, "rustup could not bring the target the kernel is built for")?;
                if !host_has_target()? {
                    bail!("rustup says it has the target {TARGET}, but its core library is not there");
                }
                Ok(KernelCompiler::Host)
            }
            Way::AskDebian => debian(),
        }
    }

    /// Sets what cargo needs to build, lint or document for [`TARGET`] with this compiler.
    pub fn apply(&self, cargo: &mut Command) {
        if let KernelCompiler::Debian { sysroot, linker } = self {
            cargo.env("RUSTC", sysroot.join("bin/rustc"));
            cargo.env("RUSTDOC", sysroot.join("bin/rustdoc"));
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker);
        }
    }
}

/// Whether the toolchain in use can build for the target. rustc tells where the libraries would be, there or not.
fn host_has_target() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(workspace::root()).args(["--print", "target-libdir", "--target", TARGET]);
    let folder = command::output(&mut rustc, "rustc does not work")?;
    Ok(has_core(Path::new(folder.trim())))
}

fn has_core(folder: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| {
        let name = file.file_name().into_string().unwrap_or_default();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

/// Debian's compiler, with a sysroot made for exactly its version.
fn debian() -> Result<KernelCompiler> {
    let compiler = Need { package: "rustc-web", evidence: Evidence::File(DEBIAN_RUSTC) };
    let source = Need {
        package: "rust-web-src",
        evidence: Evidence::File("/usr/lib/rustlib/src/rust/library/Cargo.lock"),
    };
    packages::install(&[compiler, source]).with_context(|| {
        format!("this toolchain cannot build for {TARGET}, rustup may not bring it (RUSTUP_AUTO_INSTALL=0), and Debian's compiler")
    })?;
    let version = version_of(DEBIAN_RUSTC)?;
    if !is_recent(&version) {
        bail!(
            "{DEBIAN_RUSTC} is older than {OLDEST}: install Debian's rustc-web, or let rustup bring {TARGET}"
        );
    }
    let sysroot = workspace::target("toolchain");
    // A tree may borrow another's by a link; the path that counts is where it is.
    let sysroot = sysroot.canonicalize().unwrap_or(sysroot);
    let stamp = sysroot.join("made-for");
    // Whatever it depends on; the wrappers hold the sysroot's own path, so a tree that was moved makes it again.
    let made_for = format!("{version}{FLAGS}\n{}\n", sysroot.display());
    if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&made_for) {
        say(format_args!(
            "building core and alloc for {TARGET} with Debian's compiler (once, about 40 seconds)"
        ));
        make_sysroot(&sysroot)?;
        std::fs::write(&stamp, &made_for).context("cannot write the sysroot's stamp")?;
    }
    Ok(KernelCompiler::Debian { sysroot, linker: linker()? })
}

/// All that `rustc -vV` prints: another build of the same release is another compiler.
fn version_of(rustc: &str) -> Result<String> {
    command::output(Command::new(rustc).arg("-vV"), "Debian's compiler does not work")
}

fn is_recent(version: &str) -> bool {
    let numbers = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    let release = version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or_default();
    numbers(release) >= numbers(OLDEST)
}

/// rust-lld from the host's toolchain, because that is the linker the target is meant for; else GNU ld.
fn linker() -> Result<OsString> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(workspace::root()).args(["--print", "sysroot"]);
    let sysroot = command::output(&mut rustc, "rustc does not work")?;
    let lld = Path::new(sysroot.trim()).join("lib/rustlib").join(HOST).join("bin/rust-lld");
    Ok(if lld.is_file() { lld.into() } else { "ld".into() })
}

/// A crate that uses `core` and `alloc` and is thrown away: only what cargo builds on the way to it is wanted.
const CRATE: [(&str, &str); 2] = [
    (
        "Cargo.toml",
        "[package]\nname = \"sysroot\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n[profile.release]\npanic = \"abort\"\n",
    ),
    ("lib.rs", "#![no_std]\nextern crate alloc;\n"),
];

/// Flags for `core` itself. Bitcode is kept so that the kernel's link-time optimisation reaches into it.
const FLAGS: &str = "-Crelocation-model=static -Cforce-frame-pointers=yes -Cembed-bitcode=yes";

/// Builds `core`, `alloc` and `compiler_builtins` and lays them out as a sysroot with wrappers that use it.
fn make_sysroot(sysroot: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(sysroot);
    let work = sysroot.join("build");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    for (name, text) in CRATE {
        std::fs::write(work.join(name), text)?;
    }
    let mut build = cargo();
    build.current_dir(&work).env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS);
    build.args(["build", "--release", "--target", TARGET, "--target-dir", "out"]);
    build.args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
    command::run(&mut build, "core and alloc did not build")?;

    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    std::fs::create_dir_all(&libraries)?;
    for file in std::fs::read_dir(work.join("out").join(TARGET).join("release/deps"))?.flatten() {
        let name = file.file_name().into_string().unwrap_or_default();
        if name.ends_with(".rlib") && !name.starts_with("libsysroot") {
            std::fs::copy(file.path(), libraries.join(&name))?;
        }
    }
    if !has_core(&libraries) {
        bail!("cargo built no core library for {TARGET}");
    }
    // Build scripts and procedural macros run on the host and need the compiler's own libraries.
    let own = Path::new("/usr/lib/rustlib").join(HOST);
    std::os::unix::fs::symlink(own, sysroot.join("lib/rustlib").join(HOST))?;
    std::fs::create_dir_all(sysroot.join("bin"))?;
    for program in ["rustc", "rustdoc"] {
        wrapper(&sysroot.join("bin").join(program), program, sysroot)?;
    }
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

/// `bin/PROGRAM`: Debian's program, told where our libraries are.
fn wrapper(path: &Path, program: &str, sysroot: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let script = format!("#!/bin/sh\nexec /usr/bin/{program} --sysroot '{}' \"$@\"\n", sysroot.display());
    std::fs::write(path, script)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustup_is_asked_only_where_it_may_install() {
        for (there, rustup, setting, expected) in [
            (true, true, None, Way::Ready),
            (true, false, Some("0"), Way::Ready),
            (false, true, None, Way::AskRustup),
            (false, true, Some("1"), Way::AskRustup),
            (false, true, Some("0"), Way::AskDebian),
            (false, false, None, Way::AskDebian),
        ] {
            assert_eq!(way(there, rustup, setting), expected, "{there} {rustup} {setting:?}");
        }
    }

    #[test]
    fn an_old_compiler_is_refused() {
        assert!(!is_recent("rustc 1.85.0\nrelease: 1.85.0\n"));
        assert!(is_recent("release: 1.95.0\n"));
        assert!(is_recent("rustc 1.96.0 (abc)\nhost: x\nrelease: 1.96.0\nLLVM version: 22\n"));
        assert!(is_recent("release: 2.0.0\n"));
        assert!(!is_recent("no such line"));
    }

    #[test]
    fn the_hosts_toolchain_is_used_as_it_is() {
        let mut cargo = Command::new("cargo");
        KernelCompiler::Host.apply(&mut cargo);
        assert_eq!(cargo.get_envs().count(), 0);
        let debian = KernelCompiler::Debian { sysroot: "/s".into(), linker: "ld".into() };
        debian.apply(&mut cargo);
        assert!(
            cargo.get_envs().any(|(name, value)| name == "RUSTC" && value == Some("/s/bin/rustc".as_ref()))
        );
    }
}
