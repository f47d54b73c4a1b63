//! What these programs ask of a kernel, in Rust's types: raw calls, error numbers, processes, time, namespaces.
//!
//! Plain `std` would serve for files and text, and does where it is simple. But a program that tests a kernel must
//! say exactly which system call it makes with which arguments, so everything here is a thin layer over
//! [`call!`](crate::call) and shows the call it stands for.

pub mod call;
pub mod clocks;
pub mod clone;
pub mod counts;
pub mod credentials;
pub mod errno;
pub mod file;
pub mod namespace;
pub mod print;
pub mod process;
pub mod syscall_count;
pub mod ticks;
pub mod time;
pub mod vdso;
