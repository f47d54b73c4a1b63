//! A stack for handlers only, sigaltstack(2): how a program survives the overflow of its own.

use crate::abi::{Errno, Result, linux};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `stack_t`
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserStack {
    /// Its lowest address.
    pub base: usize,
    /// SS_ flags.
    pub flags: u32,
    padding: u32,
    /// Bytes.
    pub size: usize,
}

/// A thread's alternate stack; of size 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AlternateStack {
    base: usize,
    size: usize,
    /// SS_AUTODISARM, given up while a handler runs, so that the handler may switch stacks; or nothing.
    mode: u64,
}

impl AlternateStack {
    fn disarms(&self) -> bool {
        self.mode != 0
    }

    /// Whether this stack pointer is on it. With SS_AUTODISARM the answer is always no: then nobody is on it that knows.
    pub fn is_used_by(&self, stack_pointer: usize) -> bool {
        // Most threads have none, which is told by one look.
        self.size != 0
            && !self.disarms()
            && stack_pointer > self.base
            && stack_pointer - self.base <= self.size
    }

    /// Whether the bytes from `lowest` up to its end are all within it.
    pub fn holds(&self, lowest: usize) -> bool {
        lowest > self.base && lowest - self.base <= self.size
    }

    /// Where a handler's stack begins, if there is one and `stack_pointer` is not on it already.
    pub fn top_for(&self, stack_pointer: usize) -> Option<usize> {
        (self.size != 0 && !self.is_used_by(stack_pointer)).then(|| self.base.wrapping_add(self.size))
    }

    /// A handler starts: it is given up until that returns, if it is of that kind.
    pub fn disarm(&mut self) {
        if self.disarms() {
            *self = Self::default();
        }
    }

    /// A handler has returned: it is what the frame says, unless sigaltstack(2) would refuse that.
    #[inline]
    pub fn restore(&mut self, saved: UserStack, stack_pointer: usize) {
        // Nearly always it is so already.
        let is_as_saved = (saved.base, saved.size) == (self.base, self.size)
            && saved.flags & !linux::SS_ONSTACK == self.flags();
        if !is_as_saved {
            *self = self.changed(saved, stack_pointer).unwrap_or(*self);
        }
    }

    /// As programs see it, apart from whether it is in use.
    fn flags(&self) -> u32 {
        if self.size == 0 { linux::SS_DISABLE } else { self.mode as u32 }
    }

    /// As sigaltstack(2) and signal frames show it.
    pub fn for_user(&self, stack_pointer: usize) -> UserStack {
        let used = if self.is_used_by(stack_pointer) { linux::SS_ONSTACK } else { 0 };
        UserStack { base: self.base, flags: self.flags() | used, padding: 0, size: self.size }
    }

    /// What sigaltstack(2) makes of `wanted`, for a caller with this stack pointer.
    ///
    /// Errors, in this order: EPERM while it is in use; EINVAL for unknown flags; ENOMEM below MINSIGSTKSZ.
    pub fn changed(&self, wanted: UserStack, stack_pointer: usize) -> Result<Self> {
        if self.is_used_by(stack_pointer) {
            return Err(Errno::EPERM.because("the alternate stack cannot be changed from on it"));
        }
        let mode = wanted.flags & !linux::SS_AUTODISARM;
        match mode {
            linux::SS_DISABLE => return Ok(Self::default()),
            0 | linux::SS_ONSTACK => {}
            _ => {
                return Err(
                    Errno::EINVAL.because("an alternate stack has the flags SS_AUTODISARM, SS_DISABLE only")
                );
            }
        }
        if wanted.size < linux::MINSIGSTKSZ as usize {
            return Err(Errno::ENOMEM.because("an alternate stack has at least MINSIGSTKSZ bytes"));
        }
        Ok(Self { base: wanted.base, size: wanted.size, mode: (wanted.flags & linux::SS_AUTODISARM).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(flags: u32, size: usize) -> UserStack {
        UserStack { base: 0x10000, flags, size, ..UserStack::default() }
    }

    #[test]
    fn laid_out_as_linux_does() {
        use crate::abi::linux::stack_t;
        assert_eq!(size_of::<UserStack>(), size_of::<stack_t>());
        assert_eq!(core::mem::offset_of!(UserStack, size), core::mem::offset_of!(stack_t, ss_size));
    }

    #[test]
    fn refusals() {
        let none = AlternateStack::default();
        assert_eq!(none.changed(stack(0, 2047), 0), Err(Errno::ENOMEM));
        assert_eq!(none.changed(stack(4, 8192), 0), Err(Errno::EINVAL));
        assert_eq!(none.for_user(0).flags, linux::SS_DISABLE);
        let some = none.changed(stack(0, 8192), 0).unwrap();
        assert_eq!(some.changed(stack(0, 8192), 0x10001), Err(Errno::EPERM));
        assert_eq!(
            some.changed(stack(linux::SS_DISABLE, 0), 0x10000).unwrap(),
            none,
            "just below is not on it"
        );
    }

    #[test]
    fn handlers_start_at_its_top_unless_one_is_on_it() {
        let some = AlternateStack::default().changed(stack(linux::SS_ONSTACK, 8192), 0).unwrap();
        assert_eq!((some.top_for(0x5000), some.top_for(0x12000)), (Some(0x12000), None));
        assert_eq!((some.for_user(0x5000).flags, some.for_user(0x11000).flags), (0, linux::SS_ONSTACK));
        let disarms = AlternateStack::default().changed(stack(linux::SS_AUTODISARM, 8192), 0).unwrap();
        assert_eq!(disarms.top_for(0x11000), Some(0x12000));
    }

    #[test]
    fn some_are_given_up_for_as_long_as_a_handler_runs() {
        for (flags, during) in [(0, 8192), (linux::SS_AUTODISARM, 0)] {
            let before = AlternateStack::default().changed(stack(flags, 8192), 0).unwrap();
            let (saved, mut own) = (before.for_user(0x5000), before);
            own.disarm();
            assert_eq!(own.size, during);
            own.restore(saved, 0x5000);
            assert_eq!(own, before);
            // The handler has changed what the frame says: to something else, and to what is refused.
            own.restore(stack(flags, 4096), 0x5000);
            assert_eq!(own.size, 4096);
            own.restore(stack(flags, 2047), 0x5000);
            assert_eq!(own.size, 4096);
            own.restore(stack(linux::SS_DISABLE, 4096), 0x5000);
            assert_eq!(own, AlternateStack::default());
        }
    }
}
