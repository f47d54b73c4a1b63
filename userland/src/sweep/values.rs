//! Arguments by chance: for each kind what mostly makes sense, and now and then what never does.

use super::table::Kind;
use crate::call;
use crate::random::Random;
use crate::system::errno::Errno;
use crate::system::process;
use std::ffi::CString;

const PAGE: usize = 4096;
/// The arena, at a place of its own: four pages for the kernel to read and write, a hole, a page to read, a hole, a page
/// that nobody may touch, a hole.
const ARENA: usize = 0x20_0000_0000;
const WRITABLE: usize = 4 * PAGE;
const READABLE: usize = ARENA + 5 * PAGE;
const FORBIDDEN: usize = ARENA + 7 * PAGE;
/// The room that calls map, unmap and protect parts of.
const ROOM: usize = 0x30_0000_0000;
const ROOM_PAGES: usize = 64;
/// So many words are prepared where a pointer points.
const WORDS: usize = 16;

/// Names of files, relative to a directory of one's own, and those that every process may look at.
const PATHS: &[&str] = &[
    "a",
    "a",
    "b",
    "c",
    "d",
    "d",
    "d/a",
    "d/b",
    "d/d",
    "link",
    "fifo",
    ".",
    "",
    "a/",
    "no/such",
    "null",
    "zero",
    "full",
    "random",
    "/proc/self",
    "/proc/self/maps",
    "/proc/self/fd",
    "/proc/self/fd/3",
    "/proc/self/fd/7",
    "/proc/self/stat",
    "/proc/self/status",
    "/proc/self/cmdline",
    "/proc/self/ns/time",
    "/proc/self/ns/time_for_children",
    "/proc/self/ns/user",
    "/proc/self/timens_offsets",
    "/proc/self/comm",
    "/proc/self/task",
    "/proc/self/uid_map",
    "/proc/self/setgroups",
    "/proc/self/oom_score_adj",
    "/proc/self/mounts",
];
/// Those that root could do harm with.
const PATHS_OF_USERS: &[&str] = &[
    "/",
    "/proc/self/exe",
    "/dev/null",
    "/dev/zero",
    "/proc",
    "/proc/1/maps",
    "/proc/1/fd",
    "/proc/uptime",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/user/max_time_namespaces",
    "/bin/busybox",
    "/dev",
    "/sys",
];
const TEXTS: &[&str] = &["tmpfs", "proc", "sysfs", "size=64k", "mode=1777", "user.a", "text", ""];

/// Numbers at which something changes.
const EDGES: &[i64] = &[
    0,
    1,
    2,
    -1,
    -2,
    -22,
    7,
    8,
    63,
    64,
    127,
    128,
    255,
    256,
    4095,
    4096,
    4097,
    65535,
    65536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    -0x8000_0000,
    0x1_0000_0000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
    999_999_999,
    1_000_000_000,
];
const ADDRESSES: &[usize] = &[
    0,
    1,
    PAGE - 1,
    ARENA + 4 * PAGE,
    READABLE,
    READABLE + 8,
    READABLE + PAGE - 4,
    FORBIDDEN,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_1000,
    0xffff_ffff_8000_0000,
    usize::MAX - 7,
    usize::MAX,
];
const LENGTHS: &[usize] = &[
    0,
    1,
    7,
    8,
    16,
    24,
    64,
    100,
    128,
    256,
    1024,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    2 * PAGE,
    3 * PAGE,
    8 * PAGE,
    64 * PAGE,
];
const CLONE_FLAGS: &[i32] = &[
    0x80,
    libc::CLONE_VM,
    libc::CLONE_FS,
    libc::CLONE_FILES,
    libc::CLONE_SIGHAND,
    libc::CLONE_VFORK,
    libc::CLONE_PARENT,
    libc::CLONE_THREAD,
    libc::CLONE_NEWUSER,
];
/// Descriptors from here on down are open at the start, most of them.
const DESCRIPTORS: usize = 31;

/// The source of arguments of one process.
pub struct Values {
    is_root: bool,
    paths: Vec<CString>,
    texts: Vec<CString>,
}

impl Values {
    /// Makes the memory and opens the files that arguments will name.
    pub fn new(is_root: bool) -> Values {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let map = |address: usize, length: usize, protection: i32| {
            let _ = call!(libc::SYS_mmap, address, length, protection, flags, -1, 0usize);
        };
        let both = libc::PROT_READ | libc::PROT_WRITE;
        map(ARENA, WRITABLE, both);
        map(READABLE, PAGE, libc::PROT_READ);
        map(FORBIDDEN, PAGE, libc::PROT_NONE);
        map(ROOM, ROOM_PAGES * PAGE, both);
        open_files();
        let others = if is_root { &[][..] } else { PATHS_OF_USERS };
        let long = ["x".repeat(255), "x".repeat(256), "d/".repeat(2100), "d/".repeat(60)];
        let names = PATHS.iter().chain(others).map(|name| name.to_string()).chain(long);
        Values {
            is_root,
            paths: names.map(process::c_string).collect(),
            texts: TEXTS.iter().map(process::c_string).collect(),
        }
    }

    /// An argument of this kind.
    pub fn value(&self, random: &mut Random, kind: Kind) -> usize {
        // What root may hit is never left to chance.
        let is_bound = self.is_root && matches!(kind, Kind::Task | Kind::Path | Kind::One(_));
        if !is_bound && random.once_in(16) {
            return self.anything(random);
        }
        match kind {
            Kind::Any => self.anything(random),
            Kind::Fd => descriptor(random),
            Kind::Dir if random.once_in(2) => libc::AT_FDCWD as usize,
            Kind::Dir => descriptor(random),
            Kind::Path if !self.is_root && random.once_in(8) => pointer(random),
            Kind::Path => self.paths[random.below(self.paths.len())].as_ptr() as usize,
            Kind::Text => self.texts[random.below(self.texts.len())].as_ptr() as usize,
            Kind::Mem => pointer(random),
            Kind::Words(words) => begin_with(random, words),
            // struct sockaddr_un: the family AF_UNIX, a zero, a letter.
            Kind::Name if random.once_in(4) => 0,
            Kind::Name => {
                let letter = random.one_of(b"abcd");
                begin_with(random, &[1 | u64::from(letter) << 24])
            }
            Kind::Len | Kind::Off => random.one_of(LENGTHS),
            Kind::Small => small(random),
            Kind::Mode => {
                random.one_of(&[0o644, 0o755, 0o600, 0o777, 0o100_644, 0o010_644, 0o040_755, 0o4755, 0])
            }
            Kind::Task => self.task(random),
            Kind::User => random.one_of(&[0, 0, 1, 1000, 65534, u32::MAX as usize]),
            Kind::Signal => random.below(66),
            Kind::Clock => clock(random),
            Kind::Map => ROOM + random.below(ROOM_PAGES) * PAGE,
            Kind::One(choices) => random.one_of(choices) as usize,
            Kind::Bits(bits) => (0..random.below(5)).fold(0, |set, _| set | random.one_of(bits)) as usize,
        }
    }

    /// Makes what is there look like the arguments of clone3(2), if anything can be there.
    pub fn shape_clone(&self, random: &mut Random, address: usize) {
        if (ARENA..=ARENA + WRITABLE - 8 * 11).contains(&address) {
            let flags = (0..random.below(4)).fold(0, |set, _| set | random.one_of(CLONE_FLAGS)) as u64;
            let signal =
                if flags & (libc::CLONE_THREAD | libc::CLONE_PARENT) as u64 == 0 { libc::SIGCHLD } else { 0 };
            write(address, &[flags, 0, 0, 0, signal as u64, 0, 0, 0, 0, 0, 0]);
        }
    }

    fn task(&self, random: &mut Random) -> usize {
        let own = process::id();
        match random.below(8) {
            0..3 => own,
            3 => 0,
            // Children, most probably, and in no case those who were there before.
            4 | 5 => own + 1 + random.below(4),
            6 if self.is_root => 4_000_000,
            7 if self.is_root => own,
            6 => random.below(200),
            _ => random.one_of(EDGES) as usize,
        }
    }

    fn anything(&self, random: &mut Random) -> usize {
        match random.below(8) {
            0 | 1 => random.one_of(EDGES) as usize,
            2 | 3 => small(random),
            4 => pointer(random),
            5 => descriptor(random),
            6 => ROOM + random.below(ROOM_PAGES) * PAGE,
            _ => random.next() as usize >> random.below(64),
        }
    }
}

fn small(random: &mut Random) -> usize {
    if random.once_in(4) { random.below(64) } else { random.below(8) }
}

fn descriptor(random: &mut Random) -> usize {
    if random.once_in(16) { random.below(300) } else { random.below(DESCRIPTORS) }
}

fn clock(random: &mut Random) -> usize {
    let own = process::id() as i32;
    // A process' and a thread's own, as clock_getcpuclockid(3) names them; and a device's, which is none.
    let dynamic = [!own << 3 | 2, !0 << 3 | 6, !3 << 3 | 3];
    if random.once_in(6) { random.one_of(&dynamic) as usize } else { random.below(13) }
}

/// An address; where it can be, with words prepared behind it.
fn pointer(random: &mut Random) -> usize {
    if random.once_in(6) {
        return random.one_of(ADDRESSES);
    }
    let near_the_end = random.once_in(8);
    let offset = match near_the_end {
        true => WRITABLE - random.one_of(&[1, 4, 8, 12, 16, 32, 64]),
        false => random.below(WRITABLE / 8 - WORDS) * 8,
    };
    let address = ARENA + offset;
    if !near_the_end {
        let mut words = [0; WORDS];
        words.fill_with(|| word(random));
        write(address, &words);
        // Now and then not where a number should be.
        return address + usize::from(random.once_in(16));
    }
    address
}

/// An address, mostly of words prepared, of which the first are these.
fn begin_with(random: &mut Random, words: &[u64]) -> usize {
    let address = pointer(random);
    if (ARENA..=ARENA + WRITABLE - 8 * WORDS).contains(&address) {
        write(address & !7, words);
        return address & !7;
    }
    address
}

/// What a structure may hold: mostly nothing, small numbers, descriptors, and addresses of more memory.
fn word(random: &mut Random) -> u64 {
    match random.below(10) {
        0..4 => 0,
        4 | 5 => small(random) as u64,
        6 => random.one_of(EDGES) as u64,
        7 => random.next() >> random.below(64),
        8 => random.one_of(LENGTHS) as u64,
        _ => (ARENA + random.below(WRITABLE / 8) * 8) as u64,
    }
}

/// Writes words into the arena. Should a call have taken it away, this process ends here.
fn write(address: usize, words: &[u64]) {
    for (index, word) in words.iter().enumerate() {
        // SAFETY: the arena is memory that nothing else of this program uses.
        unsafe { (address as *mut u64).add(index).write_volatile(*word) };
    }
}

/// One file of each kind there is; those that cannot be had are left out.
fn open_files() {
    let at = libc::AT_FDCWD;
    let create = libc::O_RDWR | libc::O_CREAT;
    let read = libc::O_RDONLY;
    let _ = call!(libc::SYS_mkdir, c"d", 0o755);
    let _ = call!(libc::SYS_symlink, c"a", c"link");
    let _ = call!(libc::SYS_mknod, c"fifo", 0o010_644, 0);
    let names = [
        (c"a", create),
        (c"d/b", create | libc::O_APPEND),
        (c".", read),
        (c"d", read),
        (c"fifo", libc::O_RDWR),
        (c"/proc/self/ns/time", read),
        (c"/proc/self/ns/user", read),
        (c"/proc/self/timens_offsets", libc::O_RDWR),
        (c"/proc/self", read),
        (c"/proc/self/maps", read),
        (c"zero", libc::O_RDWR),
    ];
    for (name, flags) in names {
        let _ = call!(libc::SYS_openat, at, name, flags, 0o644);
    }
    let mut pair = [0i32; 2];
    let _ = call!(libc::SYS_pipe2, &mut pair, libc::O_NONBLOCK);
    let _ = call!(libc::SYS_pipe2, &mut pair, 0);
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
        let _ = call!(libc::SYS_socketpair, libc::AF_UNIX, kind, 0, &mut pair);
    }
    let _ = call!(libc::SYS_eventfd2, 1, 0);
    let _ = call!(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0);
    let _ = call!(libc::SYS_epoll_create1, 0);
    let _ = call!(libc::SYS_signalfd4, -1, &(1u64 << 9), 8, 0);
    let _ = call!(libc::SYS_memfd_create, c"memory", 0);
    let _ = call!(libc::SYS_pidfd_open, process::id(), 0);
    // A socket that hears what it says, one that listens, and one that waits to be accepted; their names are nobody's.
    let new = |kind: i32| -> Result<usize, Errno> {
        let socket = call!(libc::SYS_socket, libc::AF_UNIX, kind, 0)?;
        call!(libc::SYS_bind, socket, &libc::AF_UNIX, 2).map(|_| socket)
    };
    let connect = |to: usize, socket: usize| {
        let (mut name, mut length) = ([0u8; 110], 110i32);
        call!(libc::SYS_getsockname, to, &mut name, &mut length)?;
        call!(libc::SYS_connect, socket, &name, length)
    };
    let _ = new(libc::SOCK_DGRAM).and_then(|socket| connect(socket, socket));
    let _ = new(libc::SOCK_STREAM).and_then(|listener| {
        call!(libc::SYS_listen, listener, 5)?;
        connect(listener, new(libc::SOCK_STREAM)?)
    });
    // And a timer, with the number 0.
    let _ = call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, 0usize, &mut pair);
}
