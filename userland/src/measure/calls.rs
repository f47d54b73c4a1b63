//! What one process costs by itself: system calls, namespaces, memory, signals.

use super::{Row, Work};
use crate::call;
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::namespace::{self, CLONE_NEWTIME, Offsets};
use crate::system::time::ZERO;
use std::hint::black_box;

pub(super) const ROWS: &[Row] = &[
    Row { name: "null_call", rounds: 20_000, prepare: || repeated(|| call!(libc::SYS_getppid)) },
    Row {
        name: "clock_gettime_call",
        rounds: 20_000,
        prepare: || {
            let mut time = ZERO;
            repeated(move || call!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time))
        },
    },
    Row { name: "open_ns_time", rounds: 1_000, prepare: || repeated(open_and_close) },
    Row { name: "write_offsets", rounds: 1_000, prepare: write_offsets },
    Row {
        name: "unshare_time",
        rounds: 1_000,
        prepare: || repeated(|| call!(libc::SYS_unshare, CLONE_NEWTIME)),
    },
    Row { name: "setns_time", rounds: 1_000, prepare: || back_and_forth(false) },
    Row { name: "setns_time_and_read", rounds: 1_000, prepare: || back_and_forth(true) },
    Row { name: "page_fault", rounds: 2_000, prepare: page_faults },
    Row { name: "mmap_touch_munmap", rounds: 500, prepare: || repeated(mmap_touch_munmap) },
    Row { name: "signal", rounds: 1_000, prepare: signal },
];

/// Work that makes one call a round.
fn repeated(mut one: impl FnMut() -> Result<usize, Errno> + 'static) -> Result<Work, Errno> {
    Ok(Box::new(move |rounds| {
        for _ in 0..rounds {
            one()?;
        }
        Ok(())
    }))
}

fn open_and_close() -> Result<usize, Errno> {
    let descriptor = call!(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/ns/time", libc::O_RDONLY)?;
    call!(libc::SYS_close, descriptor)
}

/// The file stays open: what is measured is the write.
fn write_offsets() -> Result<Work, Errno> {
    namespace::unshare()?;
    let file = Descriptor::open(namespace::OFFSETS, libc::O_WRONLY)?;
    const TEXT: &[u8] = b"monotonic 86400 0\nboottime 604800 0\n";
    repeated(move || {
        let Descriptor(number) = &file;
        call!(libc::SYS_write, *number, TEXT.as_ptr(), TEXT.len())
    })
}

/// From one namespace to another and back again, a round for each way; with the first reading of a clock there, which
/// finds the pages of the vDSO's data taken away.
fn back_and_forth(reads: bool) -> Result<Work, Errno> {
    let here = Descriptor::open(namespace::TIME, libc::O_RDONLY)?;
    namespace::unshare()?;
    namespace::set_offsets(Offsets { monotonic: 1_000_000_000, boottime: 1_000_000_000 })?;
    let there = Descriptor::open(namespace::TIME_FOR_CHILDREN, libc::O_RDONLY)?;
    let read = super::clocks::vdso_reader()?;
    let mut time = ZERO;
    Ok(Box::new(move |rounds| {
        for round in 0..rounds {
            let way = if round % 2 == 0 { &there } else { &here };
            call!(libc::SYS_setns, way.0, CLONE_NEWTIME)?;
            if reads {
                black_box(read(libc::CLOCK_MONOTONIC, &mut time));
            }
        }
        Ok(())
    }))
}

const PAGE: usize = 4096;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn map(length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_mmap, 0usize, length, READ_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
}

/// Writes to a page nobody has touched. Every batch has fresh ones; what mapping them costs is spread over all.
fn page_faults() -> Result<Work, Errno> {
    Ok(Box::new(|rounds| {
        let length = rounds as usize * PAGE;
        let start = map(length)?;
        for page in 0..rounds as usize {
            // SAFETY: within the mapping just made, which nothing else knows.
            unsafe { std::ptr::write_volatile((start + page * PAGE) as *mut u8, 1) };
        }
        call!(libc::SYS_munmap, start, length).map(|_| ())
    }))
}

fn mmap_touch_munmap() -> Result<usize, Errno> {
    let page = map(PAGE)?;
    // SAFETY: the page just mapped, which nothing else knows.
    unsafe { std::ptr::write_volatile(page as *mut u8, 1) };
    call!(libc::SYS_munmap, page, PAGE)
}

extern "C" fn nothing(_signal: i32) {}

/// kill(2) of oneself, a handler that does nothing, and the return from it.
fn signal() -> Result<Work, Errno> {
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, nothing as *const () as usize) };
    let own = call!(libc::SYS_getpid)?;
    repeated(move || call!(libc::SYS_kill, own, libc::SIGUSR1))
}
