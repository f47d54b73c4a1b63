//! The root of the image: the readers and the symbols they are exported under.
#![no_std]
