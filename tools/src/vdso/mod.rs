//! The vDSO image from the outside: built, checked, placed in a process, counted.
//!
//! Cargo cannot make this file (it has no kind of crate with a linker script of its own and no libraries), so `build`
//! calls the compiler and the linker itself. What comes out is not trusted: `check` looks at the finished bytes, as a
//! C library will, and says in words what is wrong.

mod build;
mod check;
mod figures;
mod lookup;
mod object_file;
mod place;
mod rules;
pub mod steps;
mod unwind;

pub use build::{BuildOptions, build};
pub use check::{Function, Problem, Report, check};

use anyhow::{Context, Result, bail};
use std::path::Path;

/// `gnomon vdso FILE`: checks an image and prints what is in it, or everything that is wrong with it.
///
/// For a sound image also counts the instructions of each call, on this machine, beside Linux's.
pub fn main(arguments: &[std::ffi::OsString]) -> Result<()> {
    let [file] = arguments else { bail!("give one file, the image") };
    let file = Path::new(file);
    let image = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    match check(&image) {
        Ok(report) => {
            println!("{report}\n{}", figures::Table::count(&image, report.follows_namespaces)?);
            Ok(())
        }
        Err(problems) => bail!("{} is not a sound vDSO:{}", file.display(), listed(&problems)),
    }
}

/// Problems as the lines of a list.
fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

#[cfg(test)]
mod tests;
