//! What the kernel's sources must look like, checked by reading their tokens.
//!
//! Tokens and not text: comments and strings cannot raise a false alarm, and what macros contain is seen too, which a
//! syntax tree would hide. Each check is a plain function from sources to a list of complaints, so that its unit tests
//! can hand it a source that breaks the rule. `structure/main.rs` hands it the real ones.

pub mod imports;
pub mod table;
pub mod words;

use crate::failure::Result;
use anyhow::{Context, anyhow};
use proc_macro2::TokenStream;
use std::path::{Path, PathBuf};

/// One source file: its path below the crate's `src`, and its tokens.
pub struct Source {
    /// As `fs/proc/uptime.rs`.
    pub path: String,
    /// All of it.
    pub tokens: TokenStream,
}

impl Source {
    /// Reads source text.
    pub fn new(path: &str, text: &str) -> Result<Source> {
        let tokens = text.parse().map_err(|error| anyhow!("{path} is no Rust: {error}"))?;
        Ok(Source { path: path.to_string(), tokens })
    }

    /// The module this file is: `["fs", "proc", "uptime"]`; empty for `main.rs` and `lib.rs`.
    pub fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        let mut parts: Vec<String> = path.split('/').map(str::to_string).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "main" | "lib")) {
            parts.pop();
        }
        parts
    }
}

/// Every `.rs` file below a folder, in a fixed order.
pub fn sources(folder: &Path) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    collect(folder, &mut files).with_context(|| format!("cannot list {}", folder.display()))?;
    files.sort();
    files
        .iter()
        .map(|file| {
            let below = file.strip_prefix(folder).expect("it was found there");
            Source::new(&below.to_string_lossy(), &std::fs::read_to_string(file)?)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
