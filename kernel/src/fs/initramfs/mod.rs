//! The initial archive: a cpio file of the "newc" kind becomes the first contents of the root, initrd(4).
//!
//! [`reader`] understands the format, [`unpack`](unpack()) makes what it says. Unlike Linux, which says nothing or boots with
//! half a tree, damage is one sentence and a stop. A crate for the format exists, but ends quietly at damage, panics at
//! some of it, and wants names in UTF-8.

pub mod reader;
mod unpack;

pub use unpack::unpack;
