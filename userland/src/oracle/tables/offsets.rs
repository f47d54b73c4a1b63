//! Tables of /proc/PID/timens_offsets: the grammar, what a write may be, how far an offset goes.

use super::{BAD, done, fact, shown};
use crate::call;
use crate::oracle::calls;
use crate::oracle::facts::Facts;
use crate::system::credentials;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS};
use crate::system::process;
use crate::system::time::{self, SECOND};

/// Pieces that lines are made of: names, then seconds, then nanoseconds, each with what separates it from the next. Every
/// combination of two of the lists with something good for the third is tried.
const NAMES: &[&str] = &[
    "monotonic",
    "boottime",
    "1",
    "7",
    "01",
    "0",
    "4",
    "8",
    "-1",
    "Monotonic",
    "mono",
    "monotonicx",
    "boottime5",
    "monotonic5",
    "",
    " monotonic",
    "\tboottime",
    "\u{b}1",
    "\n1",
    "\u{a0}1",
    "15",
];
const SECONDS: &[&str] = &[
    "5",
    "-5",
    "-0",
    "+5",
    "010",
    "0x10",
    "1.5",
    "1x",
    "x",
    "-",
    "--5",
    "- 5",
    "",
    "5,",
    "18446744073709551617",
    "18446744073709551615",
    "-18446744073709551615",
    "9223372036",
    "9223372037",
    "-9223372037",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999999999",
];
const NANOSECONDS: &[&str] = &[
    "6",
    "0",
    "-1",
    "+1",
    "006",
    "999999999",
    "1000000000",
    "9223372036854775808",
    "18446744073709551616",
    "18446744073709551623",
    "6x",
    "0x10",
    "6 words",
    "x",
    "",
    "6\n",
    "6\n\n",
    "6\r\n",
    "6\0",
    "6\n7 1 1",
    "6\n7 1 1\n",
    "6\n7 1 1\n\n",
    "6\n7 1 1\ngarbage",
    "6\ngarbage",
    "6\n1 9 9",
    " 6",
    "6\n 7 1 1",
    "6,7",
    "6\0garbage",
];
const SEPARATORS: &[&str] = &[" ", "  ", "\t", "\u{b}", "\u{c}", "\r", "\n", ",", ";", "=", ""];

/// What a line may look like, and what is read back.
pub fn grammar() {
    let written = |text: String| {
        fact("timens_offsets", &text.clone(), || {
            // Byte 0xA0, which is a space here, is no character by itself in a Rust string.
            let bytes: Vec<u8> = text.chars().map(|character| character as u8).collect();
            let answer =
                namespace::unshare().and_then(|()| Descriptor::open(OFFSETS, libc::O_WRONLY)?.write(&bytes));
            format!("{}, {:?}", shown(answer), namespace::offsets_text().unwrap_or_default())
        });
    };
    for name in NAMES {
        written(format!("{name} 5 6"));
        written(format!("{name} 5"));
    }
    for seconds in SECONDS {
        written(format!("7 {seconds} 6"));
    }
    for nanoseconds in NANOSECONDS {
        written(format!("monotonic 5 {nanoseconds}"));
    }
    for separator in SEPARATORS {
        written(format!("1{separator}5 6"));
        written(format!("boottime 5{separator}6"));
    }
}

/// Who may write, how, and when.
pub fn writes(facts: &Facts) {
    let good = "monotonic 10 0";
    let write = |file: &Descriptor, text: &str| shown(file.write(text.as_bytes()));
    let open = |flags| Descriptor::open(OFFSETS, flags);
    type Question<'a> = &'a dyn Fn(Descriptor) -> String;
    let after_a_read = |file: Descriptor| {
        let _ = file.read(&mut [0; 3]);
        let first = write(&file, good);
        let _ = call!(libc::SYS_lseek, file.0, 0, libc::SEEK_SET);
        format!("{first}, from the beginning {}", write(&file, good))
    };
    let length = |length: usize| {
        move |file: Descriptor| {
            let text = format!("{good}{}", " ".repeat(length - good.len()));
            write(&file, &text)
        }
    };
    let pieces = |file: Descriptor| {
        let segments = [(b"monotonic 1 ".as_ptr(), 12usize), (b"0\n".as_ptr(), 2usize)];
        shown(call!(libc::SYS_writev, file.0, &segments, 2))
    };
    let (long, longest, too_long) = (length(4000), length(4095), length(4096));
    let rows: [(&str, Question); 12] = [
        ("a good line", &|file| write(&file, good)),
        ("after a read", &after_a_read),
        ("twice", &|file| format!("{} {}", write(&file, good), write(&file, good))),
        ("4000 bytes", &long),
        ("4095 bytes", &longest),
        ("4096 bytes", &too_long),
        ("from a bad address", &|file| shown(call!(libc::SYS_write, file.0, BAD, 10usize))),
        ("4096 from a bad address", &|file| shown(call!(libc::SYS_write, file.0, BAD, 4096usize))),
        ("nothing", &|file| write(&file, "")),
        ("pwrite", &|file| shown(call!(libc::SYS_pwrite64, file.0, good.as_ptr(), good.len(), 0))),
        ("a line in two segments", &pieces),
        ("a good line and a bad one", &|file| {
            let answer = write(&file, "monotonic 10 0\nboottime x 0");
            format!(
                "{answer}, {}",
                facts.to_reader(&calls::shown_offsets(&namespace::offsets_text().unwrap_or_default()))
            )
        }),
    ];
    for (what, question) in rows {
        fact("write", what, || {
            let file = namespace::unshare().and_then(|()| open(libc::O_RDWR));
            file.map_or_else(|errno| errno.name(), question)
        });
        fact("write", &format!("{what}, frozen"), || {
            let file = namespace::unshare().and_then(|()| open(libc::O_RDWR));
            let _ = process::run(|| 0);
            file.map_or_else(|errno| errno.name(), question)
        });
    }
    for (kept, capabilities) in [
        ("nothing", &[][..]),
        ("CAP_SYS_ADMIN", &[credentials::CAP_SYS_ADMIN][..]),
        ("CAP_SYS_TIME", &[credentials::CAP_SYS_TIME][..]),
    ] {
        for text in [good, "monotonic x 0", "monotonic 99999999999 0"] {
            fact("write", &format!("{text} by an opener with {kept}"), || {
                let _ = namespace::unshare().and_then(|()| credentials::keep_only(capabilities));
                open(libc::O_WRONLY).map_or_else(|errno| errno.name(), |file| write(&file, text))
            });
            fact("write", &format!("{text} by a writer with {kept}"), || {
                let file = namespace::unshare().and_then(|()| open(libc::O_WRONLY));
                let _ = credentials::keep_only(capabilities);
                file.map_or_else(|errno| errno.name(), |file| write(&file, text))
            });
        }
    }
}

/// Offsets in seconds, by what they make of the clock inside.
pub fn bounds() {
    const MAX: i64 = 4_611_686_018;
    for (name, clock) in [("monotonic", libc::CLOCK_MONOTONIC), ("boottime", libc::CLOCK_BOOTTIME)] {
        for (what, inside, nanoseconds) in [
            ("100 s before its zero", -100, 0),
            ("100 s before its zero, and a fraction", -100, 999_999_999),
            ("10 s after its zero", 10, 0),
            ("100 s before its most", MAX - 100, 0),
            ("100 s after its most", MAX + 100, 0),
            ("as far as an offset goes", 9_223_372_036, 0),
        ] {
            fact("bounds", &format!("{name} inside {what}"), || {
                let now = time::read_by_call(clock).unwrap_or(0) / SECOND;
                let text = format!("{name} {} {nanoseconds}", inside - now);
                done(namespace::unshare().and_then(|()| file::write(OFFSETS, &text)))
            });
        }
    }
}
