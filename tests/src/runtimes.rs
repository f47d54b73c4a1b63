//! Programs that bring a run-time of their own: Go's, which has no C library, and tokio's, which has threads of its own.
//!
//! Go's compiler is Debian's, fetched (81 MB) and unpacked (430 MB, `target/go`), never installed; what it made is
//! kept, so all of this happens once. tokio is a crate like others.

use crate::archive::Archive;
use crate::failure::Result;
use anyhow::Context;
use gnomon_tools::command::{self, say};
use gnomon_tools::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

const GO_PACKAGES: [&str; 2] = ["golang-1.19-go", "golang-1.19-src"];
/// Where they put the compiler.
const GO_ROOT: &str = "usr/lib/go-1.19";
const GO_SOURCE: &str = "tests/programs/go/timers.go";
/// What of the packages is not unpacked: it takes half of the room, and nothing here is built with it.
const GO_LEFT_OUT: [&str; 4] = ["./usr/share/doc", "*/testdata", "*_test.go", "*/linux_amd64_*"];

/// Where the programs are in the machine.
pub const PROGRAMS: [&str; 2] = ["/acceptance/go_timers", "/acceptance/tokio_program"];

/// The default archive with both of them.
pub fn archive() -> Result<Archive> {
    let mut tree = Archive::default_tree()?;
    for (path, file) in PROGRAMS.into_iter().zip([go()?, tokio()?]) {
        tree.file(path, 0o755, std::fs::read(&file).with_context(|| file.display().to_string())?)?;
    }
    Archive::of_bytes("runtimes.cpio", &tree.to_bytes())
}

/// The Go program.
fn go() -> Result<PathBuf> {
    let folder = workspace::target("go");
    let source = workspace::root().join(GO_SOURCE);
    let program = folder.join("timers");
    let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    if modified(&program).is_some_and(|made| Some(made) > modified(&source)) {
        return Ok(program);
    }
    let root = unpacked(&folder)?.join(GO_ROOT);
    say("building a Go program");
    let mut build = Command::new(root.join("bin/go"));
    build.env("GOROOT", &root).env("GOCACHE", folder.join("cache")).env("GOPATH", folder.join("path"));
    build.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("HOME", &folder);
    build.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&program).arg(&source);
    command::output(&mut build, "the Go program does not build")?;
    Ok(program)
}

/// The compiler and the standard library, fetched and unpacked once.
fn unpacked(folder: &Path) -> Result<PathBuf> {
    let (root, done) = (folder.join("root"), folder.join("unpacked"));
    if done.exists() {
        return Ok(root);
    }
    std::fs::create_dir_all(&root)?;
    say("fetching Debian's Go compiler (81 MB) into target/go");
    command::output(
        Command::new("apt-get").args(["--quiet=2", "download"]).args(GO_PACKAGES).current_dir(folder),
        "Debian's Go compiler cannot be fetched",
    )?;
    for file in std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()? {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        say(format_args!("unpacking {}", file.file_name().display()));
        let mut unpack = Command::new("sh");
        unpack.args(["-c", "deb=$1; shift; dpkg-deb --fsys-tarfile \"$deb\" | tar -x \"$@\"", "sh"]);
        unpack.arg(&path).arg("-C").arg(&root);
        unpack.args(GO_LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
        command::output(&mut unpack, "the Go compiler cannot be unpacked")?;
        std::fs::remove_file(path)?;
    }
    std::fs::write(&done, "")?;
    Ok(root)
}

/// The program on tokio, linked statically.
fn tokio() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let folder = workspace::target("tokio");
    let mut build = command::cargo();
    build.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    build.args(["build", "--package", "gnomon-tokio-program", "--profile", "userland"]);
    build.args(["--target", TARGET, "--target-dir"]).arg(&folder);
    command::run(&mut build, "the program on tokio does not build")?;
    Ok(folder.join(TARGET).join("userland/gnomon-tokio-program"))
}
