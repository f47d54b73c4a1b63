//! Random bytes without system calls: the vDSO's getrandom, and the memory its states live in, MAP_DROPPABLE.

use super::memory::mmap;
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, holds, refused, skipped};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::syscall_count::SyscallCount;
use crate::system::vdso::{Getrandom, Vdso};

const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
const MAP_DROPPABLE: i32 = 0x08;
const PAGE: usize = 4096;

/// A generator as a C library keeps it: the function, and one state.
struct Generator {
    function: Getrandom,
    state: usize,
    state_length: usize,
}

impl Generator {
    fn new() -> Result<Generator, Why> {
        let Some(function) = Vdso::find().step("the vDSO")?.getrandom() else {
            return skipped("this kernel's vDSO has no getrandom");
        };
        let parameters = parameters(function)?;
        let [state_length, protection, flags] = [parameters[0], parameters[1], parameters[2]];
        let state = mmap(0, PAGE, protection as i32, flags as i32, -1, 0).step("mmap as it asks for")?;
        Ok(Generator { function, state, state_length: state_length as usize })
    }

    fn answer(&self, bytes: &mut [u8], flags: u32, state: usize, state_length: usize) -> isize {
        (self.function)(bytes.as_mut_ptr(), bytes.len(), flags, state, state_length)
    }

    fn fill(&self, bytes: &mut [u8]) -> isize {
        self.answer(bytes, 0, self.state, self.state_length)
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}

/// What it wants of the memory for its states.
fn parameters(function: Getrandom) -> Result<[u32; 16], Why> {
    let mut parameters = [u32::MAX; 16];
    let answer = function(std::ptr::null_mut(), 0, 0, parameters.as_mut_ptr() as usize, usize::MAX);
    equal("answer", answer, 0)?;
    Ok(parameters)
}

pub fn cases(plan: &mut Plan) {
    plan.case("it says how large a state is, and how to map memory for it", || {
        let generator = Generator::new()?;
        let parameters = parameters(generator.function)?;
        equal("size", parameters[0], 144)?;
        equal("protection", parameters[1] as i32, BOTH)?;
        equal("flags", parameters[2] as i32, MAP_DROPPABLE | libc::MAP_ANONYMOUS)?;
        equal("the rest", &parameters[3..], &[0; 13][..])
    });
    plan.case("any number of bytes, all of them, never the same, without a system call", || {
        let generator = Generator::new()?;
        let mut seen = Vec::new();
        for length in [0, 1, 31, 32, 95, 96, 97, 128, 160, 1000, 100_000] {
            let mut bytes = vec![0u8; length + 16];
            bytes[length..].fill(0x5a);
            equal("answer", generator.fill(&mut bytes[..length]), length as isize)?;
            equal("beyond", &bytes[length..], &[0x5a; 16][..])?;
            if length >= 31 {
                let zeros = bytes[..length].iter().filter(|byte| **byte == 0).count();
                holds(zeros <= length / 64 + 6, || format!("{zeros} zeros in {length} bytes"))?;
                seen.push(bytes[..31].to_vec());
            }
        }
        for _ in 0..200 {
            seen.push(generator.bytes()[..31].to_vec());
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        equal("different ones", seen.len(), all)?;
        let Some(count) = SyscallCount::open() else { return Ok(()) };
        let mut bytes = [0u8; 1000];
        equal(
            "system calls",
            count.of(|| {
                for _ in 0..10 {
                    generator.fill(&mut bytes);
                }
            })?,
            0,
        )
    });
    plan.case("bits come evenly", || {
        let generator = Generator::new()?;
        let mut bytes = vec![0u8; 1 << 17];
        generator.fill(&mut bytes);
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        // Of 2^20 bits half are ones, give or take 512 for each standard deviation.
        holds(ones.abs_diff(1 << 19) < 6 * 512, || format!("{ones} ones"))?;
        let mut counts = [0u32; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        holds(counts.iter().all(|count| count.abs_diff(512) < 160), || format!("{counts:?}"))
    });
    plan.case("parent and child go on with different bytes, from memory the child gets wiped", || {
        let generator = Generator::new()?;
        generator.bytes();
        let (read_end, write_end) = process::pipe()?;
        let child = process::spawn(|| {
            let bytes = generator.bytes();
            let sent = call!(libc::SYS_write, write_end, bytes.as_ptr(), bytes.len());
            i32::from(sent != Ok(32))
        })?;
        let own = generator.bytes();
        process::wait(child).step("wait")?;
        let mut other = [0u8; 32];
        equal("read", call!(libc::SYS_read, read_end, other.as_mut_ptr(), 32), Ok(32))?;
        holds(own != other, || "the same bytes".into())
    });
    plan.case("a state that is in use, of another size, or not ready: the system call answers", || {
        let generator = Generator::new()?;
        let mut bytes = [0u8; 64];
        equal("another size", generator.answer(&mut bytes, 0, generator.state, 100), 64)?;
        equal(
            "unknown flag",
            generator.answer(&mut bytes, 0x100, generator.state, generator.state_length),
            -22,
        )?;
        equal("GRND_NONBLOCK", generator.answer(&mut bytes, 1, generator.state, generator.state_length), 64)?;
        // SAFETY: within the page mapped for states; the byte that says so is the last of a state but its padding.
        unsafe { ((generator.state + 137) as *mut u8).write_volatile(1) };
        equal("in use", generator.fill(&mut bytes), 64)?;
        let across = generator.state + PAGE - 100;
        equal("across a page's end", generator.answer(&mut bytes, 0, across, generator.state_length), -14)
    });
    plan.case("MAP_DROPPABLE: private memory without a file, empty in a child", || {
        let flags = MAP_DROPPABLE | libc::MAP_ANONYMOUS;
        let at = match mmap(0, PAGE, BOTH, flags, -1, 0) {
            Err(Errno::EINVAL) => return skipped("this kernel has no MAP_DROPPABLE"),
            answer => answer.step("mmap")?,
        };
        // SAFETY: the page was just mapped.
        let byte = || unsafe { (at as *const u8).read_volatile() };
        // SAFETY: likewise.
        unsafe { (at as *mut u8).write_volatile(7) };
        equal("in a child", process::run(|| i32::from(byte())).step("a child")?, process::Status::Exited(0))?;
        equal("here", byte(), 7)?;
        refused("kept on fork", call!(libc::SYS_madvise, at, PAGE, libc::MADV_KEEPONFORK), Errno::EINVAL)?;
        refused("dumped", call!(libc::SYS_madvise, at, PAGE, libc::MADV_DODUMP), Errno::EINVAL)?;
        refused("locked", mmap(0, PAGE, BOTH, flags | libc::MAP_LOCKED, -1, 0), Errno::EINVAL)?;
        refused("a stack", mmap(0, PAGE, BOTH, flags | libc::MAP_GROWSDOWN, -1, 0), Errno::EINVAL)?;
        let file = call!(libc::SYS_memfd_create, c"x", 0)? as i32;
        refused("a file", mmap(0, PAGE, BOTH, MAP_DROPPABLE, file, 0), Errno::EINVAL)
    });
}
