//! Set-up: whatever a command needs and the machine lacks is brought before the command's work begins.
//!
//! A reader of a kernel should need two commands and no page of instructions. Programs come as Debian packages
//! ([`packages`]), the compiler for bare metal from rustup or Debian ([`compiler`]). What is there already is found by
//! looking for files, which costs microseconds, so every command can afford to ask each time.

pub mod compiler;
pub mod packages;

use anyhow::Result;

/// Brings everything that any of the commands needs.
pub fn everything() -> Result<()> {
    packages::install(&packages::all())?;
    compiler::KernelCompiler::find_or_make()?;
    crate::command::say("everything is in place");
    Ok(())
}
