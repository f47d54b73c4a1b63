//! Programs that try to get out of what they are in: each gets an error or its end, and nothing else happens.
//!
//! On the machine that is a process of another system, the kernel acts in a program's memory through a few instructions
//! of its own (a stub) and a page it writes orders on, above all that a program can map. A program can find both, jump into
//! the one and write to the other. Here it does, at every byte, with orders of its own prepared. On any other machine
//! there is nothing at these addresses, so every attempt must end in SIGSEGV, which is as good.

use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds, on_gnomon, refused, skipped};
use crate::system::errno::Errno;
use crate::system::process::{self, Status};

/// Where the stub would be, how far it could reach, and where its orders would be.
const STUB: usize = 0x7ff0_0000_0000;
const STUB_SIZE: usize = 0x400;
const ORDERS: usize = 0x7ff0_0010_0000;
const ORDERS_SIZE: usize = 0x8000;
/// The number of the stub's own call.
const STUB_CALL: i64 = 0x7e57;

/// Forged orders, laid out as the stub would expect them: `(number, six arguments, result)` each.
type Order = [u64; 8];
/// A result nobody has written.
const NOT_MADE: u64 = i64::MIN as u64;

/// The result register's value at the jump: the number of open(2).
const ATTACKERS_RESULT: u64 = 2;

/// Memory shared with the child that attacks, as large and as aligned as the stub's own page of orders.
struct Arena(usize);

const PLACE_OF_ORDERS: usize = 64;
const PLACE_OF_FRAME: usize = 0x4000;
const PLACE_OF_STATE: usize = 0x6000;

std::arch::global_asm!(
    // intruder_attack(target, arena): jumps there, every register as the stub has it when it is about to do its orders,
    // and as for a call that opens a file, should a `syscall` instruction be hit.
    ".global intruder_attack",
    "intruder_attack:",
    "mov r11, rdi",
    "mov r15, rsi",
    "lea r13, [rsi + 64]",
    "lea r14, [rip + intruder_back]",
    "lea rsp, [rsi + 0x4000]",
    "mov ebx, 3",
    "mov ebp, 1",
    "mov r12d, 11",
    "mov eax, 2",
    "lea rdi, [rip + intruder_path]",
    "xor esi, esi",
    "xor edx, edx",
    "jmp r11",
    // Where it comes out alive: exit_group(7).
    ".global intruder_back",
    "intruder_back:",
    "mov eax, 231",
    "mov edi, 7",
    "syscall",
    ".global intruder_spin",
    "intruder_spin:",
    "jmp intruder_spin",
    "intruder_path: .asciz \"/etc/passwd\"",
);

unsafe extern "C" {
    fn intruder_attack(target: usize, arena: usize) -> !;
    fn intruder_back();
    fn intruder_spin();
    #[link_name = "intruder_path"]
    static INTRUDER_PATH: u8;
}

impl Arena {
    fn new() -> Result<Self, Why> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let address =
            super::memory::mmap(0, 2 * ORDERS_SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
                .step("mmap")?;
        Ok(Self(address.next_multiple_of(ORDERS_SIZE)))
    }

    fn write(&self, offset: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            // SAFETY: inside the mapping.
            unsafe { ((self.0 + offset) as *mut u64).add(index).write_volatile(*word) };
        }
    }

    /// Attacks from here, in a child, as the last thing it does. What the host reads for the stub must be there.
    fn attack(&self, target: usize) -> ! {
        for page in (self.0..self.0 + ORDERS_SIZE).step_by(4096) {
            // SAFETY: inside the mapping.
            unsafe { (page as *const u8).read_volatile() };
        }
        // SAFETY: it does not come back, whatever happens.
        unsafe { intruder_attack(target, self.0) }
    }

    /// Writes down what no program may do: open a file of the outer system, map its memory, ask who it is there.
    fn write_orders(&self) {
        let path = (&raw const INTRUDER_PATH).addr() as u64;
        let shared_fixed = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        let orders: [Order; 3] = [
            [libc::SYS_open as u64, path, 0, 0, 0, 0, 0, NOT_MADE],
            [libc::SYS_mmap as u64, 0x1000_0000, 0x10_0000, 3, shared_fixed, 3, 0x1000, NOT_MADE],
            [libc::SYS_getpid as u64, 0, 0, 0, 0, 0, 0, NOT_MADE],
        ];
        self.write(PLACE_OF_ORDERS, orders.as_flattened());
    }

    /// Writes a signal frame that leads to `target` with all signals blocked.
    fn write_frame(&self, target: usize) {
        // `struct ucontext`: flags, link, stack (3), 23 registers, the extended state's address, 8 unused, the mask.
        let mut frame = [0; 38];
        let registers = &mut frame[5..];
        registers[15] = (self.0 + PLACE_OF_FRAME) as u64;
        registers[16] = target as u64;
        registers[17] = 0x202;
        registers[18] = 0x2b << 48 | 0x33;
        registers[23] = (self.0 + PLACE_OF_STATE) as u64;
        frame[37] = u64::MAX;
        self.write(PLACE_OF_FRAME, &frame);
        // The control words of FXSAVE's form; all else zero.
        self.write(PLACE_OF_STATE, &[0x37f, 0, 0, 0x1f80]);
    }

    /// The result of an order that the outer system has followed. (What [`intruder_attack`] has in the result register
    /// itself may be written down, by a jump behind the call.)
    fn followed(&self) -> Option<(usize, u64)> {
        (0..3).find_map(|index| {
            let place = self.0 + PLACE_OF_ORDERS + index * size_of::<Order>() + 56;
            // SAFETY: inside the mapping.
            let result = unsafe { (place as *const u64).read_volatile() };
            (result != NOT_MADE && result != ATTACKERS_RESULT && (result as i64) >= 0)
                .then_some((index, result))
        })
    }
}

fn is_end(status: Status) -> bool {
    matches!(status, Status::Killed(_) | Status::Exited(7))
}

fn needs_gnomon() -> Outcome {
    if on_gnomon() { Ok(()) } else { skipped("elsewhere a library may be at these addresses") }
}

/// Where the stub makes its way back from a signal: `mov eax, 15; syscall`.
fn find_return() -> Option<usize> {
    const CODE: [u8; 7] = [0xb8, 15, 0, 0, 0, 0x0f, 0x05];
    // SAFETY: reads what may not be there; then this child ends, which is what it is for.
    let byte = |address: usize| unsafe { (address as *const u8).read_volatile() };
    (STUB..STUB + STUB_SIZE).find(|start| (0..CODE.len()).all(|index| byte(start + index) == CODE[index]))
}

pub fn cases(plan: &mut Plan) {
    plan.case("the stub's own call is no call of programs", || {
        refused("call 0x7e57", call!(STUB_CALL, 11, 0, 0), Errno::ENOSYS)
    });
    plan.case("a jump to any byte of the stub, with orders at hand, ends in nothing done", || {
        needs_gnomon()?;
        let arena = Arena::new()?;
        for target in STUB..STUB + STUB_SIZE {
            arena.write_orders();
            arena.write_frame(intruder_back as *const () as usize);
            let child = process::spawn(|| arena.attack(target)).step("fork")?;
            let status = process::wait(child)?;
            holds(is_end(status), || format!("at {target:#x}: {status:?}"))?;
            if let Some((index, result)) = arena.followed() {
                return failed(format!("at {target:#x}: order {index} was followed, with {result}"));
            }
        }
        Ok(())
    });
    plan.case("a program that blocks what would stop it, and runs on, is ended", || {
        needs_gnomon()?;
        let arena = Arena::new()?;
        arena.write_frame(intruder_spin as *const () as usize);
        let child = process::spawn(|| match find_return() {
            Some(target) => arena.attack(target),
            None => 7,
        })
        .step("fork")?;
        let status = process::wait(child)?;
        holds(matches!(status, Status::Killed(_)), || format!("{status:?}"))
    });
    plan.case("writing all over the page of orders hurts nobody else", || {
        needs_gnomon()?;
        let status = process::run(|| {
            for address in (ORDERS..ORDERS + ORDERS_SIZE).step_by(8) {
                // SAFETY: it may not be there; then this child ends.
                unsafe { (address as *mut u64).write_volatile(0x5555_5555_5555_5555) };
            }
            let _ = call!(libc::SYS_getppid);
            let _ = call!(libc::SYS_munmap, 0x1000_0000, 4096);
            7
        })?;
        holds(is_end(status), || format!("{status:?}"))
    });
    plan.case(
        "mapping over the stub, unmapping it or taking its permissions away leaves the program running",
        || {
            needs_gnomon()?;
            let status = process::run(|| {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                for address in [STUB, ORDERS] {
                    let _ = super::memory::mmap(address, 4096, libc::PROT_READ, flags, -1, 0);
                    let _ = call!(libc::SYS_mprotect, address, 4096, libc::PROT_NONE);
                    let _ = call!(libc::SYS_munmap, address, 4096);
                }
                let _ = call!(libc::SYS_munmap, 0x1000_0000, 4096);
                7
            })?;
            equal("its end", status, Status::Exited(7))
        },
    );
}
