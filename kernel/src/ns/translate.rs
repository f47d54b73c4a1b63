//! The arithmetic of telling a task another time: what is read is shifted when it leaves, a deadline when it comes in.

use crate::abi::{NANOSECONDS_PER_SECOND, Timespec};
use gnomon_vdso::write::Offset;

/// An offset in nanoseconds. Offsets are bounded where they are written, so that this is exact; it saturates all the same.
pub const fn nanoseconds(offset: Offset) -> i64 {
    offset.seconds.saturating_mul(1_000_000_000).saturating_add(offset.nanoseconds as i64)
}

/// What a task with this offset is told when the host's clock shows `host` nanoseconds.
pub const fn to_inside(host: i64, offset: i64) -> i64 {
    host.saturating_add(offset)
}

/// The same without leaving seconds and nanoseconds, which would take a division.
pub const fn shifted(host: Timespec, offset: Offset) -> Timespec {
    const SECOND: i64 = NANOSECONDS_PER_SECOND as i64;
    let nanoseconds = host.nanoseconds + offset.nanoseconds as i64;
    let seconds = host.seconds.saturating_add(offset.seconds);
    match nanoseconds < SECOND {
        true => Timespec { seconds, nanoseconds },
        false => Timespec { seconds: seconds + 1, nanoseconds: nanoseconds - SECOND },
    }
}

/// When, in host time, a deadline comes that a task with this offset gave.
///
/// A deadline before the host's clock began is 0: it has passed. One that no clock reaches saturates at `i64::MAX`,
/// "never". (Linux up to 6.18 lets the subtraction of a negative offset wrap around for BOOTTIME, and such a sleep ends
/// at once.)
pub const fn to_host(inside: i64, offset: i64) -> i64 {
    if inside < offset { 0 } else { inside.saturating_sub(offset) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn deadlines_at_the_edges() {
        assert_eq!(to_host(5, 10), 0, "below the offset: passed");
        assert_eq!(to_host(10, 10), 0);
        assert_eq!(to_host(i64::MAX, -10), i64::MAX, "saturates");
        assert_eq!(to_host(i64::MAX - 5, -10), i64::MAX);
        assert_eq!(to_host(0, -10), 10);
    }

    #[test]
    fn one_nanosecond_less_is_minus_one_second_and_the_rest() {
        assert_eq!(nanoseconds(Offset { seconds: -1, nanoseconds: 999_999_999 }), -1);
    }

    proptest! {
        #[test]
        fn what_is_read_is_the_deadline_that_fires_now(now in 0i64..1 << 60, offset in -(1i64 << 59)..1 << 61) {
            prop_assume!(now + offset >= 0);
            prop_assert_eq!(to_host(to_inside(now, offset), offset), now);
        }

        #[test]
        fn shifting_is_the_same_in_seconds_and_in_nanoseconds(host in 0i64..1 << 60, seconds in -(1i64 << 29)..1 << 30, rest in 0u32..1_000_000_000) {
            let offset = Offset { seconds, nanoseconds: rest };
            let shifted = shifted(Timespec::from_nanoseconds(host), offset);
            prop_assert_eq!(shifted, Timespec::from_nanoseconds(to_inside(host, nanoseconds(offset))));
        }

        #[test]
        fn a_later_deadline_never_fires_earlier(a in 0i64.., b in 0i64.., offset: i64) {
            let (first, second) = (a.min(b), a.max(b));
            prop_assert!(to_host(first, offset) <= to_host(second, offset));
        }
    }
}
