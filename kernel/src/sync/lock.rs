//! A lock that spins: right for a kernel whose critical sections are short and never wait.
//!
//! Interrupts are off in the kernel, so there is no "interrupt-safe" kind. The guard cannot be sent to another CPU, so a
//! future that held one across an `.await` would not be `Send`, and the scheduler takes only those that are: "never wait
//! while holding a lock" is checked by the compiler.

use core::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

/// A value only one CPU at a time can reach. Say at the field what it guards and which locks may be taken inside it.
#[derive(Default)]
pub struct SpinLock<T: ?Sized>(spin::Mutex<T>);

/// The proof of holding a [`SpinLock`]; gives it back when dropped.
pub struct Guard<'a, T: ?Sized> {
    inner: spin::MutexGuard<'a, T>,
    stays_on_this_cpu: PhantomData<*mut ()>,
}

impl<T> SpinLock<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits, spinning, until the value is free. Taking it twice on one CPU never ends: see the orders at the fields.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        // Nearly always it is free, and one look is shorter than the loop.
        self.try_lock().unwrap_or_else(|| self.wait())
    }

    #[cold]
    fn wait(&self) -> Guard<'_, T> {
        Guard { inner: self.0.lock(), stays_on_this_cpu: PhantomData }
    }

    /// The value, if nobody holds it: for a panic, which must not wait.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.0.try_lock().map(|inner| Guard { inner, stays_on_this_cpu: PhantomData })
    }
}

impl<T: Clone> SpinLock<T> {
    /// A copy of the value: the usual way to use an `Arc` kept in a lock, so that the lock is held for no longer.
    pub fn get(&self) -> T {
        self.lock().clone()
    }
}

impl<T> SpinLock<T> {
    /// Puts a new value in; gives the old one back, which is thus dropped after the lock is.
    pub fn replace(&self, value: T) -> T {
        core::mem::replace(&mut *self.lock(), value)
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
