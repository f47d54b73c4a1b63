//! From a vector to what the kernel wants to know: is the alarm due, has the console something?
//!
//! Interrupts are taken in two places only, in user mode and in `idle`, and both end up in [`take`]. It notes what happened
//! in the CPU's area, where `take_interrupts` finds it.

use super::{apic, clock, cpu};
use crate::arch::Interrupts;

/// Deals with an interrupt's vector.
pub fn take(vector: usize) {
    const TIMER: usize = apic::TIMER as usize;
    const SERIAL: usize = apic::SERIAL as usize;
    match vector {
        TIMER => {
            apic::acknowledge();
            if clock::alarm_is_due() {
                note(Interrupts::ALARM);
            }
        }
        SERIAL => {
            apic::acknowledge();
            note(Interrupts::CONSOLE);
        }
        // Spurious: from the local APIC, or from a legacy controller whose line went away. Neither is acknowledged.
        _ => {}
    }
}

fn note(what: Interrupts) {
    let pending = &cpu::current().pending;
    pending.set(pending.get() | what.bits());
}

/// What has happened since this was last asked.
pub fn pending() -> Interrupts {
    Interrupts::from_bits_truncate(cpu::current().pending.replace(0))
}

/// Waits for an interrupt, unless one was taken that nobody has asked for.
pub fn wait() {
    if cpu::current().pending.get() == 0 {
        take(super::entry::wait_for_interrupt());
    }
}
