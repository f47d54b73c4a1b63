//! The image, built and used: once for every test, in both variants.

mod calls;
mod damage;
mod object;
mod steps;
mod unwind;

use super::{BuildOptions, build};
use std::path::PathBuf;
use std::sync::OnceLock;

/// A folder for this process alone; the system clears it away some day.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("gnomon-vdso-test-{}", std::process::id()))
}

fn built(time_ns: bool) -> Vec<u8> {
    let folder = folder();
    let output = folder.join(if time_ns { "with.so" } else { "without.so" });
    build(&BuildOptions { output: output.clone(), target_dir: folder, time_ns }).expect("the image builds");
    std::fs::read(output).expect("the build has written it")
}

/// The image with the feature `time_ns`.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| built(true))
}

/// The image without it.
fn image_without_namespaces() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| built(false))
}
