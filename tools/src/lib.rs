//! Everything a reader does with Gnomon from the host: set-up, building the images, booting them, testing them.
//!
//! A library with one small program (`gnomon`) in front of it, so that the scenario tests build archives and start
//! machines with the very code that `make run` uses. The kernel shares nothing with this crate but two formats: the
//! archive it unpacks and the symbol table it prints backtraces with; each is defined once on either side and a test
//! here reads what the other side would read.

pub mod archive;
pub mod bench;
pub mod check;
pub mod command;
pub mod gdb;
pub mod image;
pub mod machine;
pub mod peers;
pub mod run;
pub mod setup;
pub mod support;
pub mod symbols;
pub mod terminal;
pub mod test;
pub mod user_mode;
pub mod vdso;
pub mod workspace;
