//! Another process' memory: process_vm_readv(2) and process_vm_writev(2), /proc/PID/mem, and what smaps says of it.

use super::memory::{map, munmap};
use super::setns::Waiting;
use super::support::{become_nobody, needs_root};
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};

const PAGE: usize = 4096;

/// `struct iovec`: a base and a length.
type Range = [usize; 2];

fn range(bytes: &mut [u8]) -> Range {
    [bytes.as_mut_ptr() as usize, bytes.len()]
}

fn read_from(process: i32, into: &[Range], from: &[Range], flags: usize) -> Result<usize, Errno> {
    call!(libc::SYS_process_vm_readv, process, into.as_ptr(), into.len(), from.as_ptr(), from.len(), flags)
}

fn write_to(process: i32, from: &[Range], into: &[Range]) -> Result<usize, Errno> {
    call!(libc::SYS_process_vm_writev, process, from.as_ptr(), from.len(), into.as_ptr(), into.len(), 0)
}

fn fill(address: usize, length: usize, byte: u8) {
    // SAFETY: the caller has mapped these bytes writable.
    unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) }.fill(byte);
}

fn byte(address: usize) -> u8 {
    // SAFETY: the caller has mapped it.
    unsafe { (address as *const u8).read_volatile() }
}

/// Three pages, the last not there; a forked child has them too.
fn two_pages_and_a_hole() -> Result<usize, Why> {
    let start = map(3, libc::PROT_READ | libc::PROT_WRITE)?;
    munmap(start + 2 * PAGE, PAGE)?;
    Ok(start)
}

pub fn cases(plan: &mut Plan) {
    moving(plan);
    refusals(plan);
    as_a_file(plan);
    in_numbers(plan);
}

fn moving(plan: &mut Plan) {
    plan.case(
        "reading: theirs, not one's own at the same address, from several ranges into several buffers",
        || {
            needs_root()?;
            let start = two_pages_and_a_hole()?;
            fill(start, 2 * PAGE, 1);
            let child = Waiting::start(|| fill(start + PAGE, PAGE, 2))?;
            let (mut first, mut second) = ([0u8; 3], [0u8; 9]);
            let from = [[start + PAGE - 4, 8], [start, 4]];
            let into = [range(&mut first), range(&mut second)];
            equal("bytes", read_from(child.child, &into, &from, 0), Ok(12))?;
            equal("in the first buffer", first, [1; 3])?;
            equal("in the second", second, [1, 2, 2, 2, 2, 1, 1, 1, 1])
        },
    );
    plan.case("writing: they see it, the writer's own page stays", || {
        needs_root()?;
        let start = two_pages_and_a_hole()?;
        fill(start, 2 * PAGE, 1);
        let child = Waiting::start(|| ())?;
        let mut bytes = [7u8; 16];
        let into = [[start + PAGE - 8, 16]];
        equal("written", write_to(child.child, &[range(&mut bytes)], &into), Ok(16))?;
        equal("one's own", byte(start + PAGE), 1)?;
        let mut back = [0u8; 18];
        equal("read", read_from(child.child, &[range(&mut back)], &[[start + PAGE - 9, 18]], 0), Ok(18))?;
        equal("theirs", back[0] == 1 && back[1..17] == bytes && back[17] == 1, true)
    });
    plan.case("what cannot be reached ends it: the bytes before count, and with none it is EFAULT", || {
        needs_root()?;
        let start = two_pages_and_a_hole()?;
        let child = Waiting::start(|| ())?;
        let mut bytes = vec![0u8; 3 * PAGE];
        let end = start + 2 * PAGE;
        let mut read = |from: &[Range]| read_from(child.child, &[range(&mut bytes)], from, 0);
        equal("over the end", read(&[[start + PAGE, 2 * PAGE]]), Ok(PAGE))?;
        equal("with more behind it", read(&[[start, 8], [end, 8], [start, 8]]), Ok(8))?;
        refused("beyond it", read(&[[end, 8]]), Errno::EFAULT)?;
        refused("in the kernel's half", read(&[[usize::MAX - PAGE, 8]]), Errno::EFAULT)
    });
    plan.case("a page they may not write is not written", || {
        needs_root()?;
        let start = map(1, libc::PROT_READ)?;
        let child = Waiting::start(|| ())?;
        let mut bytes = [1u8; 8];
        refused("writing", write_to(child.child, &[range(&mut bytes)], &[[start, 8]]), Errno::EFAULT)
    });
}

fn refusals(plan: &mut Plan) {
    plan.case(
        "flags are EINVAL, a number that names nothing ESRCH, and no bytes on one side is 0 before that",
        || {
            let mut bytes = [0u8; 8];
            let one = [range(&mut bytes)];
            let nobody = i32::MAX;
            refused("a flag", read_from(nobody, &one, &one, 1), Errno::EINVAL)?;
            refused("nobody", read_from(nobody, &one, &one, 0), Errno::ESRCH)?;
            equal("no buffer", read_from(nobody, &[], &one, 0), Ok(0))?;
            equal("no range", read_from(nobody, &one, &[], 0), Ok(0))?;
            equal("an empty range", read_from(nobody, &one, &[[8, 0]], 0), Ok(0))?;
            refused("a negative length", read_from(nobody, &one, &[[8, usize::MAX]], 0), Errno::EINVAL)?;
            refused("too many ranges", read_from(nobody, &one, &vec![one[0]; 1025], 0), Errno::EINVAL)
        },
    );
    plan.case("another user's process is EPERM", || {
        needs_root()?;
        let child = Waiting::start(|| ())?;
        in_child(|| {
            become_nobody()?;
            let mut bytes = [0u8; 8];
            let one = [range(&mut bytes)];
            refused("reading", read_from(child.child, &one, &one, 0), Errno::EPERM)?;
            refused("writing", write_to(child.child, &one, &one), Errno::EPERM)?;
            let path = format!("/proc/{}/mem", child.child);
            refused("opening mem", file::open(&path, libc::O_RDONLY), Errno::EACCES)
        })
    });
}

fn as_a_file(plan: &mut Plan) {
    plan.case(
        "/proc/PID/mem: positions are addresses; a hole is EIO, or ends what was begun before it",
        || {
            let start = two_pages_and_a_hole()?;
            fill(start, 2 * PAGE, 1);
            let memory = Descriptor::open("/proc/self/mem", libc::O_RDWR).step("opening it")?;
            let text = b"written";
            let at = start + PAGE - 3;
            equal("written", call!(libc::SYS_pwrite64, memory.0, text, text.len(), at), Ok(7))?;
            equal("its first byte", byte(at), b'w')?;
            equal("sought", call!(libc::SYS_lseek, memory.0, at, libc::SEEK_SET), Ok(at))?;
            let mut bytes = vec![0u8; 2 * PAGE];
            equal("read", call!(libc::SYS_read, memory.0, bytes.as_mut_ptr(), bytes.len()), Ok(PAGE + 3))?;
            equal("the bytes", bytes.starts_with(text), true)?;
            let hole = start + 2 * PAGE;
            let mut one = [0u8];
            refused(
                "reading the hole",
                call!(libc::SYS_pread64, memory.0, &mut one, 1usize, hole),
                Errno::EIO,
            )?;
            refused("writing it", call!(libc::SYS_pwrite64, memory.0, &one, 1usize, hole), Errno::EIO)
        },
    );
    plan.case("once its process has ended an open /proc/PID/mem is empty", || {
        needs_root()?;
        let start = map(1, libc::PROT_READ | libc::PROT_WRITE)?;
        fill(start, 8, 5);
        let child = Waiting::start(|| ())?;
        let memory = Descriptor::open(&format!("/proc/{}/mem", child.child), libc::O_RDONLY)?;
        let mut bytes = [0u8; 8];
        let mut read = || call!(libc::SYS_pread64, memory.0, &mut bytes, 8usize, start);
        equal("while it lives", read(), Ok(8))?;
        drop(child);
        equal("afterwards", read(), Ok(0))
    });
}

/// A line of the region that starts at an address, in kB.
fn figure(process: &str, start: usize, name: &str) -> Result<usize, Why> {
    let text = file::read(&format!("/proc/{process}/smaps")).step("reading smaps")?;
    let head = format!("{start:08x}-");
    let lines = text.lines().skip_while(|line| !line.starts_with(&head));
    let value = lines.into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse().ok());
    number.ok_or_else(|| Why::Failed(format!("smaps has no number {name} for {head}")))
}

fn in_numbers(plan: &mut Plan) {
    plan.case("smaps counts pages that are present, and who has them", || {
        let start = map(4, libc::PROT_READ | libc::PROT_WRITE)?;
        call!(libc::SYS_madvise, start, 4 * PAGE, libc::MADV_NOHUGEPAGE).ok();
        equal("before it is touched", figure("self", start, "Rss")?, 0)?;
        fill(start, 4 * PAGE, 1);
        let all = |expected: [usize; 6]| {
            for (name, expected) in
                ["Size", "Rss", "Pss", "Private_Dirty", "Shared_Dirty", "Anonymous"].into_iter().zip(expected)
            {
                equal(name, figure("self", start, name)?, expected)?;
            }
            Ok(())
        };
        all([16, 16, 16, 16, 0, 16])?;
        let child = Waiting::start(|| ())?;
        all([16, 16, 8, 0, 16, 16])?;
        fill(start, 1, 2);
        all([16, 16, 10, 4, 12, 16])?;
        drop(child);
        all([16, 16, 16, 16, 0, 16])
    });
    plan.case("smaps has each region of maps, and something of each program is present", || {
        let text = file::read("/proc/self/smaps").step("reading smaps")?;
        let heads: Vec<&str> = text
            .lines()
            .filter(|line| line.split(' ').next().is_some_and(|word| word.contains('-')))
            .collect();
        let maps = file::read("/proc/self/maps")?;
        equal("regions", heads.len(), maps.lines().count())?;
        let sum: usize = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()
            })
            .sum();
        holds(sum > 0, || "nothing is present".into())
    });
}
