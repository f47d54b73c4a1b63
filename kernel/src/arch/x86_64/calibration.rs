//! How fast do the cycle counter and the local APIC's timer run?
//!
//! Some processors and hypervisors say so in CPUID. Otherwise both are held against a clock whose rate is a convention: the
//! HPET, ACPI's power management timer, or the PC's first timer chip, whichever there is, for 5 ms.
//!
//! A read of such a clock takes time, and on a virtual machine perhaps a long time. So each is bracketed by two reads of the
//! counter, some are tried, and the one in the narrowest bracket counts as having happened in its middle. An error of a
//! quarter of a microsecond on both ends makes 100 millionths over 5 ms; a longer window would be more exact and everybody
//! would wait for it.
//!
//! A hypervisor's APIC timer most often counts nanoseconds. Where the measurement comes close to that it is taken as
//! exactly that, and the counter is then held against this finer clock.

use super::kernel_space::map_device;
use super::{acpi, apic, clock::cycles};
use core::fmt;
use raw_cpuid::CpuId;
use x86_64::instructions::port::{Port, PortReadOnly};

/// Where the frequencies are from, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The processor's CPUID.
    Processor,
    /// The hypervisor's CPUID.
    Hypervisor,
    /// Measured against the high precision event timer.
    EventTimer,
    /// Measured against ACPI's power management timer.
    PowerTimer,
    /// Measured against the 8254's channel 0.
    IntervalTimer,
    /// Measured against the local APIC's timer, which counts nanoseconds in QEMU's machines.
    ApicTimer,
    /// There is no clock at all.
    Guess,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Processor => "as the processor says",
            Self::Hypervisor => "as the hypervisor says",
            Self::EventTimer => "measured by the HPET",
            Self::PowerTimer => "measured by the ACPI timer",
            Self::IntervalTimer => "measured by the 8254",
            Self::ApicTimer => "measured by the APIC timer",
            Self::Guess => "guessed: no clock to measure it by, time may run wrong",
        })
    }
}

/// The outcome: ticks per second, never zero.
#[derive(Clone, Copy)]
pub struct Rates {
    /// Of the cycle counter.
    pub counter: u64,
    /// Of the local APIC's timer.
    pub timer: u64,
    /// How they are known.
    pub source: Source,
}

const GHZ: u64 = 1_000_000_000;
/// The window is this part of a second.
const WINDOW: u64 = 200;
/// How often each clock is read to find a narrow bracket.
const TRIES: usize = 6;
/// A clock that has not moved after so many reads stands still.
const PATIENCE: usize = 1000;

/// A clock of known rate.
struct Reference {
    source: Source,
    frequency: u64,
    /// The counter wraps around after this value.
    mask: u64,
    read: Reader,
}

enum Reader {
    Event(*const u32),
    Power(PortReadOnly<u32>),
    Interval,
    Apic,
}

impl Reference {
    /// A running count, ascending.
    fn read(&mut self) -> u64 {
        match &mut self.read {
            // SAFETY: the register is mapped, and reading it has no effects.
            Reader::Event(counter) => u64::from(unsafe { counter.read_volatile() }),
            // SAFETY: ACPI says that the port is the timer's; reading it has no effects.
            Reader::Power(port) => u64::from(unsafe { port.read() }) & self.mask,
            Reader::Interval => self.mask - u64::from(read_interval_timer()),
            Reader::Apic => self.mask - u64::from(apic::timer_left()),
        }
    }

    /// The count, and the cycle counter at the same moment.
    fn sample(&mut self) -> (u64, u64) {
        let mut best = (u64::MAX, 0, 0);
        for _ in 0..TRIES {
            let before = cycles();
            let value = self.read();
            let width = cycles() - before;
            if width < best.0 {
                best = (width, value, before + width / 2);
            }
        }
        (best.1, best.2)
    }

    /// Whether it moves at all.
    fn runs(&mut self) -> bool {
        let first = self.read();
        (0..PATIENCE).any(|_| {
            core::hint::spin_loop();
            self.read() != first
        })
    }

    fn elapsed(&self, from: u64, to: u64) -> u64 {
        to.wrapping_sub(from) & self.mask
    }
}

/// The HPET, if ACPI knows one: started, and counting in its own period.
fn event_timer(machine: &acpi::Machine) -> Option<Reference> {
    const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
    const PERIOD: usize = 4;
    const CONFIGURATION: usize = 0x10;
    const COUNTER: usize = 0xf0;
    let registers = map_device(machine.hpet?).cast::<u32>().as_ptr();
    let at = |offset: usize| registers.wrapping_byte_add(offset);
    // SAFETY: ACPI says that these are the HPET's registers; bit 0 starts its counter and nothing else.
    let period = unsafe {
        let configuration = at(CONFIGURATION);
        configuration.write_volatile(configuration.read_volatile() | 1);
        u64::from(at(PERIOD).read_volatile())
    };
    let frequency = FEMTOSECONDS.checked_div(period)?;
    let read = Reader::Event(at(COUNTER));
    Some(Reference { source: Source::EventTimer, frequency, mask: u32::MAX.into(), read })
}

fn power_timer(machine: &acpi::Machine) -> Option<Reference> {
    let read = Reader::Power(PortReadOnly::new(machine.power_timer?));
    Some(Reference { source: Source::PowerTimer, frequency: 3_579_545, mask: 0xff_ffff, read })
}

/// Channel 0 of the 8254, made to count down from 65536 again and again. Its interrupt is masked.
fn interval_timer() -> Option<Reference> {
    const CHANNEL_0_BOTH_BYTES_MODE_2: u8 = 0x34;
    // SAFETY: these are the timer's ports on every PC; nothing else uses the channel.
    unsafe {
        Port::<u8>::new(0x43).write(CHANNEL_0_BOTH_BYTES_MODE_2);
        Port::<u8>::new(0x40).write(0);
        Port::<u8>::new(0x40).write(0);
    }
    Some(Reference {
        source: Source::IntervalTimer,
        frequency: 1_193_182,
        mask: 0xffff,
        read: Reader::Interval,
    })
}

fn read_interval_timer() -> u16 {
    const LATCH_CHANNEL_0: u8 = 0;
    // SAFETY: latching and reading have no effects on the count.
    unsafe {
        Port::<u8>::new(0x43).write(LATCH_CHANNEL_0);
        let mut data = Port::<u8>::new(0x40);
        u16::from_le_bytes([data.read(), data.read()])
    }
}

const fn apic_timer(frequency: u64) -> Reference {
    Reference { source: Source::ApicTimer, frequency, mask: u32::MAX as u64, read: Reader::Apic }
}

/// Finds both frequencies.
pub fn measure(machine: &acpi::Machine) -> Rates {
    // Count down from as far as it goes, for as long as we measure.
    apic::start_timer(u32::MAX);
    let cpuid = CpuId::new();
    let under_hypervisor = cpuid.get_feature_info().is_some_and(|leaf| leaf.has_hypervisor());
    let told = told_by_processor(&cpuid).or_else(|| told_by_hypervisor(&cpuid));
    let rates = told
        .map(|(counter, source)| Rates { counter, timer: timer_by(counter), source })
        .or_else(|| {
            let references = [event_timer(machine), power_timer(machine), interval_timer()];
            let mut running =
                references.into_iter().flatten().filter_map(|mut one| one.runs().then_some(one));
            running.next().map(|mut reference| by_reference(&mut reference, under_hypervisor))
        })
        .or_else(|| {
            let counter = under_hypervisor.then(|| window(&mut apic_timer(GHZ)).0.rate(GHZ))?;
            Some(Rates { counter, timer: GHZ, source: Source::ApicTimer })
        })
        .unwrap_or_else(|| {
            let counter =
                cpuid.get_processor_frequency_info().map_or(0, |leaf| leaf.processor_base_frequency());
            let counter = if counter == 0 { GHZ } else { u64::from(counter) * 1_000_000 };
            Rates { counter, timer: timer_by(counter), source: Source::Guess }
        });
    apic::start_timer(0);
    rates
}

/// CPUID leaf 0x15: the crystal's frequency, and what it is multiplied by. (The crystal's is often left out.)
fn told_by_processor(cpuid: &CpuId<raw_cpuid::CpuIdReaderNative>) -> Option<(u64, Source)> {
    let frequency = cpuid.get_tsc_info()?.tsc_frequency()?;
    (frequency > 0).then_some((frequency, Source::Processor))
}

/// Leaf 0x4000_0010, by agreement among hypervisors: kHz.
fn told_by_hypervisor(cpuid: &CpuId<raw_cpuid::CpuIdReaderNative>) -> Option<(u64, Source)> {
    let kilohertz = cpuid.get_hypervisor_info()?.tsc_frequency()?;
    (kilohertz > 0).then_some((u64::from(kilohertz) * 1000, Source::Hypervisor))
}

/// How far two clocks moved in the same time.
struct Pair {
    known: u64,
    counter: u64,
}

impl Pair {
    /// The counter's frequency, if the other clock has the frequency `known`.
    fn rate(&self, known: u64) -> u64 {
        (u128::from(self.counter) * u128::from(known) / u128::from(self.known.max(1))).max(1) as u64
    }

    /// The other clock's frequency, if the counter has the frequency `counter`.
    fn known_rate(&self, counter: u64) -> u64 {
        (u128::from(self.known) * u128::from(counter) / u128::from(self.counter.max(1))).max(1) as u64
    }
}

/// Watches the counter, beside the reference and beside the APIC's timer, for the window's time by the reference.
fn window(reference: &mut Reference) -> (Pair, Pair) {
    let mut timer = apic_timer(GHZ);
    let length = reference.frequency / WINDOW;
    let (known_start, counter_start) = reference.sample();
    let (timer_start, timer_counter_start) = timer.sample();
    let mut now = known_start;
    while reference.elapsed(known_start, now) < length {
        core::hint::spin_loop();
        now = reference.read();
    }
    let (known_end, counter_end) = reference.sample();
    let (timer_end, timer_counter_end) = timer.sample();
    (
        Pair { known: reference.elapsed(known_start, known_end), counter: counter_end - counter_start },
        Pair {
            known: timer.elapsed(timer_start, timer_end),
            counter: timer_counter_end - timer_counter_start,
        },
    )
}

fn by_reference(reference: &mut Reference, under_hypervisor: bool) -> Rates {
    let (by_reference, by_timer) = window(reference);
    let counter = by_reference.rate(reference.frequency);
    let timer = by_timer.known_rate(counter);
    if under_hypervisor && timer.abs_diff(GHZ) < GHZ / 500 {
        return Rates { counter: by_timer.rate(GHZ), timer: GHZ, source: reference.source };
    }
    Rates { counter, timer, source: reference.source }
}

/// The APIC timer's frequency, when the counter's is known.
fn timer_by(counter: u64) -> u64 {
    let mut timer = apic_timer(GHZ);
    let (start, counter_start) = timer.sample();
    while cycles() - counter_start < counter / WINDOW {
        core::hint::spin_loop();
    }
    let (end, counter_end) = timer.sample();
    Pair { known: timer.elapsed(start, end), counter: counter_end - counter_start }.known_rate(counter)
}
