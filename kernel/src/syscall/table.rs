//! The table of system calls: one line a call, and everything that is known of calls comes from it.
//!
//! A line says: its number, its name (a man page in section 2), whether it may wait (`wait`) or is over at once (`now`),
//! its handler with the count of arguments it takes, and what of it is supported; nothing there means all. From these lines
//! come the dispatch, the names in traces, the counts in `/proc/gnomon_syscalls` and the page of supported calls. (The page's
//! maker reads this file: the kernel itself does not carry the remarks.)
//!
//! There are two dispatches. Calls that are over at once are an array of thin functions, an adapter each, so that the
//! shortest call pays for nothing but itself. Calls that may wait are a `match`: each handler is a future of its own type,
//! and the match lets the compiler lay all of them out in the task's one future, without a box for each call. Some are
//! mostly over at once and sometimes wait; these have two handlers, `now FIRST | SECOND`: the second is called when the
//! first says that it would have to wait, and has done nothing yet.

use super::{
    Argument, Caller, adjusting, attributes, clocks, descriptors, epoll, file_copies, file_io, file_locks,
    file_space, futex, identity, machine, memory, metadata, mounting, namespaces, paths, polling, prctl,
    process, remote_memory, resources, scheduling, signals, socket_messages, sockets, timer_files, timers,
};
use crate::{
    abi::{Errno, Result},
    arch::UserMode,
    task::serve::encoded,
};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One more than the highest number in the table.
const NUMBERS: usize = 470;

/// What the table says of one call.
pub struct Row {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
}

/// How often each call was made, by number, since boot.
static COUNTS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];

/// The unknown numbers already logged, a bit each: a program that probes should not flood the log.
static UNKNOWN_LOGGED: [AtomicU64; NUMBERS.div_ceil(64)] =
    [const { AtomicU64::new(0) }; NUMBERS.div_ceil(64)];

/// Calls with their counts, in the table's order.
pub fn call_counts() -> impl Iterator<Item = (&'static Row, u64)> {
    ROWS.iter().map(|row| (row, COUNTS[row.number].load(Relaxed)))
}

macro_rules! invoke {
    (now $handler:path, 0, $caller:ident, $a:ident) => {
        $handler($caller)
    };
    (now $handler:path, 1, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]))
    };
    (now $handler:path, 2, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]))
    };
    (now $handler:path, 3, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]))
    };
    (now $handler:path, 4, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]))
    };
    (now $handler:path, 5, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]), get($a[4]))
    };
    (now $handler:path, 6, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]), get($a[4]), get($a[5]))
    };
}

/// A call that is over at once, from the caller's registers to the result register.
type Adapter = fn(&mut Caller<'_>) -> isize;

/// The adapter of one row; those that only wait share one.
macro_rules! adapter {
    (now $handler:path, $count:tt) => {
        |caller| {
            let _arguments = caller.user.arguments();
            encoded(invoke!(now $handler, $count, caller, _arguments))
        }
    };
    (wait $handler:path, $count:tt) => { would_wait };
}

/// One row's arm among those that may wait; the others are never asked for there.
macro_rules! waiting {
    (now $handler:path, $count:tt, $caller:ident, $a:ident) => { Err(Errno::ENOSYS) };
    (now $now:path | $handler:path, $count:tt, $caller:ident, $a:ident) => { invoke!(now $handler, $count, $caller, $a).await };
    (wait $handler:path, $count:tt, $caller:ident, $a:ident) => { invoke!(now $handler, $count, $caller, $a).await };
}

macro_rules! table {
    ($($number:literal $name:ident $kind:ident $handler:path $(| $waits:path)?, $count:tt, $support:literal;)*) => {
        /// Every call there is, in the order of their numbers.
        pub static ROWS: &[Row] =
            &[$(Row { number: $number, name: stringify!($name) }),*];

        /// Those that are over at once, by number.
        static ADAPTERS: [Adapter; NUMBERS] = {
            let mut adapters: [Adapter; NUMBERS] = [would_wait; NUMBERS];
            $(adapters[$number] = adapter!($kind $handler, $count);)*
            adapters
        };

        /// Makes a system call that may wait, or that is not there.
        pub async fn wait(caller: &mut Caller<'_>, number: usize) -> Result<usize> {
            let arguments = caller.user.arguments();
            match number {
                $($number => waiting!($kind $handler $(| $waits)?, $count, caller, arguments),)*
                _ => Err(unknown(number, caller)),
            }
        }
    };
}

/// Makes a system call that is over at once; the others say that they would wait.
#[inline(always)]
pub fn now(caller: &mut Caller<'_>, number: usize) -> isize {
    let (Some(adapter), Some(count)) = (ADAPTERS.get(number), COUNTS.get(number)) else {
        return would_wait(caller);
    };
    count.store(count.load(Relaxed) + 1, Relaxed);
    adapter(caller)
}

fn would_wait(_caller: &mut Caller<'_>) -> isize {
    Errno::WOULD_WAIT.to_result()
}

fn get<T: Argument>(register: usize) -> T {
    T::from_register(register)
}

#[cold]
fn unknown(number: usize, caller: &Caller<'_>) -> Errno {
    if let Some(logged) = UNKNOWN_LOGGED.get(number / 64) {
        let bit = 1 << (number % 64);
        if logged.fetch_or(bit, Relaxed) & bit == 0 {
            log::debug!("{}: system call {number} is not there", caller.task.name());
        }
    }
    Errno::ENOSYS
}

table! {
    0 read now file_io::read_now | file_io::read, 3, "";
    1 write now file_io::write_now | file_io::write, 3, "";
    2 open wait paths::open, 3, "not O_TMPFILE";
    3 close now descriptors::close, 1, "";
    4 stat now metadata::stat, 2, "";
    5 fstat now metadata::fstat, 2, "";
    6 lstat now metadata::lstat, 2, "";
    7 poll wait polling::poll, 3, "";
    8 lseek now file_io::lseek, 3, "";
    9 mmap wait memory::mmap, 6, "no huge pages, no MAP_SYNC";
    10 mprotect now memory::mprotect, 3, "";
    11 munmap now memory::munmap, 2, "";
    12 brk wait memory::brk, 1, "";
    13 rt_sigaction now signals::rt_sigaction, 4, "";
    14 rt_sigprocmask now signals::rt_sigprocmask, 4, "";
    15 rt_sigreturn now signals::rt_sigreturn, 0, "";
    16 ioctl now descriptors::ioctl, 3, "terminals, pipes, sockets, namespaces, FIOCLEX, FIONBIO";
    17 pread64 now file_io::pread64, 4, "";
    18 pwrite64 now file_io::pwrite64, 4, "";
    19 readv wait file_io::readv, 3, "";
    20 writev wait file_io::writev, 3, "";
    21 access now metadata::access, 2, "";
    22 pipe now descriptors::pipe, 1, "";
    23 select wait polling::select, 5, "";
    24 sched_yield wait scheduling::sched_yield, 0, "";
    25 mremap wait memory::mremap, 5, "one region at a time";
    26 msync now memory::msync, 3, "";
    27 mincore now memory::mincore, 3, "";
    28 madvise wait memory::madvise, 3, "no huge or merged pages, no REMOVE, no guard pages";
    32 dup now descriptors::dup, 1, "";
    33 dup2 now descriptors::dup2, 2, "";
    34 pause wait signals::pause, 0, "";
    35 nanosleep wait clocks::nanosleep, 2, "";
    36 getitimer now timers::getitimer, 2, "";
    37 alarm now timers::alarm, 1, "";
    38 setitimer now timers::setitimer, 3, "";
    39 getpid now process::getpid, 0, "";
    40 sendfile wait file_copies::sendfile, 4, "";
    41 socket now sockets::socket, 3, "AF_UNIX: SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET; else EAFNOSUPPORT";
    42 connect wait sockets::connect, 3, "";
    43 accept wait sockets::accept, 3, "";
    44 sendto wait socket_messages::sendto, 6, "no MSG_OOB";
    45 recvfrom wait socket_messages::recvfrom, 6, "no MSG_OOB";
    46 sendmsg wait socket_messages::sendmsg, 3, "SCM_RIGHTS, SCM_CREDENTIALS; no MSG_OOB";
    47 recvmsg wait socket_messages::recvmsg, 3, "SCM_RIGHTS, SCM_CREDENTIALS; no MSG_OOB";
    48 shutdown now sockets::shutdown, 2, "";
    49 bind now sockets::bind, 3, "";
    50 listen now sockets::listen, 2, "";
    51 getsockname now sockets::getsockname, 3, "";
    52 getpeername now sockets::getpeername, 3, "";
    53 socketpair now sockets::socketpair, 4, "AF_UNIX";
    54 setsockopt now sockets::setsockopt, 5, "SO_PASSCRED, SO_SNDBUF, SO_RCVBUF, SO_SNDTIMEO, SO_RCVTIMEO; else ENOPROTOOPT";
    55 getsockopt now sockets::getsockopt, 5, "those, and SO_TYPE, SO_ERROR, SO_PEERCRED and the like";
    56 clone wait process::clone, 5, "time and user namespaces; no tracing, no control groups";
    57 fork wait process::fork, 0, "";
    58 vfork wait process::vfork, 0, "";
    59 execve wait process::execve, 3, "";
    60 exit now process::exit, 1, "";
    61 wait4 wait process::wait4, 4, "";
    62 kill now signals::kill, 2, "";
    63 uname now machine::uname, 1, "";
    72 fcntl wait descriptors::fcntl, 3, "not leases, signals, F_SEAL_EXEC";
    73 flock wait file_locks::flock, 2, "";
    74 fsync now file_space::fsync, 1, "";
    75 fdatasync now file_space::fsync, 1, "";
    76 truncate now paths::truncate, 2, "";
    77 ftruncate now file_space::ftruncate, 2, "";
    79 getcwd now paths::getcwd, 2, "";
    80 chdir now paths::chdir, 1, "";
    81 fchdir now paths::fchdir, 1, "";
    82 rename now paths::rename, 2, "";
    83 mkdir now paths::mkdir, 2, "";
    84 rmdir now paths::rmdir, 1, "";
    85 creat wait paths::creat, 2, "";
    86 link now paths::link, 2, "";
    87 unlink now paths::unlink, 1, "";
    88 symlink now paths::symlink, 2, "";
    89 readlink now paths::readlink, 3, "";
    90 chmod now metadata::chmod, 2, "";
    91 fchmod now metadata::fchmod, 2, "";
    92 chown now metadata::chown, 3, "";
    93 fchown now metadata::fchown, 3, "";
    94 lchown now metadata::lchown, 3, "";
    95 umask now paths::umask, 1, "";
    96 gettimeofday now clocks::gettimeofday, 2, "";
    97 getrlimit now resources::getrlimit, 2, "";
    98 getrusage now resources::getrusage, 2, "";
    99 sysinfo now machine::sysinfo, 1, "load averages are the present number";
    100 times now resources::times, 1, "";
    101 ptrace now process::ptrace, 0, "always EPERM";
    102 getuid now identity::getuid, 0, "";
    104 getgid now identity::getgid, 0, "";
    105 setuid now identity::setuid, 1, "";
    106 setgid now identity::setgid, 1, "";
    107 geteuid now identity::geteuid, 0, "";
    108 getegid now identity::getegid, 0, "";
    109 setpgid now process::setpgid, 2, "";
    110 getppid now process::getppid, 0, "";
    111 getpgrp now process::getpgrp, 0, "";
    112 setsid now process::setsid, 0, "";
    113 setreuid now identity::setreuid, 2, "";
    114 setregid now identity::setregid, 2, "";
    115 getgroups now identity::getgroups, 2, "";
    116 setgroups now identity::setgroups, 2, "";
    117 setresuid now identity::setresuid, 3, "";
    118 getresuid now identity::getresuid, 3, "";
    119 setresgid now identity::setresgid, 3, "";
    120 getresgid now identity::getresgid, 3, "";
    121 getpgid now process::getpgid, 1, "";
    122 setfsuid now identity::setfsuid, 1, "";
    123 setfsgid now identity::setfsgid, 1, "";
    124 getsid now process::getsid, 1, "";
    125 capget now identity::capget, 2, "";
    126 capset now identity::capset, 2, "";
    127 rt_sigpending now signals::rt_sigpending, 2, "";
    128 rt_sigtimedwait wait signals::rt_sigtimedwait, 4, "";
    129 rt_sigqueueinfo now signals::rt_sigqueueinfo, 3, "";
    130 rt_sigsuspend wait signals::rt_sigsuspend, 2, "";
    131 sigaltstack now signals::sigaltstack, 2, "";
    132 utime now metadata::utime, 2, "";
    133 mknod now paths::mknod, 3, "";
    135 personality now resources::personality, 1, "ADDR_NO_RANDOMIZE; others kept and reported";
    137 statfs now metadata::statfs, 2, "";
    138 fstatfs now metadata::fstatfs, 2, "";
    140 getpriority now scheduling::getpriority, 2, "";
    141 setpriority now scheduling::setpriority, 3, "";
    142 sched_setparam now scheduling::sched_setparam, 2, "";
    143 sched_getparam now scheduling::sched_getparam, 2, "";
    144 sched_setscheduler now scheduling::sched_setscheduler, 3, "no SCHED_DEADLINE";
    145 sched_getscheduler now scheduling::sched_getscheduler, 1, "";
    146 sched_get_priority_max now scheduling::sched_get_priority_max, 1, "";
    147 sched_get_priority_min now scheduling::sched_get_priority_min, 1, "";
    148 sched_rr_get_interval now scheduling::sched_rr_get_interval, 2, "";
    149 mlock wait memory::mlock, 2, "";
    150 munlock now memory::munlock, 2, "";
    151 mlockall wait memory::mlockall, 1, "";
    152 munlockall now memory::munlockall, 0, "";
    157 prctl now prctl::prctl, 5, "the options in its file";
    158 arch_prctl now prctl::arch_prctl, 2, "segment bases, CPUID, ARCH_MAP_VDSO_64";
    159 adjtimex now adjusting::adjtimex, 1, "no leap seconds, no pulses, no STA_FLL";
    160 setrlimit now resources::setrlimit, 2, "";
    161 chroot now paths::chroot, 1, "";
    162 sync now file_space::sync, 0, "";
    164 settimeofday now clocks::settimeofday, 2, "";
    165 mount now mounting::mount, 5, "proc, tmpfs, devtmpfs, sysfs; bind, move, remount";
    166 umount2 now mounting::umount2, 2, "";
    169 reboot now machine::reboot, 3, "";
    170 sethostname now machine::sethostname, 2, "";
    171 setdomainname now machine::setdomainname, 2, "";
    186 gettid now process::gettid, 0, "";
    188 setxattr now attributes::setxattr, 1, "EOPNOTSUPP";
    189 lsetxattr now attributes::lsetxattr, 1, "EOPNOTSUPP";
    190 fsetxattr now attributes::fsetxattr, 1, "EOPNOTSUPP";
    191 getxattr now attributes::getxattr, 2, "ENODATA";
    192 lgetxattr now attributes::lgetxattr, 2, "ENODATA";
    193 fgetxattr now attributes::fgetxattr, 2, "ENODATA";
    194 listxattr now attributes::listxattr, 1, "none";
    195 llistxattr now attributes::llistxattr, 1, "none";
    196 flistxattr now attributes::flistxattr, 1, "none";
    197 removexattr now attributes::setxattr, 1, "EOPNOTSUPP";
    198 lremovexattr now attributes::lsetxattr, 1, "EOPNOTSUPP";
    199 fremovexattr now attributes::fsetxattr, 1, "EOPNOTSUPP";
    200 tkill now signals::tkill, 2, "";
    201 time now clocks::time, 1, "";
    202 futex now futex::futex_now | futex::futex, 6, "";
    203 sched_setaffinity now scheduling::sched_setaffinity, 3, "";
    204 sched_getaffinity now scheduling::sched_getaffinity, 3, "";
    213 epoll_create now epoll::epoll_create, 1, "";
    217 getdents64 now descriptors::getdents64, 3, "";
    218 set_tid_address now process::set_tid_address, 1, "";
    219 restart_syscall wait signals::restart_syscall, 0, "";
    221 fadvise64 now file_space::fadvise64, 4, "no effect";
    222 timer_create now timers::timer_create, 3, "no alarm clocks";
    223 timer_settime now timers::timer_settime, 4, "";
    224 timer_gettime now timers::timer_gettime, 2, "";
    225 timer_getoverrun now timers::timer_getoverrun, 1, "";
    226 timer_delete now timers::timer_delete, 1, "";
    227 clock_settime now clocks::clock_settime, 2, "CLOCK_REALTIME";
    228 clock_gettime now clocks::clock_gettime, 2, "";
    229 clock_getres now clocks::clock_getres, 2, "";
    230 clock_nanosleep wait clocks::clock_nanosleep, 4, "";
    231 exit_group now process::exit_group, 1, "";
    232 epoll_wait wait epoll::epoll_wait, 4, "";
    233 epoll_ctl now epoll::epoll_ctl, 4, "EPOLLEXCLUSIVE wakes all";
    234 tgkill now signals::tgkill, 3, "";
    235 utimes now metadata::utimes, 2, "";
    247 waitid wait process::waitid, 5, "";
    251 ioprio_set now scheduling::ioprio_set, 3, "kept and reported";
    252 ioprio_get now scheduling::ioprio_get, 2, "";
    257 openat wait paths::openat, 4, "not O_TMPFILE";
    258 mkdirat now paths::mkdirat, 3, "";
    259 mknodat now paths::mknodat, 4, "";
    260 fchownat now metadata::fchownat, 5, "";
    261 futimesat now metadata::futimesat, 3, "";
    262 newfstatat now metadata::newfstatat, 4, "";
    263 unlinkat now paths::unlinkat, 3, "";
    264 renameat now paths::renameat, 4, "";
    265 linkat now paths::linkat, 5, "";
    266 symlinkat now paths::symlinkat, 3, "";
    267 readlinkat now paths::readlinkat, 4, "";
    268 fchmodat now metadata::fchmodat, 3, "";
    269 faccessat now metadata::faccessat, 3, "";
    270 pselect6 wait polling::pselect6, 6, "";
    271 ppoll wait polling::ppoll, 5, "";
    272 unshare now namespaces::unshare, 1, "time and user namespaces; FS, FILES";
    273 set_robust_list now futex::set_robust_list, 2, "";
    274 get_robust_list now futex::get_robust_list, 3, "";
    280 utimensat now metadata::utimensat, 4, "";
    281 epoll_pwait wait epoll::epoll_pwait, 6, "";
    282 signalfd now signals::signalfd, 3, "";
    283 timerfd_create now timer_files::timerfd_create, 2, "";
    284 eventfd now descriptors::eventfd, 1, "";
    285 fallocate now file_space::fallocate, 4, "mode 0, KEEP_SIZE, PUNCH_HOLE";
    286 timerfd_settime now timer_files::timerfd_settime, 4, "";
    287 timerfd_gettime now timer_files::timerfd_gettime, 2, "";
    288 accept4 wait sockets::accept4, 4, "";
    289 signalfd4 now signals::signalfd4, 4, "";
    290 eventfd2 now descriptors::eventfd2, 2, "";
    291 epoll_create1 now epoll::epoll_create1, 1, "";
    292 dup3 now descriptors::dup3, 3, "";
    293 pipe2 now descriptors::pipe2, 2, "";
    295 preadv now file_io::preadv, 4, "";
    296 pwritev now file_io::pwritev, 4, "";
    297 rt_tgsigqueueinfo now signals::rt_tgsigqueueinfo, 4, "";
    302 prlimit64 now resources::prlimit64, 4, "";
    303 name_to_handle_at now mounting::name_to_handle_at, 5, "namespaces";
    305 clock_adjtime now adjusting::clock_adjtime, 2, "CLOCK_REALTIME";
    306 syncfs now file_space::syncfs, 1, "";
    308 setns now namespaces::setns, 2, "time and user namespaces, by nsfs file and by pidfd";
    309 getcpu now scheduling::getcpu, 2, "";
    310 process_vm_readv wait remote_memory::process_vm_readv, 6, "";
    311 process_vm_writev wait remote_memory::process_vm_writev, 6, "";
    314 sched_setattr now scheduling::sched_setattr, 3, "no SCHED_DEADLINE";
    315 sched_getattr now scheduling::sched_getattr, 4, "";
    316 renameat2 now paths::renameat2, 5, "not RENAME_WHITEOUT";
    317 seccomp now process::seccomp, 0, "always EINVAL";
    318 getrandom now machine::getrandom, 3, "";
    319 memfd_create now descriptors::memfd_create, 2, "no huge pages, no MFD_NOEXEC_SEAL";
    322 execveat wait process::execveat, 5, "";
    324 membarrier now scheduling::membarrier, 2, "private and global, not for one core";
    325 mlock2 wait memory::mlock2, 3, "";
    326 copy_file_range wait file_copies::copy_file_range, 6, "";
    327 preadv2 wait file_io::preadv2, 6, "flags that ask for nothing special";
    328 pwritev2 wait file_io::pwritev2, 6, "flags that ask for nothing special";
    332 statx now metadata::statx, 5, "";
    424 pidfd_send_signal now signals::pidfd_send_signal, 4, "";
    434 pidfd_open now process::pidfd_open, 2, "";
    435 clone3 wait process::clone3, 2, "time and user namespaces";
    436 close_range now descriptors::close_range, 3, "";
    437 openat2 wait paths::openat2, 4, "not RESOLVE_CACHED";
    438 pidfd_getfd now process::pidfd_getfd, 3, "";
    439 faccessat2 now metadata::faccessat2, 4, "";
    441 epoll_pwait2 wait epoll::epoll_pwait2, 6, "";
    449 futex_waitv wait futex::futex_waitv, 5, "";
    452 fchmodat2 now metadata::fchmodat2, 4, "";
    454 futex_wake now futex::futex_wake, 4, "";
    455 futex_wait wait futex::futex_wait, 6, "";
    456 futex_requeue now futex::futex_requeue, 4, "";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_without_repetition() {
        assert!(ROWS.is_sorted_by(|a, b| a.number < b.number));
        assert!(ROWS.iter().all(|row| row.number < NUMBERS));
    }
}
