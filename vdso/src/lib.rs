//! The VVAR page and its readers: one definition for the kernel that writes it and the programs that read it.
#![cfg_attr(not(test), no_std)]
