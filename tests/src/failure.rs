//! The two ways a scenario ends early: it failed, or it could not be run here and says why.
//!
//! Both travel as `anyhow::Error`, so a scenario uses `?` throughout. A skip is a type of its own and not a kind of
//! message: the harness must never mistake a failure for one, so it is recognised by downcast only.

use std::fmt;

/// What a scenario returns.
pub type Result<T = ()> = anyhow::Result<T>;

/// The scenario cannot run here. Shown as ignored, with the reason; never counted as passed.
#[derive(Debug)]
pub struct Skipped(pub String);

impl fmt::Display for Skipped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skipped {}

/// Leaves the scenario as skipped: `return skip("no such device")`.
pub fn skip<T>(reason: impl Into<String>) -> Result<T> {
    Err(Skipped(reason.into()).into())
}

/// The reason, if this error is a skip.
pub fn skip_reason(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Skipped>().map(|skipped| skipped.0.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn only_a_skip_is_a_skip() {
        assert_eq!(skip_reason(&skip::<()>("no root").unwrap_err()), Some("no root"));
        assert_eq!(skip_reason(&anyhow::anyhow!("skipped: no root")), None);
        // Context may be added on the way out without turning the skip into a failure.
        let wrapped = skip::<()>("no root").context("while booting").unwrap_err();
        assert_eq!(skip_reason(&wrapped), Some("no root"));
    }
}
