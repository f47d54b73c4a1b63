//! Tables of what a pending namespace goes through: what freezes it, and what the links say afterwards.

use super::{done, fact, shown};
use crate::system::clone::{self, CloneArguments};
use crate::system::file;
use crate::system::namespace::{self, OFFSETS, TIME, TIME_FOR_CHILDREN};
use crate::system::process;

/// What may freeze a pending namespace, and whether it does.
const FREEZING: [(&str, fn()); 12] = [
    ("nothing", || ()),
    ("open and stat", || {
        let _ = file::open(TIME_FOR_CHILDREN, libc::O_RDONLY);
        let _ = file::status(TIME_FOR_CHILDREN, 0);
    }),
    ("fork", || _ = process::run(|| 0)),
    ("vfork", || _ = clone::vfork_running(0, || 0)),
    ("vfork and exec", || {
        let _ = clone::vfork_running(0, || {
            let _ = process::execute(&["/proc/self/exe", "selftest-helper", "exit"]);
            0
        });
    }),
    ("a thread", || _ = std::thread::spawn(|| ()).join()),
    ("setns into it", || _ = namespace::enter(TIME_FOR_CHILDREN)),
    ("setns away from it", || _ = namespace::enter(TIME)),
    ("exec that fails", || _ = process::execute(&["/missing"])),
    ("clone3 with a stack without size", || {
        _ = clone::clone3(&CloneArguments { stack: 0x10000, exit_signal: 17, ..CloneArguments::default() });
    }),
    ("clone3 with an id in use", || {
        let own = [std::process::id() as i32];
        let arguments = CloneArguments {
            set_tid: own.as_ptr() as u64,
            set_tid_size: 1,
            exit_signal: 17,
            ..CloneArguments::default()
        };
        let _ = clone::clone3(&arguments);
    }),
    ("unshare again", || _ = namespace::unshare()),
];

/// Whether a pending namespace takes offsets afterwards.
pub fn freezing() {
    for (what, act) in FREEZING {
        fact("freezing", what, || {
            let _ = namespace::unshare();
            act();
            done(file::write(OFFSETS, "monotonic 1 0"))
        });
    }
    fact("freezing", "the root namespace", || done(file::write(OFFSETS, "monotonic 0 0")));
}

/// The two links afterwards.
pub fn links() {
    let slots = || {
        let links = [TIME, TIME_FOR_CHILDREN].map(|path| shown(file::readlink(path)));
        let of_root = |link: &str| if link == "time:[4026531834]" { "root" } else { "another" };
        let same = if links[0] == links[1] { "the same" } else { "different" };
        format!("{} {}, {same}", of_root(&links[0]), of_root(&links[1]))
    };
    fact("links", "at first", slots);
    for (what, act) in FREEZING {
        fact("links", &format!("after unshare and {what}"), || {
            let _ = namespace::unshare();
            act();
            slots()
        });
    }
}
