//! The selftests: one program a rule or a family of rules, KTAP on standard output, exit status 0 when nothing failed.

/// The paths of all selftests in the image.
pub fn paths() -> impl Iterator<Item = String> {
    std::iter::empty()
}

/// Runs the selftest of that name, if there is one.
pub fn run(_name: &str) -> Option<i32> {
    None
}
