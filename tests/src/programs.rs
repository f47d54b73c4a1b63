//! Ordinary programs, compiled as other people compile theirs, to be run unmodified.
//!
//! How a source is built follows from its name; each result is a file for the archive. Everything is static: there is no
//! loader in the machine.

use crate::failure::Result;
use anyhow::{Context, bail};
use gnomon_tools::workspace::shown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program in the archive.
pub struct Program {
    /// What the test is called.
    pub name: String,
    /// Its path in the machine, with an interpreter before it if it needs one.
    pub line: String,
    /// Its path in the machine.
    pub path: String,
    /// The file on this host.
    pub file: PathBuf,
}

/// A way to make a program of a source with this ending.
struct Recipe {
    ending: &'static str,
    /// Appended to the name, where one source is built in several ways.
    suffix: &'static str,
    /// The compiler with its options; the source and `-o OUTPUT` are added. Empty: the source is the program.
    compiler: &'static [&'static str],
    /// What runs it in the machine.
    interpreter: &'static str,
}

const RECIPES: [Recipe; 5] = [
    Recipe { ending: ".sh", suffix: "_ash", compiler: &[], interpreter: "/bin/sh " },
    Recipe { ending: ".bash", suffix: "_bash", compiler: &[], interpreter: "/bin/bash " },
    Recipe {
        ending: ".c",
        suffix: "_glibc",
        compiler: &["gcc", "-static", "-O2", "-Wall", "-Werror", "-pthread"],
        interpreter: "",
    },
    Recipe {
        ending: ".c",
        suffix: "_musl",
        compiler: &["musl-gcc", "-static", "-O2", "-Wall", "-Werror", "-pthread"],
        interpreter: "",
    },
    Recipe {
        ending: ".rs",
        suffix: "_std",
        compiler: &["rustc", "--edition=2024", "-O", "-Ctarget-feature=+crt-static"],
        interpreter: "",
    },
];

/// Every program that these sources make, whether built yet or not.
pub fn list(sources: &[PathBuf]) -> Vec<Program> {
    sources.iter().flat_map(|source| RECIPES.iter().filter_map(|recipe| recipe.program(source))).collect()
}

/// Builds what [`list`] lists.
pub fn build(sources: &[PathBuf]) -> Result<Vec<Program>> {
    for source in sources {
        for recipe in &RECIPES {
            if let Some(program) = recipe.program(source) {
                recipe.build(source, &program.file)?;
            }
        }
    }
    Ok(list(sources))
}

/// The files in a folder, in the order of their names.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", shown(folder)))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    Ok(files)
}

impl Recipe {
    fn program(&self, source: &Path) -> Option<Program> {
        let file_name = source.file_name()?.to_str()?;
        let name = format!("{}{}", file_name.strip_suffix(self.ending)?.replace('-', "_"), self.suffix);
        let path = format!("/acceptance/{name}");
        let file = match self.compiler {
            [] => source.to_path_buf(),
            _ => crate::results().join("programs").join(&name),
        };
        Some(Program { line: format!("{}{path}", self.interpreter), name, path, file })
    }

    fn build(&self, source: &Path, output: &Path) -> Result {
        let [compiler, options @ ..] = self.compiler else { return Ok(()) };
        if is_newer(output, source) {
            return Ok(());
        }
        std::fs::create_dir_all(output.parent().context("it lies in a folder")?)?;
        let result = Command::new(compiler).args(options).arg(source).arg("-o").arg(output).output();
        let result = result.with_context(|| format!("cannot start {compiler}"))?;
        if !result.status.success() {
            bail!("{compiler} {}:\n{}", shown(source), String::from_utf8_lossy(&result.stderr));
        }
        Ok(())
    }
}

fn is_newer(output: &Path, source: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    time(output).is_some_and(|output| Some(output) > time(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_how_a_source_is_built() {
        let sources = ["x/one-two.c", "x/three.sh", "x/README.md"].map(PathBuf::from);
        let programs = list(&sources);
        let lines: Vec<&str> = programs.iter().map(|program| program.line.as_str()).collect();
        assert_eq!(
            lines,
            ["/acceptance/one_two_glibc", "/acceptance/one_two_musl", "/bin/sh /acceptance/three_ash"]
        );
        assert_eq!(programs[2].file, sources[1]);
    }

    #[test]
    fn a_source_that_does_not_compile_is_an_error() {
        let source = crate::results().join("unit/broken.c");
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::write(&source, "int main(void) { return nothing; }").unwrap();
        let error = build(&[source]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("nothing"), "{error}");
    }
}
