//! Error numbers: the reasons a system call gives for failing, errno(3).

use core::fmt;
use linux_raw_sys::errno as raw;

/// What everything that can fail on a program's account returns.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

/// An error number, 1 to 4095. The numbers from 512 on never leave the kernel: they tell the return path how an
/// interrupted call is to be restarted, signal(7), or that one has not been made yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident)*) => {
        #[allow(missing_docs, reason = "errno(3) describes them")]
        impl Errno {
            $(pub const $name: Self = Self(raw::$name as u16);)*
        }
        const NAMES: &[(Errno, &str)] = &[$((Errno::$name, stringify!($name)),)*];
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
    ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA EOVERFLOW EUSERS ENOTSOCK EOPNOTSUPP EAFNOSUPPORT EADDRINUSE
    ECONNREFUSED ECONNRESET ENOTCONN EISCONN EDESTADDRREQ EMSGSIZE EPROTOTYPE EPROTONOSUPPORT ESOCKTNOSUPPORT ETIMEDOUT
    ENOPROTOOPT ENOBUFS ETOOMANYREFS EALREADY EINPROGRESS ESTALE ECANCELED EOWNERDEAD ENOTRECOVERABLE ELIBBAD
}

impl Errno {
    /// Interrupted by a signal: restart if its handler has SA_RESTART, else EINTR.
    pub const ERESTARTSYS: Self = Self(512);
    /// Interrupted: always restart, with the same arguments.
    pub const ERESTARTNOINTR: Self = Self(513);
    /// Interrupted: restart only if no handler ran, else EINTR.
    pub const ERESTARTNOHAND: Self = Self(514);
    /// Interrupted: continue through restart_syscall(2) if no handler ran, else EINTR.
    pub const ERESTART_RESTARTBLOCK: Self = Self(516);

    /// The call cannot be over at once: it is to be made anew as one that may wait.
    pub const WOULD_WAIT: Self = Self(517);
    /// The call has no result: it left the registers as they are to be.
    pub const NO_RESULT: Self = Self(518);

    /// The error of this number, whether or not it has a name.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// What a system call leaves in its result register: the number, negated.
    pub const fn to_result(self) -> isize {
        -(self.0 as isize)
    }

    /// Names the rule that this failure enforces. The rule goes to the log at its finest level, where it explains a
    /// refusal to whoever looks; the number goes to the program.
    pub fn because(self, rule: &str) -> Self {
        log::trace!(target: "refusal", "{self:?}: {rule}");
        self
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(errno, _)| errno == self) {
            Some((_, name)) => formatter.write_str(name),
            None => write!(formatter, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
