//! Building the image: one file compiled to one object, the object inspected, linked, and the result checked.
//!
//! The stable compiler of the host is all it takes, for the image is ordinary user code: no other target, no `core`
//! built anew, and the linker that comes with the compiler. (`cdylib`, cargo's nearest kind of crate, brings a version
//! script and startup code of its own, which cannot be taken away.)

use super::object_file;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to build, and where.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The image, written only if its bytes differ from what is there.
    pub output: PathBuf,
    /// A folder for what comes in between.
    pub target_dir: PathBuf,
    /// Whether readers follow a namespace's page (cargo feature `time_ns`).
    pub time_ns: bool,
}

/// How the object is made. Each option is there for a reason:
const COMPILE: [&str; 18] = [
    "--edition=2024",
    "--crate-name=gnomon_vdso",
    "--crate-type=lib",
    // An object is all that is wanted, not a library around it.
    "--emit=obj",
    // As fast as it gets, seen as a whole.
    "-Copt-level=3",
    "-Ccodegen-units=1",
    // What is jumped to begins a cache line (2^6 bytes): a reading of a coarse clock takes eight cycles, and one that is
    // fetched from two lines where one would do takes a cycle more. In a namespace there is a jump more than outside.
    "-Cllvm-args=-align-all-nofallthru-blocks=6",
    // Unless the line is nearly all ahead: that would cost a seventh of the image.
    "-Cllvm-args=-max-bytes-for-alignment=48",
    // Nothing unwinds out of the image, so there are no landing pads; but others unwind through it, hence tables.
    "-Cpanic=abort",
    "-Cforce-unwind-tables=yes",
    // Runs at any address, and its parts are near each other: addresses relative to the instruction.
    "-Crelocation-model=pic",
    "-Ccode-model=small",
    // A frame pointer is three instructions in a function of forty; the tables serve debuggers as well.
    "-Cforce-frame-pointers=no",
    // Checks that lead to a panic could not link.
    "-Cdebug-assertions=no",
    "-Coverflow-checks=no",
    "-Cdebuginfo=0",
    // What the image does not use is used by the kernel, which compiles the same files.
    "-Adead_code",
    "-Dwarnings",
];

/// How the image is linked.
const LINK: [&str; 16] = [
    "-shared",
    "-melf_x86_64",
    "--soname=linux-vdso.so.1",
    "--hash-style=both",
    "--eh-frame-hdr",
    "--build-id=sha1",
    // References between its own functions are settled here; a program's function of the same name changes nothing.
    "-Bsymbolic",
    // The image depends on nothing.
    "--no-undefined",
    // Every kind of section is named in the script, or it is an error.
    "--orphan-handling=error",
    "--strip-all",
    "-znow",
    "-znoexecstack",
    // Extra program headers for write-protecting relocated data: there is none.
    "-znorelro",
    "-zmax-page-size=4096",
    "-nostdlib",
    "--fatal-warnings",
];

/// Builds the image and writes it to `options.output`; an error is a sentence about what to change.
pub fn build(options: &BuildOptions) -> Result<()> {
    let folder = &options.target_dir;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name = if options.time_ns { "vdso" } else { "vdso-without-time-ns" };
    let object = folder.join(name).with_extension("o");
    let linked = folder.join(name).with_extension("so");
    compile(&object, options.time_ns)?;
    let code = std::fs::read(&object)?;
    if let Err(problems) = object_file::check(&code) {
        bail!("the vDSO does not link:{}", super::listed(&problems));
    }
    let linkers = linkers()?;
    link(&mut linkers[0].command(), &object, &linked)?;
    let image = std::fs::read(&linked)?;
    let report = match super::check(&image) {
        Ok(report) => report,
        Err(problems) => bail!("{} is not a sound vDSO:{}", linked.display(), super::listed(&problems)),
    };
    ensure!(
        report.follows_namespaces == options.time_ns,
        "the image {} namespace code, though time_ns is {}",
        if report.follows_namespaces { "has" } else { "lacks" },
        if options.time_ns { "on" } else { "off" },
    );
    write_if_changed(&options.output, &image)
}

fn source(name: &str) -> PathBuf {
    workspace::root().join("vdso").join(name)
}

fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    // In the workspace, where rust-toolchain.toml says which compiler `rustc` is.
    command.current_dir(workspace::root()).env_remove("RUSTC_BOOTSTRAP");
    command
}

/// Compiles the image's root to an object.
pub(super) fn compile(object: &Path, time_ns: bool) -> Result<()> {
    let mut command = rustc();
    command.args(COMPILE).arg(source("src/image.rs")).arg("-o").arg(object);
    if time_ns {
        command.args(["--cfg", "feature=\"time_ns\""]);
    }
    // No path of this machine in the product.
    let mut remap = OsString::from("--remap-path-prefix=");
    remap.push(workspace::root());
    remap.push("=.");
    command.arg(remap);
    run(&mut command, "the vDSO does not compile")
}

/// Links the object to an image.
pub(super) fn link(linker: &mut Command, object: &Path, image: &Path) -> Result<()> {
    let option = |name: &str, file: &str| {
        let mut option = OsString::from(name);
        option.push(source(file));
        option
    };
    linker.args(LINK).arg(option("--script=", "vdso.lds"));
    linker.arg(option("--version-script=", "vdso.versions")).arg("-o").arg(image).arg(object);
    run(linker, "the vDSO does not link")
}

/// A program that can link the image.
#[derive(Clone, Debug)]
pub(super) struct Linker {
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Linker {
    /// The program, ready to be told what to link.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments);
        command
    }
}

/// The linker that comes with the compiler, if one does, and then the system's. The script suits both.
pub(super) fn linkers() -> Result<Vec<Linker>> {
    let output = rustc().args(["--print", "sysroot"]).output().context("cannot start rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let own = sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    let own = own.is_file().then_some(Linker { program: own, arguments: &["-flavor", "gnu"] });
    Ok(own.into_iter().chain([Linker { program: "ld".into(), arguments: &[] }]).collect())
}

fn run(command: &mut Command, failure: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{failure}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Leaves an equal file alone, so that what is built from it is not built again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
