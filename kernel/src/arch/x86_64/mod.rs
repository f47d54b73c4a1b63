//! The bare machine: a PC, from the loader's jump to the contract that the rest of the kernel is written against.
//!
//! In the order in which a reader may want it: [`boot`] and [`start_info`] get here; [`layout`], [`kernel_space`] and
//! [`stacks`] are the kernel's memory; [`features`], [`descriptors`], [`exceptions`] and [`entry`] set the processor up and
//! are the border to user mode, which [`user`], [`extended_state`], [`paging`] and [`tlb`] make a function and a table; [`acpi`],
//! [`apic`], [`interrupts`], [`clock`], [`calibration`], [`rtc`], [`serial`], [`power`] and [`random`] are devices;
//! [`report`] and [`symbols`] speak when all is lost.

mod acpi;
mod apic;
mod boot;
mod calendar;
mod calibration;
mod clock;
mod cpu;
mod descriptors;
mod entry;
mod exceptions;
mod extended_state;
mod features;
mod interrupts;
mod kernel_space;
mod layout;
mod paging;
mod power;
mod random;
mod ranges;
mod report;
mod rtc;
mod serial;
mod stacks;
mod start_info;
mod symbols;
mod tlb;
mod user;

use super::{CycleCounter, Frame, Interrupts, Machine, ProcessorFeatures, Reference};
use core::{fmt, ptr::NonNull};

/// What was found while coming to life.
struct Found {
    acpi: acpi::Machine,
    rates: calibration::Rates,
    console_interrupt: bool,
}

static FOUND: spin::Once<Found> = spin::Once::new();

/// From boot.rs, with the physical address of the loader's structure: the machine's own boot order.
extern "C" fn begin(start_info: u64) -> ! {
    // First what a panic needs: this CPU's area and the console.
    cpu::install();
    cpu::clear_user_base();
    serial::initialize();
    let features = features::enable();
    extended_state::initialize(features);
    descriptors::load(features.rdtscp);
    exceptions::load();

    // SAFETY: it is what the loader passed, and no free memory has been written.
    let loaded = unsafe { start_info::read(start_info) };
    let mut free = loaded.free_memory();
    kernel_space::enter(&loaded, &mut free, features.pages_1_gib);

    apic::silence_legacy();
    apic::initialize_local();
    let acpi = acpi::read(loaded.acpi_root, &kernel_space::direct_ranges(&loaded));
    power::remember(&acpi);
    let rates = clock::initialize(&acpi);
    let console_interrupt = apic::route(serial::LINE, apic::SERIAL, &acpi);
    FOUND.call_once(|| Found { acpi, rates, console_interrupt });

    crate::start(loaded.into_boot_information(free))
}

fn found() -> &'static Found {
    FOUND.get().expect("`begin` sets it before anybody may ask")
}

/// The bare machine.
pub struct Hardware;

impl Machine for Hardware {
    type PageTable = paging::Table;
    type UserContext = user::Context;
    const USER_END: usize = layout::USER_END;

    #[inline(always)]
    fn cpu_number() -> usize {
        cpu::number()
    }

    #[inline]
    fn frame_pointer(frame: Frame) -> NonNull<u8> {
        layout::frame_pointer(frame)
    }

    fn processor_features() -> ProcessorFeatures {
        let features = features::get();
        // `struct rt_sigframe` without the extended state; behind that a closing word, and room to align both.
        const FRAME: usize = 440;
        const ALIGNMENT: usize = 63 + 15;
        let largest = FRAME + features.extended_state_size + 4 + ALIGNMENT;
        ProcessorFeatures {
            hwcap: features.hwcap.into(),
            hwcap2: u64::from(features.fsgsbase) << 1,
            minimum_signal_stack: largest.next_multiple_of(16),
            tells_cpu_number: true,
            has_rdtscp: features.rdtscp,
        }
    }

    fn random_seed() -> [u8; 32] {
        random::bytes()
    }

    #[inline(always)]
    fn cycles() -> u64 {
        clock::cycles()
    }

    fn cycle_counter() -> CycleCounter {
        clock::counter()
    }

    fn wall_clock() -> Option<u64> {
        rtc::read_time(found().acpi.century_register)
    }

    fn reference() -> Option<Reference> {
        None
    }

    fn set_alarm(nanoseconds: Option<u64>) {
        clock::set_alarm(nanoseconds);
    }

    fn idle() {
        interrupts::wait();
    }

    fn take_interrupts() -> Interrupts {
        interrupts::pending()
    }

    fn console_write(bytes: &[u8]) {
        serial::write(bytes);
    }

    fn console_read() -> Option<u8> {
        serial::read()
    }

    /// A wire knows nothing of the screen at its end.
    fn console_resized() -> Option<(u16, u16)> {
        None
    }

    fn power_off() -> ! {
        power::off()
    }

    fn restart() -> ! {
        power::restart()
    }

    fn stop_after_panic() -> ! {
        power::stop_after_panic()
    }

    fn describe_machine(line: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let Found { rates, console_interrupt, .. } = found();
        let features = features::get();
        line(format_args!("processor: {:?}", features.protections));
        line(format_args!(
            "extended state: {:?}, {} bytes",
            features.extended_state, features.extended_state_size
        ));
        let (megahertz, kilohertz) = (rates.counter / 1_000_000, rates.counter / 1000 % 1000);
        line(format_args!("cycle counter: {megahertz}.{kilohertz:03} MHz, {}", rates.source));
        if !features.steady_counter {
            line(format_args!(
                "cycle counter: may change its speed, so programs may not read the time from it"
            ));
        }
        if !console_interrupt {
            line(format_args!("console: no I/O APIC, so input is only seen when something else happens"));
        }
    }

    fn describe_state(write: &mut dyn fmt::Write) {
        // A console that refuses bytes cannot be helped here.
        let _ = report::write(write);
    }
}
