//! Reading the TSC in order: the instructions as the image has them, and as the kernel may put them in their place.
//!
//! `rdtsc` may be executed early, before loads that precede it; a clock would then seem to step back between two processors.
//! `lfence` waits for those loads, on every processor. `rdtscp` waits by itself and does it faster, but not every processor
//! has it (QEMU's default has not). So the kernel looks at its processor when it boots and rewrites the image before
//! anybody has seen it, as Linux does. A mode of its own on the page would cost a comparison in every reading.

/// `lfence; rdtsc`
pub const FENCED: [u8; 5] = [0x0f, 0xae, 0xe8, 0x0f, 0x31];
/// `rdtscp`, and a `nop` of two bytes for the room that is left.
pub const BY_ITSELF: [u8; 5] = [0x0f, 0x01, 0xf9, 0x66, 0x90];
