//! Tests of tmpfs.
