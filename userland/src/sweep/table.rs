//! What the arguments of a call are about, as far as a sweep should know: with numbers alone, nearly every call would end
//! at its first check.
//!
//! A call that is not here gets arguments of every kind by chance, so a call that a kernel gains is swept from its first
//! day, and finds its way in here when it has earned better. Calls without arguments need no line.

/// What an argument is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Any number at all, or anything below.
    Any,
    /// A descriptor; a directory's, or AT_FDCWD.
    Fd,
    Dir,
    /// A file's name; a text that is no name.
    Path,
    Text,
    /// Where the kernel reads or writes.
    Mem,
    /// How much of it; a place in a file.
    Len,
    Off,
    /// A number below 64, mostly below 8.
    Small,
    /// Permissions.
    Mode,
    /// A process or thread.
    Task,
    /// A user or group.
    User,
    Signal,
    Clock,
    /// An address in the room for mappings.
    Map,
    /// Where the kernel reads something that begins with these words.
    Words(&'static [u64]),
    /// The address of a UNIX socket, four bytes long.
    Name,
    /// One of these numbers.
    One(&'static [i32]),
    /// Some of these bits together.
    Bits(&'static [i32]),
}

use Kind::{
    Any, Bits, Clock, Dir, Fd, Len, Map, Mem, Mode, Name, Off, One, Path, Signal, Small, Task, Text, User,
    Words,
};

/// O_RDONLY and its like: access modes are bits like the others here.
const OPEN: Kind = Bits(&[
    libc::O_WRONLY,
    libc::O_RDWR,
    libc::O_CREAT,
    libc::O_CREAT,
    libc::O_EXCL,
    libc::O_TRUNC,
    libc::O_APPEND,
    libc::O_NONBLOCK,
    libc::O_DIRECTORY,
    libc::O_NOFOLLOW,
    libc::O_CLOEXEC,
    libc::O_PATH,
    libc::O_TMPFILE,
]);
const FILE_FLAGS: Kind = Bits(&[libc::O_NONBLOCK, libc::O_CLOEXEC, libc::O_DIRECT]);
const AT: Kind =
    Bits(&[libc::AT_SYMLINK_NOFOLLOW, libc::AT_REMOVEDIR, libc::AT_SYMLINK_FOLLOW, libc::AT_EMPTY_PATH]);
const PROTECTION: Kind =
    Bits(&[libc::PROT_READ, libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC, libc::PROT_GROWSDOWN]);
const MAP: Kind = Bits(&[
    libc::MAP_PRIVATE,
    libc::MAP_PRIVATE,
    libc::MAP_SHARED,
    libc::MAP_ANONYMOUS,
    libc::MAP_ANONYMOUS,
    libc::MAP_FIXED,
    libc::MAP_GROWSDOWN,
    libc::MAP_LOCKED,
    libc::MAP_POPULATE,
    libc::MAP_NORESERVE,
    libc::MAP_STACK,
    libc::MAP_FIXED_NOREPLACE,
    libc::MAP_HUGETLB,
]);
/// For clone, with a signal in the low byte.
const CLONE: Kind = Bits(&[
    libc::SIGCHLD,
    libc::SIGCHLD,
    libc::SIGUSR1,
    libc::CLONE_VM,
    libc::CLONE_FS,
    libc::CLONE_FILES,
    libc::CLONE_SIGHAND,
    libc::CLONE_PIDFD,
    libc::CLONE_VFORK,
    libc::CLONE_PARENT,
    libc::CLONE_THREAD,
    libc::CLONE_SYSVSEM,
    libc::CLONE_SETTLS,
    libc::CLONE_PARENT_SETTID,
    libc::CLONE_CHILD_CLEARTID,
    libc::CLONE_CHILD_SETTID,
    libc::CLONE_NEWUSER,
    0x80,
]);
const UNSHARE: Kind =
    Bits(&[libc::CLONE_FS, libc::CLONE_FILES, 0x80, 0x80, libc::CLONE_NEWUSER, libc::CLONE_NEWPID]);
const POLICY: Kind = One(&[0, 0, 1, 2, 3, 5, 6, 0x4000_0000, 0x4000_0001]);
/// Not those of a user: another user's priorities are no concern of a sweep's.
const WHOSE: Kind = One(&[libc::PRIO_PROCESS as i32, libc::PRIO_PGRP as i32]);
const WAIT: Kind = Bits(&[
    libc::WNOHANG,
    libc::WNOHANG,
    libc::WUNTRACED,
    libc::WEXITED,
    libc::WCONTINUED,
    libc::WNOWAIT,
    libc::__WALL,
]);
const FUTEX: Kind = One(&[0, 1, 128, 129, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 134, 135, 137, 138, 256, 265]);
const FCNTL: Kind = One(&[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1024, 1025, 1026, 1030, 1031, 1032, 1033, 1034,
]);
const IOCTL: Kind = One(&[
    0x5401,
    0x5402,
    0x5403,
    0x5404,
    0x540e,
    0x540f,
    0x5410,
    0x5413,
    0x5414,
    0x541b,
    0x5421,
    0x5422,
    0x5429,
    0x5450,
    0x5451,
    0x5452,
    0xb701,
    0xb702,
    0xb703,
    0xb704,
    0x8004_5430u32 as i32,
    0x4004_5431,
    0x80086601u32 as i32,
]);
const MOUNT: Kind = Bits(&[
    libc::MS_BIND as i32,
    libc::MS_BIND as i32,
    libc::MS_REC as i32,
    libc::MS_RDONLY as i32,
    libc::MS_REMOUNT as i32,
    libc::MS_MOVE as i32,
    libc::MS_NOEXEC as i32,
    libc::MS_PRIVATE as i32,
]);
const WHENCE: Kind = One(&[0, 1, 2, 3, 4]);
const TIMER_FLAGS: Kind = One(&[0, 0, 1, 3]);
const CREATE_FLAGS: Kind = Bits(&[libc::O_CLOEXEC, libc::O_NONBLOCK]);
const LIMIT: Kind = One(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const MASK_SIZE: Kind = One(&[8, 8, 8, 8, 4, 16, 128]);
const ADVICE: Kind = One(&[0, 1, 2, 3, 4, 4, 8, 9, 10, 11, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 100]);

/// For socket(2): mostly AF_UNIX, its three types with and without SOCK_NONBLOCK and SOCK_CLOEXEC, no protocol.
const FAMILY: Kind = One(&[1, 1, 1, 1, 2, 16]);
const SOCKET: Kind = One(&[1, 2, 5, 0x801, 0x802, 0x8_0005, 3, 0]);
const PROTOCOL: Kind = One(&[0, 0, 0, 1, 6]);
const NAME_LENGTH: Kind = One(&[4, 4, 4, 4, 2, 3, 110, 200]);
const MESSAGE: Kind = Bits(&[
    libc::MSG_DONTWAIT,
    libc::MSG_DONTWAIT,
    libc::MSG_PEEK,
    libc::MSG_TRUNC,
    libc::MSG_WAITALL,
    libc::MSG_OOB,
]);
const SOCKET_OPTION: Kind = One(&[2, 3, 4, 6, 7, 8, 9, 16, 17, 20, 21, 30, 39, 77]);
/// Regular files, by the numbers that [`super::values`] opens them under.
const REGULAR: Kind = One(&[3, 4]);
/// What a header of capset(2) begins with: _LINUX_CAPABILITY_VERSION_3.
const CAPABILITIES: Kind = Words(&[0x2008_0522]);

/// Calls of which no success can be counted, and why.
pub const UNCOUNTED: &[(i64, &str)] = &[
    (libc::SYS_execve, "does not return"),
    (libc::SYS_execveat, "does not return"),
    (libc::SYS_exit, "does not return"),
    (libc::SYS_rt_sigsuspend, "ends with EINTR"),
    (libc::SYS_futex_waitv, "waits for what only another thread of the same memory would do"),
    (libc::SYS_setxattr, "no file system has attributes"),
    (libc::SYS_getxattr, "no file has attributes"),
    (libc::SYS_fgetxattr, "no file has attributes"),
];

macro_rules! rows {
    ($($name:ident: $($kind:expr),*;)*) => {
        /// The calls by number, with what their arguments are.
        pub const ROWS: &[(i64, &[Kind])] = &[$((libc::$name, &[$($kind),*])),*];
    };
}

rows! {
    SYS_read: Fd, Mem, Len;
    SYS_write: Fd, Mem, Len;
    SYS_open: Path, OPEN, Mode;
    SYS_close: Fd;
    SYS_stat: Path, Mem;
    SYS_fstat: Fd, Mem;
    SYS_lstat: Path, Mem;
    SYS_poll: Mem, Small, Small;
    SYS_lseek: Fd, Off, WHENCE;
    SYS_mmap: Map, Len, PROTECTION, MAP, Fd, Off;
    SYS_mprotect: Map, Len, PROTECTION;
    SYS_munmap: Map, Len;
    SYS_brk: Any;
    SYS_rt_sigaction: Signal, Mem, Mem, MASK_SIZE;
    SYS_rt_sigprocmask: Small, Mem, Mem, MASK_SIZE;
    SYS_ioctl: Fd, IOCTL, Mem;
    SYS_pread64: Fd, Mem, Len, Off;
    SYS_pwrite64: Fd, Mem, Len, Off;
    SYS_readv: Fd, Mem, Small;
    SYS_writev: Fd, Mem, Small;
    SYS_access: Path, Small;
    SYS_pipe: Mem;
    SYS_select: Small, Mem, Mem, Mem, Mem;
    SYS_mremap: Map, Len, Len, Bits(&[1, 2, 4]), Map;
    SYS_msync: Map, Len, Bits(&[1, 2, 4]);
    SYS_mincore: Map, Len, Mem;
    SYS_madvise: Map, Len, ADVICE;
    SYS_dup: Fd;
    SYS_dup2: Fd, Fd;
    SYS_nanosleep: Mem, Mem;
    SYS_getitimer: Small, Mem;
    SYS_alarm: Small;
    SYS_setitimer: Small, Mem, Mem;
    SYS_sendfile: Fd, Fd, Mem, Len;
    SYS_socket: FAMILY, SOCKET, PROTOCOL;
    SYS_connect: Fd, Name, NAME_LENGTH;
    SYS_accept: Fd, Mem, Mem;
    SYS_sendto: Fd, Mem, Len, MESSAGE, Name, NAME_LENGTH;
    SYS_recvfrom: Fd, Mem, Len, MESSAGE, Mem, Mem;
    SYS_sendmsg: Fd, Mem, MESSAGE;
    SYS_recvmsg: Fd, Words(&[0; 7]), MESSAGE;
    SYS_shutdown: Fd, Small;
    SYS_bind: Fd, Name, NAME_LENGTH;
    SYS_listen: Fd, Small;
    SYS_getsockname: Fd, Mem, Mem;
    SYS_getpeername: Fd, Mem, Mem;
    SYS_socketpair: FAMILY, SOCKET, PROTOCOL, Mem;
    SYS_setsockopt: Fd, One(&[1, 1, 1, 0, 6]), SOCKET_OPTION, Mem, One(&[4, 4, 16, 0]);
    SYS_getsockopt: Fd, One(&[1, 1, 1, 0, 6]), SOCKET_OPTION, Mem, Words(&[16]);
    SYS_clone: CLONE, Mem, Mem, Mem, Mem;
    SYS_execve: Path, Mem, Mem;
    SYS_exit: Small;
    SYS_wait4: Task, Mem, WAIT, Mem;
    SYS_kill: Task, Signal;
    SYS_uname: Mem;
    SYS_fcntl: Fd, FCNTL, Mem;
    SYS_flock: Fd, Bits(&[1, 2, 4, 8]);
    SYS_fsync: Fd;
    SYS_truncate: Path, Off;
    SYS_ftruncate: Fd, Off;
    SYS_getcwd: Mem, Len;
    SYS_chdir: Path;
    SYS_fchdir: Fd;
    SYS_rename: Path, Path;
    SYS_mkdir: Path, Mode;
    SYS_rmdir: Path;
    SYS_creat: Path, Mode;
    SYS_link: Path, Path;
    SYS_unlink: Path;
    SYS_symlink: Path, Path;
    SYS_readlink: Path, Mem, Len;
    SYS_chmod: Path, Mode;
    SYS_fchmod: Fd, Mode;
    SYS_chown: Path, User, User;
    SYS_fchown: Fd, User, User;
    SYS_lchown: Path, User, User;
    SYS_umask: Mode;
    SYS_gettimeofday: Mem, Mem;
    SYS_getrlimit: LIMIT, Mem;
    SYS_getrusage: Small, Mem;
    SYS_sysinfo: Mem;
    SYS_times: Mem;
    SYS_setuid: User;
    SYS_setgid: User;
    SYS_setpgid: Task, Task;
    SYS_setreuid: User, User;
    SYS_setregid: User, User;
    SYS_getgroups: Small, Mem;
    SYS_setgroups: Small, Mem;
    SYS_setresuid: User, User, User;
    SYS_getresuid: Mem, Mem, Mem;
    SYS_setresgid: User, User, User;
    SYS_getresgid: Mem, Mem, Mem;
    SYS_getpgid: Task;
    SYS_setfsuid: User;
    SYS_setfsgid: User;
    SYS_getsid: Task;
    SYS_capget: CAPABILITIES, Mem;
    SYS_capset: CAPABILITIES, Mem;
    SYS_rt_sigpending: Mem, MASK_SIZE;
    SYS_rt_sigtimedwait: Mem, Mem, Mem, MASK_SIZE;
    SYS_rt_sigqueueinfo: Task, Signal, Mem;
    SYS_rt_sigsuspend: Mem, MASK_SIZE;
    SYS_sigaltstack: Mem, Mem;
    SYS_utime: Path, Mem;
    SYS_mknod: Path, Mode, Small;
    SYS_statfs: Path, Mem;
    SYS_fstatfs: Fd, Mem;
    SYS_getpriority: WHOSE, Task;
    SYS_setpriority: WHOSE, Task, Small;
    SYS_sched_setparam: Task, Mem;
    SYS_sched_getparam: Task, Mem;
    SYS_sched_setscheduler: Task, POLICY, Mem;
    SYS_sched_getscheduler: Task;
    SYS_sched_get_priority_max: Small;
    SYS_sched_rr_get_interval: Task, Mem;
    SYS_mlock: Map, Len;
    SYS_munlock: Map, Len;
    SYS_mlockall: Bits(&[1, 2, 4]);
    SYS_prctl: One(&[1, 2, 3, 4, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24, 25, 27, 28, 29, 30, 36, 37, 38, 39, 40, 42, 47]), Any, Any, Any, Any;
    SYS_arch_prctl: One(&[0x1001, 0x1003, 0x1004, 0x1011, 0x1012, 0x2003]), Any;
    SYS_adjtimex: Mem;
    SYS_setrlimit: LIMIT, Mem;
    SYS_chroot: Path;
    SYS_settimeofday: Mem, Mem;
    SYS_mount: Path, Path, Text, MOUNT, Text;
    SYS_umount2: Path, Bits(&[1, 2, 4, 8]);
    SYS_sethostname: Mem, Len;
    SYS_setdomainname: Mem, Len;
    SYS_setxattr: Path, Text, Mem, Len, Small;
    SYS_getxattr: Path, Text, Mem, Len;
    SYS_fgetxattr: Fd, Text, Mem, Len;
    SYS_listxattr: Path, Mem, Len;
    SYS_tkill: Task, Signal;
    SYS_time: Mem;
    SYS_futex: Mem, FUTEX, Small, Mem, Mem, Any;
    SYS_sched_setaffinity: Task, Len, Mem;
    SYS_sched_getaffinity: Task, Len, Mem;
    SYS_epoll_create: Small;
    SYS_getdents64: Fd, Mem, Len;
    SYS_set_tid_address: Mem;
    SYS_fadvise64: Fd, Off, Len, Small;
    SYS_timer_create: Clock, Mem, Mem;
    SYS_timer_settime: Small, TIMER_FLAGS, Mem, Mem;
    SYS_timer_gettime: Small, Mem;
    SYS_timer_getoverrun: Small;
    SYS_timer_delete: Small;
    SYS_clock_settime: One(&[0, 0, 0, 1, 2, 7, 11]), Words(&[2_000_000_000]);
    SYS_clock_gettime: Clock, Mem;
    SYS_clock_getres: Clock, Mem;
    SYS_clock_nanosleep: Clock, TIMER_FLAGS, Mem, Mem;
    SYS_epoll_wait: Fd, Mem, Small, Small;
    SYS_epoll_ctl: Fd, One(&[1, 1, 1, 2, 3, 4]), Fd, Mem;
    SYS_tgkill: Task, Task, Signal;
    SYS_utimes: Path, Mem;
    SYS_waitid: One(&[0, 0, 0, 1, 2, 3]), Task, Mem, WAIT, Mem;
    SYS_ioprio_set: WHOSE, Task, Any;
    SYS_ioprio_get: WHOSE, Task;
    SYS_openat: Dir, Path, OPEN, Mode;
    SYS_mkdirat: Dir, Path, Mode;
    SYS_mknodat: Dir, Path, Mode, Small;
    SYS_fchownat: Dir, Path, User, User, AT;
    SYS_futimesat: Dir, Path, Mem;
    SYS_newfstatat: Dir, Path, Mem, AT;
    SYS_unlinkat: Dir, Path, AT;
    SYS_renameat: Dir, Path, Dir, Path;
    SYS_accept4: Fd, Mem, Mem, CREATE_FLAGS;
    SYS_linkat: One(&[libc::AT_FDCWD]), Path, One(&[libc::AT_FDCWD]), Path, One(&[0, 0, libc::AT_SYMLINK_FOLLOW, libc::AT_EMPTY_PATH, 1]);
    SYS_symlinkat: Path, Dir, Path;
    SYS_readlinkat: Dir, Path, Mem, Len;
    SYS_fchmodat: Dir, Path, Mode;
    SYS_faccessat: Dir, Path, Small;
    SYS_pselect6: Small, Mem, Mem, Mem, Mem, Mem;
    SYS_ppoll: Mem, Small, Mem, Mem, MASK_SIZE;
    SYS_unshare: UNSHARE;
    SYS_set_robust_list: Mem, One(&[24, 24, 24, 23]);
    SYS_get_robust_list: Task, Mem, Mem;
    SYS_utimensat: Dir, Path, Mem, AT;
    SYS_epoll_pwait: Fd, Mem, Small, Small, Mem, MASK_SIZE;
    SYS_signalfd: Fd, Mem, MASK_SIZE;
    SYS_timerfd_create: Clock, CREATE_FLAGS;
    SYS_eventfd: Small;
    SYS_fallocate: Fd, Bits(&[1, 2, 8, 16]), Off, Len;
    SYS_timerfd_settime: Fd, TIMER_FLAGS, Mem, Mem;
    SYS_timerfd_gettime: Fd, Mem;
    SYS_signalfd4: Fd, Mem, MASK_SIZE, CREATE_FLAGS;
    SYS_eventfd2: Small, CREATE_FLAGS;
    SYS_epoll_create1: CREATE_FLAGS;
    SYS_dup3: Fd, Fd, CREATE_FLAGS;
    SYS_pipe2: Mem, FILE_FLAGS;
    SYS_preadv: Fd, Mem, Small, Off;
    SYS_pwritev: Fd, Mem, Small, Off;
    SYS_rt_tgsigqueueinfo: Task, Task, Signal, Mem;
    SYS_prlimit64: Task, LIMIT, Mem, Mem;
    SYS_name_to_handle_at: Dir, Path, Words(&[128]), Mem, One(&[0, libc::AT_SYMLINK_FOLLOW, libc::AT_EMPTY_PATH]);
    SYS_clock_adjtime: Clock, Mem;
    SYS_setns: Fd, One(&[0, 0x80, 0x1000_0000]);
    SYS_getcpu: Mem, Mem;
    SYS_sched_setattr: Task, Mem, Small;
    SYS_sched_getattr: Task, Mem, One(&[48, 56, 64]), Small;
    SYS_renameat2: Dir, Path, Dir, Path, Bits(&[1, 2]);
    SYS_getrandom: Mem, Len, Bits(&[1, 2]);
    SYS_memfd_create: Text, Bits(&[1, 2]);
    SYS_execveat: Dir, Path, Mem, Mem, AT;
    SYS_membarrier: One(&[0, 1, 2, 4, 8, 16, 32]), Small;
    SYS_mlock2: Map, Len, Small;
    SYS_copy_file_range: REGULAR, Mem, REGULAR, Mem, Len, One(&[0, 0, 0, 1]);
    SYS_preadv2: Fd, Mem, Small, Off, Any, Bits(&[1, 2, 4, 8]);
    SYS_pwritev2: Fd, Mem, Small, Off, Any, Bits(&[1, 2, 4, 8, 16]);
    SYS_statx: Dir, Path, AT, Any, Mem;
    SYS_pidfd_send_signal: Fd, Signal, One(&[0]), One(&[0, 0, 1, 2, 4, 9]);
    SYS_pidfd_open: Task, Bits(&[libc::O_NONBLOCK, libc::O_EXCL]);
    SYS_clone3: Mem, One(&[64, 80, 88, 88, 96]);
    SYS_close_range: Fd, Any, Bits(&[2, 4]);
    SYS_openat2: Dir, Path, Mem, One(&[24, 24, 32]);
    SYS_pidfd_getfd: Fd, Fd, Small;
    SYS_faccessat2: Dir, Path, Small, AT;
    SYS_epoll_pwait2: Fd, Mem, Small, Mem, Mem, MASK_SIZE;
    SYS_futex_waitv: Mem, Small, Small, Mem, Clock;
    SYS_fchmodat2: Dir, Path, Mode, AT;
}
