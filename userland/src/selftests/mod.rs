//! The selftests: one program a rule or a family of rules, KTAP on standard output, exit status 0 when nothing failed.
//!
//! Every one is an ordinary Linux program: on Linux 6.18 it must pass too. That is what makes the rules trustworthy.

mod capabilities;
mod clone3;
mod clone_legacy;
pub mod helper;
mod setns;
mod support;
mod unshare_rules;

use crate::ktap::Plan;

/// A selftest: its name (the program is /selftests/NAME) and the function that lists its cases.
struct Selftest {
    name: &'static str,
    cases: fn(&mut Plan),
}

/// A table from the names of modules: each has a function `cases`.
macro_rules! selftests {
    ($($name:ident)*) => {
        const SELFTESTS: &[Selftest] = &[$(Selftest { name: stringify!($name), cases: $name::cases }),*];
    };
}

selftests! {
    clone3
    clone_legacy
    unshare_rules
    setns
    capabilities
}

/// The paths of all selftests in the image.
pub fn paths() -> impl Iterator<Item = String> {
    SELFTESTS.iter().map(|test| format!("/selftests/{}", test.name))
}

/// Runs the selftest of that name, if there is one.
pub fn run(name: &str) -> Option<i32> {
    let test = SELFTESTS.iter().find(|test| test.name == name)?;
    let mut plan = Plan::default();
    (test.cases)(&mut plan);
    Some(plan.run())
}
