//! `/proc/uptime`: seconds since boot in the reader's time, and seconds all CPUs spent idle, proc_uptime(5).

use crate::{
    fs::Actor,
    task::sched,
    time::{self, HostClock},
};
use alloc::{format, vec::Vec};

/// Two numbers with two decimals, cut off. The second knows no namespace: it is not a clock.
pub fn text(actor: &dyn Actor) -> Vec<u8> {
    let up = time::now(HostClock::Boottime).saturating_add(super::boottime_offset(actor));
    let idle = sched::statistics().idle as i64;
    format!("{} {}\n", with_hundredths(up), with_hundredths(idle)).into_bytes()
}

fn with_hundredths(nanoseconds: i64) -> alloc::string::String {
    let hundredths = nanoseconds.max(0) / 10_000_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_cut_off() {
        assert_eq!(with_hundredths(1_999_999_999), "1.99");
        assert_eq!(with_hundredths(86_400_050_000_000), "86400.05");
    }
}
