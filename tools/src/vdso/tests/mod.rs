//! The image, built and used: once for every test, in both variants.

mod calls;
mod damage;
mod host;
mod linking;
mod steps;
mod unwind;

use super::{BuildOptions, build};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A new folder, gone when this value is. Tests run side by side, in one process or in many.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gnomon-vdso-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("there is room for a folder");
        Folder(path)
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is the system's to clear away.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn built(time_ns: bool) -> Vec<u8> {
    let folder = Folder::new();
    let output = folder.join("image.so");
    let options = BuildOptions { output: output.clone(), target_dir: folder.to_path_buf(), time_ns };
    build(&options).expect("the image builds");
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
