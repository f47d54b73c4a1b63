//! Running other programs so that each failure is one clear sentence, and cargo so that each build is the same.
//!
//! Cargo takes flags from half a dozen environment variables, and every one of them would replace the flags in
//! `.cargo/config.toml` without a word. Builds of a product therefore start from an environment without them.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::process::{Command, Output, Stdio};

/// Says what is being done, on standard error: standard output belongs to the machine's console.
pub fn say(message: impl std::fmt::Display) {
    eprintln!("gnomon: {message}");
}

/// Runs to the end with our standard streams; `failure` is the sentence for a status other than 0.
pub fn run(command: &mut Command, failure: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("{failure} ({}: {status})", name(command));
    }
    Ok(())
}

/// Runs to the end and hands back what it wrote to standard output; standard error is shown in the failure.
pub fn output(command: &mut Command, failure: &str) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("{failure} ({}: {status}) {}", name(command), String::from_utf8_lossy(&stderr).trim());
    }
    String::from_utf8(stdout).with_context(|| format!("{} printed something that is not text", name(command)))
}

/// Whether a program of this name stands in `PATH`.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Cargo in the workspace, freed of whatever flags the caller's environment carries.
pub fn cargo() -> Command {
    without_flags(&cargo_program())
}

/// The cargo that runs us is the one `rust-toolchain.toml` chose; a nested one must be the same.
pub fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or("cargo".into())
}

/// A program in the workspace that is cargo or ends up calling it, freed of flags.
pub fn without_flags(program: &OsStr) -> Command {
    const FLAGS: [&str; 8] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_BOOTSTRAP",
    ];
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    for variable in FLAGS {
        command.env_remove(variable);
    }
    command
}

fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_callers_sentence_and_the_status() {
        let error = run(&mut Command::new("false"), "the kernel did not build").unwrap_err();
        assert_eq!(error.to_string(), "the kernel did not build (false: exit status: 1)");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("/nowhere/no-such-program"), "unused").unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }

    #[test]
    fn standard_error_is_part_of_the_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo because >&2; exit 3"]);
        let error = output(&mut command, "it failed").unwrap_err();
        assert_eq!(error.to_string(), "it failed (sh: exit status: 3) because");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(exists("sh"));
        assert!(!exists("no-such-program-anywhere"));
    }
}
