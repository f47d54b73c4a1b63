//! The root of the image: the readers, the processor they run on, and the symbols they are exported under.
//!
//! Compiled by itself into one object file, which the linker script `vdso.lds` turns into `vdso.so`. A second root
//! over the same files rather than a cargo feature on the first: features add up over a workspace, and the exported
//! names (`time`, `getcpu`) must never find their way into another program; and what this root does not name, above
//! all the writer, is not in the image.
//!
//! There is no panic handler. Code that can panic refers to a function that does not exist, so it does not link: the
//! proof, made anew by every build, that no clock read can panic inside somebody else's program.

#![no_std]

// What the image does not use is used by the kernel.
#[allow(dead_code)]
mod atomics;
#[allow(dead_code)]
mod calls;
mod chacha;
#[allow(dead_code)]
mod clocks;
#[allow(dead_code)]
mod cycles;
#[allow(dead_code)]
mod page;
mod processor;
mod random;
#[allow(dead_code)]
mod read;
#[allow(dead_code)]
mod seqcount;
mod symbols;
