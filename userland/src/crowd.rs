//! `crowd COUNT`: so many tasks alive at once, each in a time namespace of its own, and each with a clock of its own.
//!
//! That they are all alive when they look at their clocks is what is shown: nobody is let go before the last of them has
//! come, looked, and said so. Prints what each took of the memory; exit status 0 only if every one of them was right.

use crate::clocks::read_by_vdso;
use crate::measure::{allow_many, free_memory, vdso_reader};
use crate::system::clone;
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::namespace::{self, Offsets};
use crate::system::process::{self, Status};
use crate::system::time::SECOND;
use crate::system::vdso::ClockGettime;
use crate::{call, complain, say};
use std::ffi::OsString;
use std::io::Write as _;

/// What lies between the offsets of one and the next.
const APART: i64 = 1000 * SECOND;
/// How far a reading may be from where it should be. Two clocks are read for it, and in between all others may have run.
const TOLERANCE: i64 = APART / 4;
/// How long the next answer may take, in milliseconds: one who was killed gives none.
const PATIENCE: i32 = 60_000;

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let count = arguments.get(1).and_then(|word| word.to_str()?.parse().ok()).filter(|count| *count > 0);
    let (Some(count), 2) = (count, arguments.len()) else {
        complain!("usage: crowd COUNT");
        return 2;
    };
    match gather(count) {
        Ok(Gathered { right, bytes }) => {
            say!(
                "{right} of {count} tasks, each in a time namespace of its own, saw their own offsets at once"
            );
            say!("each took {bytes} bytes");
            i32::from(right != count)
        }
        Err(errno) => {
            complain!("crowd: {errno}");
            1
        }
    }
}

struct Gathered {
    right: usize,
    bytes: u64,
}

fn gather(count: usize) -> Result<Gathered, Errno> {
    allow_many();
    let read = vdso_reader()?;
    let base = shifts(read)?;
    // Who waits for a byte goes on when the last writing end is closed. The parent holds it, and closes it for all.
    let (gate, gate_end) = process::pipe()?;
    let (exit, exit_end) = process::pipe()?;
    let (answers, answers_end) = process::pipe()?;
    let file = Descriptor::open(namespace::OFFSETS, libc::O_WRONLY)?;
    let before = free_memory();
    // A page that the parent writes to in between is one more that each of its children holds a copy of: so nothing is
    // allocated here, nor done by the C library's fork, which writes to pages of its own.
    let made = (0..count).take_while(|&index| {
        let made = make(index, &file, || {
            process::close(gate_end);
            process::close(exit_end);
            process::await_byte(gate);
            let seen = shifts(read);
            process::send_byte(answers_end);
            process::await_byte(exit);
            let near = |seen: i64, base: i64, own: i64| (seen - base - own).abs() < TOLERANCE;
            let own = offsets(index);
            let right = seen.is_ok_and(|seen| {
                near(seen.monotonic, base.monotonic, own.monotonic)
                    && near(seen.boottime, base.boottime, own.boottime)
            });
            i32::from(!right)
        });
        made.inspect_err(|errno| complain!("crowd: after {index} tasks: {errno}")).is_ok()
    });
    let made = made.count();
    process::close(gate_end);
    let answered = (0..made).take_while(|_| answers_in_time(answers)).count();
    let after = free_memory();
    process::close(exit_end);
    let mut right = 0;
    for _ in 0..made {
        right += usize::from(process::wait(-1)? == Status::Exited(0));
    }
    let bytes = before.zip(after).map_or(0, |(before, after)| before.saturating_sub(after) / count as u64);
    Ok(Gathered { right: right.min(answered), bytes })
}

fn offsets(index: usize) -> Offsets {
    let monotonic = (index as i64 + 1) * APART;
    Offsets { monotonic, boottime: 2 * monotonic }
}

/// Makes a namespace, and a task in it that does its work.
fn make(index: usize, file: &Descriptor, work: impl FnOnce() -> i32) -> Result<(), Errno> {
    namespace::unshare()?;
    let Offsets { monotonic, boottime } = offsets(index);
    let mut text = [0; 64];
    let mut rest = &mut text[..];
    // There is room for two numbers of nineteen digits.
    let _ = write!(rest, "1 {} 0\n7 {} 0\n", monotonic / SECOND, boottime / SECOND);
    let left = rest.len();
    let length = text.len() - left;
    file.write(&text[..length])?;
    if clone::fork_with(0)? == 0 {
        process::exit(work());
    }
    Ok(())
}

/// How far the two clocks that have offsets are ahead of the one that is the same everywhere.
fn shifts(read: ClockGettime) -> Result<Offsets, Errno> {
    let ahead = |clock| -> Result<i64, Errno> {
        Ok(read_by_vdso(read, clock)? - read_by_vdso(read, libc::CLOCK_REALTIME)?)
    };
    Ok(Offsets { monotonic: ahead(libc::CLOCK_MONOTONIC)?, boottime: ahead(libc::CLOCK_BOOTTIME)? })
}

fn answers_in_time(answers: i32) -> bool {
    let mut poll = libc::pollfd { fd: answers, events: libc::POLLIN, revents: 0 };
    call!(libc::SYS_poll, &mut poll, 1, PATIENCE) == Ok(1) && process::await_byte(answers)
}
