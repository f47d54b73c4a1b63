//! The x87, SSE and AVX registers of a program: where they are kept while another program has the processor.
//!
//! The kernel is built without floating point, so a program's values stay in the registers while the kernel works for it,
//! and memory is written only when another program gets the processor or somebody asks for them (a signal, a fork). On
//! the way back they are loaded at once. (Loading at the first use, by a trap, was long usual; it costs more now that
//! every program's `memcpy` uses these registers, and it once leaked them between programs.)
//! The layout is that of XSAVE: [`xsave`].

use super::features::Features;
use crate::abi::{Errno, Result};
use crate::arch::xsave;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::{
    alloc::Layout,
    arch::asm,
    ptr::NonNull,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// XSAVE wants this alignment.
const ALIGNMENT: usize = 64;

/// Memory for one program's extended state.
pub struct ExtendedState(NonNull<u8>);

// SAFETY: it is plain memory, owned.
unsafe impl Send for ExtendedState {}

/// How many bytes there are, and which parts in them, as in XCR0; none without XSAVE. Each signal asks for them many times.
static SIZE: AtomicUsize = AtomicUsize::new(xsave::LEGACY_SIZE);
static PARTS: AtomicU64 = AtomicU64::new(0);

/// Says so, before the first program is made.
pub fn initialize(features: &Features) {
    SIZE.store(features.extended_state_size, Relaxed);
    PARTS.store(features.extended_state.bits(), Relaxed);
}

/// How many bytes there are.
#[inline(always)]
pub fn size() -> usize {
    SIZE.load(Relaxed)
}

/// The parts there are, as in XCR0; none without XSAVE.
#[inline(always)]
pub fn parts() -> u64 {
    PARTS.load(Relaxed)
}

fn layout() -> Layout {
    Layout::from_size_align(size(), ALIGNMENT).expect("CPUID tells a size that fits in memory")
}

impl ExtendedState {
    /// As the processor starts. Errors: ENOMEM.
    pub fn new() -> Result<Self> {
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout()) })
            .ok_or_else(|| Errno::ENOMEM.because("a thread's extended state lies in the kernel's heap"))?;
        let mut state = Self(memory);
        state.reset();
        Ok(state)
    }

    /// A copy. Errors: ENOMEM.
    pub fn duplicate(&self) -> Result<Self> {
        let mut copy = Self::new()?;
        copy.bytes_mut().copy_from_slice(self.bytes());
        Ok(copy)
    }

    /// What was stored last.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new` allocated and filled that many bytes.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr(), size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), size()) }
    }

    /// As the processor starts.
    pub fn reset(&mut self) {
        xsave::reset(self.bytes_mut());
    }

    /// Stores the processor's registers here; they stay valid there too.
    pub fn store(&mut self) {
        // SAFETY: the memory has the size and the alignment.
        unsafe { store(self.0.as_ptr()) };
    }

    /// Loads the processor's registers from here.
    pub fn load(&self) {
        // SAFETY: what is here was stored by the processor, or checked by `xsave::check` for all that it refuses.
        unsafe { load(self.0.as_ptr()) };
    }

    /// Takes over bytes that a program may have made up: FXSAVE's, or all. Errors: those of [`xsave::check`]; then nothing
    /// has changed.
    pub fn replace(&mut self, from: &[u8]) -> Result<()> {
        xsave::check(from, parts())?;
        let state = self.bytes_mut();
        state[..from.len()].copy_from_slice(from);
        xsave::complete(state, from.len());
        Ok(())
    }
}

/// Has the processor write its registers into `bytes`, if that is a place it can write to.
#[inline]
pub fn store_to(bytes: &mut [u8]) -> bool {
    let fits = is_fit(bytes);
    if fits {
        // Of XSAVE's header the processor writes the first word only.
        if let Some(header) = bytes[xsave::LEGACY_SIZE..].first_chunk_mut::<{ xsave::HEADER_SIZE }>() {
            *header = [0; xsave::HEADER_SIZE];
        }
        // SAFETY: it is as long and as aligned as the instruction wants.
        unsafe { store(bytes.as_mut_ptr()) };
    }
    fits
}

/// Has the processor read its registers from bytes that a program may have made up, if that is a place it can read all of
/// them from. Errors: those of [`xsave::check`]; then nothing has changed.
#[inline]
pub fn load_from(bytes: &[u8]) -> Result<bool> {
    let fits = is_fit(bytes);
    if fits {
        xsave::check(bytes, parts())?;
        // SAFETY: it is as long and as aligned as the instruction wants, and was checked for all that it refuses.
        unsafe { load(bytes.as_ptr()) };
    }
    Ok(fits)
}

fn is_fit(bytes: &[u8]) -> bool {
    bytes.len() == size() && bytes.as_ptr().addr().is_multiple_of(ALIGNMENT)
}

/// # Safety
/// There is room for [`size`] bytes, at a multiple of [`ALIGNMENT`].
unsafe fn store(memory: *mut u8) {
    let parts = parts();
    // SAFETY: as the caller says.
    unsafe {
        if parts == 0 {
            asm!("fxsave64 [{}]", in(reg) memory, options(nostack, preserves_flags));
        } else {
            let (low, high) = (parts as u32, (parts >> 32) as u32);
            asm!("xsave64 [{}]", in(reg) memory, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        }
    }
}

/// # Safety
/// There are [`size`] bytes that the processor would not refuse, at a multiple of [`ALIGNMENT`].
unsafe fn load(memory: *const u8) {
    let parts = parts();
    // SAFETY: as the caller says.
    unsafe {
        if parts == 0 {
            asm!("fxrstor64 [{}]", in(reg) memory, options(nostack, preserves_flags));
        } else {
            let (low, high) = (parts as u32, (parts >> 32) as u32);
            asm!("xrstor64 [{}]", in(reg) memory, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        }
    }
}

impl Drop for ExtendedState {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}
