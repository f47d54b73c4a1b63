//! The bench on which every machine is tested: boot one, type at it, read what it says, judge how it ended.
//!
//! A *scenario* (`scenarios/`) is a function over a [`machine::Machine`]; a *backend* ([`backend`]) knows how to start
//! one kind of machine and nothing about scenarios. The harness runs the product of the two and names each run
//! `scenario::backend`. What a machine prints passes through one [`transcript::Transcript`], which keeps the log,
//! finds what is waited for, and notices a kernel panic nobody expected.
//!
//! Why a library and not only a test program: the bench has rules of its own (what counts as a failed KTAP run, when
//! an import points the wrong way), and a rule that cannot be seen to fail is not a test. Each has unit tests here.

#![forbid(unsafe_code)]

pub mod archive;
pub mod backend;
pub mod boot;
pub mod failure;
pub mod figures;
pub mod ktap;
pub mod machine;
pub mod oracle;
pub mod programs;
pub mod pty;
pub mod runtimes;
pub mod scenario;
pub mod session;
pub mod structure;
pub mod symbols;
pub mod transcript;

use std::path::PathBuf;

/// Where logs, and archives made for one scenario, are left: `target/tests/`.
pub fn results() -> PathBuf {
    gnomon_tools::workspace::target("tests")
}
