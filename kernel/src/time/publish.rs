//! The system's page of clock data, which programs read through the vDSO and the kernel reads likewise.
//!
//! One of the two places that write pages of clock data (the other is a namespace's own page).

use super::{
    clocksource::{self, Source},
    timekeeper::{Base, Timekeeper},
};
use crate::{
    abi::Result,
    arch::{Hardware, Machine},
    mm::frames::PageRef,
    sync::Once,
};
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};
use gnomon_vdso::{
    clocks::{Class, Clock},
    cycles::Conversion,
    page::{MODE_NONE, MODE_TSC, RandomData, TimeData},
    read::{self, Time},
    write::Counter,
};

struct Pages {
    system: PageRef,
    random: PageRef,
}

static PAGES: Once<Pages> = Once::new();

fn pages() -> &'static Pages {
    PAGES.get().expect("the pages are made before the first program is")
}

/// The system's page as the kernel reads it, before which there is one on which every clock stands still: so who reads a
/// clock need not ask whether there is a page.
static DATA: AtomicPtr<TimeData> = {
    static NONE_YET: TimeData = TimeData::new();
    AtomicPtr::new((&raw const NONE_YET).cast_mut())
};

#[inline(always)]
fn data() -> &'static TimeData {
    // SAFETY: a static, or a whole frame that was zeroed and is kept for good by `PAGES`; the kernel sees either only as
    // `TimeData`, whose fields are atomics, and programs can only read it.
    unsafe { &*DATA.load(Acquire) }
}

/// Takes the frames. Errors: ENOMEM.
pub(super) fn initialize() -> Result<()> {
    let system = PageRef::zeroed()?;
    let random = PageRef::zeroed()?;
    let single = [u8::from(!Hardware::processor_features().tells_cpu_number)];
    random.write(core::mem::offset_of!(RandomData, is_single_processor), &single);
    // The kernel's generator is seeded once, by the machine, before anything runs: there is one generation.
    random.write(core::mem::offset_of!(RandomData, generation), &1u64.to_ne_bytes());
    random.write(core::mem::offset_of!(RandomData, is_ready), &[1]);
    let Pages { system, .. } = PAGES.call_once(|| Pages { system, random });
    DATA.store(system.pointer().cast().as_ptr(), Release);
    Ok(())
}

/// The page itself, to be mapped.
pub fn system_page() -> PageRef {
    pages().system.clone()
}

/// The page of the random generator's state, to be mapped.
pub fn random_page() -> PageRef {
    pages().random.clone()
}

/// Writes what the timekeeper has. Its lock makes this the only writer.
pub(super) fn publish(keeper: &Timekeeper) {
    let shift = keeper.conversion.shift;
    let mode = if keeper.user_readable { MODE_TSC } else { MODE_NONE };
    let (conversion, raw_conversion) = match clocksource::source() {
        // Programs read the machine's counter, which means nothing to these clocks: they stand still until the next update.
        Source::VirtualOnPage => (Conversion { mult: 0, shift }, Conversion { mult: 0, shift }),
        Source::Counter | Source::Virtual => (keeper.conversion, keeper.raw_conversion),
    };
    let counter = Counter::new(mode, keeper.cycle_last, conversion);
    let raw_counter = Counter::new(mode, keeper.cycle_last, raw_conversion);
    let tai = Base { seconds: keeper.realtime.seconds + keeper.tai_offset, ..keeper.realtime };
    data().update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &raw_counter);
        for (clock, base) in [
            (Clock::REALTIME, keeper.realtime),
            (Clock::MONOTONIC, keeper.monotonic),
            (Clock::BOOTTIME, keeper.monotonic),
            (Clock::TAI, tai),
            (Clock::MONOTONIC_RAW, keeper.raw),
        ] {
            update.base(clock, base.seconds, base.shifted);
        }
        update.base(Clock::REALTIME_COARSE, keeper.realtime.seconds, keeper.realtime.shifted >> shift);
        update.base(Clock::MONOTONIC_COARSE, keeper.monotonic.seconds, keeper.monotonic.shifted >> shift);
        update.resolution(1);
        update.time_zone(keeper.time_zone.0, keeper.time_zone.1);
    });
}

/// Reads a clock from the page, in nanoseconds.
pub(super) fn read(clock: Clock) -> i64 {
    let time = read_when(clock, clocksource::cycles);
    (time.seconds * gnomon_vdso::cycles::SECOND + time.nanoseconds) as i64
}

/// Reads a clock from the page, as of a count.
#[inline(always)]
pub(super) fn read_at(clock: Clock, count: u64) -> Time {
    read_when(clock, || count)
}

/// The same, if it takes no arithmetic but the usual.
#[inline(always)]
pub(super) fn read_soon(clock: Clock, count: u64) -> Option<Time> {
    read::read_soon(data(), clock, count)
}

#[inline(always)]
fn read_when(clock: Clock, count: impl Fn() -> u64) -> Time {
    match read::read(data(), clock, |_mode| Some(count())) {
        Some(time) => time,
        None => unreachable!("the kernel can read its own counter"),
    }
}
