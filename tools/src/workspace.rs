//! Where things are: every path the tools read or write, said once.
//!
//! The products lie at fixed paths below `target/`, because other people's scripts use them; they stay there even if
//! `CARGO_TARGET_DIR` moves cargo's own files elsewhere.

use std::path::PathBuf;

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// `target/NAME`: a folder for one purpose, kept out of cargo's own so that builds with different flags never evict
/// each other.
pub fn target(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// Which kernel: the default one, or one with the whole time-namespace mechanism compiled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The default: cargo feature `time_ns` on.
    WithTimeNamespaces,
    /// Feature `time_ns` off, in the kernel and in the vDSO.
    WithoutTimeNamespaces,
}

impl Variant {
    /// The variant with the mechanism compiled in, or not.
    pub fn new(time_namespaces: bool) -> Variant {
        if time_namespaces { Variant::WithTimeNamespaces } else { Variant::WithoutTimeNamespaces }
    }

    /// The folder this variant's products go to.
    pub fn image_directory(self) -> PathBuf {
        target(match self {
            Variant::WithTimeNamespaces => "image",
            Variant::WithoutTimeNamespaces => "image-without-time-ns",
        })
    }

    /// Whether the cargo feature `time_ns` is on.
    pub fn has_time_namespaces(self) -> bool {
        self == Variant::WithTimeNamespaces
    }
}

/// A path as a message should show it: relative to the workspace where it lies inside.
pub fn shown(path: &std::path::Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
