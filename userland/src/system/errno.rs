//! An error number with its name: what a system call answers when it refuses.
//!
//! A newtype over the number, not an enum: a kernel under test may answer with a number nobody expected, and that
//! too must be printable.

use std::fmt;

/// An error number as in errno(3), positive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! error_numbers {
    ($($name:ident)*) => {
        // All names, used here or not: whatever a kernel answers is to be printed by name.
        #[allow(missing_docs, dead_code)]
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }

        /// Every number known by name.
        const NAMES: &[(i32, &str)] = &[$((libc::$name, stringify!($name)),)*];
    };
}

error_numbers! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
    ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP EBADMSG EOVERFLOW EUSERS ENOTSOCK EOPNOTSUPP
    EADDRINUSE ETIMEDOUT ECONNREFUSED ESTALE ECANCELED EOWNERDEAD ENOTRECOVERABLE ELIBBAD ENODATA
}

impl Errno {
    /// The symbol, such as `EINVAL`, or "error N" for a number without one here.
    pub fn name(self) -> String {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => (*name).to_string(),
            None => format!("error {}", self.0),
        }
    }

    /// The C library's sentence for it, such as "Invalid argument".
    pub fn sentence(self) -> String {
        // SAFETY: strerror returns a NUL-terminated string that stays valid until the next call in this thread, and
        // it is copied at once.
        unsafe { std::ffi::CStr::from_ptr(libc::strerror(self.0)) }.to_string_lossy().into_owned()
    }

    /// The error number the C library left for this thread.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl From<std::io::Error> for Errno {
    /// Errors that `std` made up itself (no number) become EIO.
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}
