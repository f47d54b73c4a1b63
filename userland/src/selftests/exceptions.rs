//! Processor exceptions: which signal each becomes, with which code and address.
//!
//! Each case runs a few instructions of assembly that end in an exception. The handler notes what it was told and sends
//! the program on behind them. What an emulator does not emulate is skipped: the program sees then that nothing
//! happened, or that something else did.

use crate::ktap::{Outcome, Plan, equal, failed, holds, on_gnomon, skipped};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering::SeqCst};

/// What the handler was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    signal: i32,
    code: i32,
    address: usize,
}

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static INSTRUCTION: AtomicUsize = AtomicUsize::new(0);
static VECTOR: AtomicI64 = AtomicI64::new(0);

std::arch::global_asm!(
    // guarded_call(code): calls it, and comes back whether it returns or the handler ends it.
    ".global guarded_call",
    "guarded_call:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + guarded_stack], rsp",
    "call rdi",
    ".global guarded_end",
    "guarded_end:",
    "mov rsp, [rip + guarded_stack]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".pushsection .bss",
    ".balign 8",
    "guarded_stack: .quad 0",
    ".popsection",
);

unsafe extern "C" {
    fn guarded_call(code: unsafe extern "C" fn());
    fn guarded_end();
}

/// Functions of assembly, each with the exception at its local label 9.
macro_rules! code {
    ($($name:ident: $($line:literal)*;)*) => {
        $(std::arch::global_asm!(
            concat!(".global exception_", stringify!($name)),
            concat!("exception_", stringify!($name), ":"),
            $($line,)*
            "ret",
            concat!(".global exception_", stringify!($name), "_at"),
            concat!("exception_", stringify!($name), "_at = 9b"),
        );)*
        /// The functions' addresses, and those of the instructions in question.
        mod code {
            unsafe extern "C" {
                $(#[link_name = concat!("exception_", stringify!($name))] pub fn $name();)*
            }
            #[allow(dead_code, reason = "every piece of code has the label, not every case asks for it")]
            pub mod at {
                unsafe extern "C" {
                    $(#[link_name = concat!("exception_", stringify!($name), "_at")] pub fn $name();)*
                }
            }
        }
    };
}

code! {
    divide: "xor ecx, ecx" "xor edx, edx" "mov eax, 1" "9: div ecx";
    undefined: "9: ud2";
    breakpoint: "9: int3";
    breakpoint_by_number: "9: .byte 0xcd, 3";
    debug_by_number: "9: int 1";
    debug_by_byte: ".byte 0xf1" "9: nop";
    overflow: "9: int 4";
    bound: "9: int 5";
    number_32: "9: int 32";
    number_255: "9: int 255";
    number_128: "mov eax, 20" "9: int 128";
    single_step: "pushfq" "or dword ptr [rsp], 0x100" "popfq" "nop" "9: nop" "nop";
    single_step_over_a_call: "pushfq" "or dword ptr [rsp], 0x100" "mov eax, 39" "popfq" "syscall" "9: nop" "nop";
    halt: "9: hlt";
    interrupts_off: "9: cli";
    input: "9: in al, 0x70";
    performance_counter: "xor ecx, ecx" "9: rdpmc";
    model_specific: "mov ecx, 0x1b" "9: rdmsr";
    control_register: "9: mov rax, cr0";
    read_beyond: "movabs rax, 0x0000900000000000" "9: mov eax, [rax]";
    jump_beyond: "movabs rax, 0x0000900000000000" "9: jmp rax";
    read_kernel: "mov rax, 0xffffffff81000000" "9: mov eax, [rax]";
    write_kernel: "mov rax, 0xffffffff81000000" "9: mov [rax], eax";
    jump_kernel: "mov rax, 0xffffffff81000000" "9: jmp rax";
    read_null: "xor eax, eax" "9: mov eax, [rax]";
    jump_null: "xor eax, eax" "9: jmp rax";
    bad_selector: "mov eax, 0x1000" "9: mov ds, eax";
    null_stack_selector: "xor eax, eax" "9: mov ss, eax";
    x87: "fninit" "push 0x360" "fldcw [rsp]" "pop rax" "fldz" "fld1" "fdivrp st(1), st" "9: fwait";
    sse: "push 0x1d80" "ldmxcsr [rsp]" "pop rax" "xorps xmm0, xmm0" "mov eax, 0x3f800000" "movd xmm1, eax"
        "9: divss xmm1, xmm0";
    unaligned: "pushfq" "or dword ptr [rsp], 0x40000" "popfq" "9: mov eax, [rsp + 1]" "pushfq"
        "and dword ptr [rsp], ~0x40000" "popfq";
    unaligned_vector: "9: movaps xmm0, [rsp + 1]";
}

extern "C" fn handler(signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    const VECTOR_OFFSET: usize = libc::REG_TRAPNO as usize;
    /// Carry to overflow, and single-step, direction, alignment check: off.
    const FLAGS: i64 = 0x40dd5;
    // SAFETY: the kernel passes both, valid until the handler returns.
    let (information, registers) =
        unsafe { (&*information, &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs) };
    SIGNAL.store(signal, SeqCst);
    CODE.store(information.si_code, SeqCst);
    // SAFETY: all these signals carry an address.
    ADDRESS.store(unsafe { information.si_addr() } as usize, SeqCst);
    INSTRUCTION.store(registers[libc::REG_RIP as usize] as usize, SeqCst);
    VECTOR.store(registers[VECTOR_OFFSET], SeqCst);
    registers[libc::REG_RIP as usize] = guarded_end as *const () as i64;
    registers[libc::REG_EFL as usize] &= !FLAGS;
}

/// Runs the code and says what the handler was told, if it was.
fn run(code: unsafe extern "C" fn()) -> Option<Told> {
    for signal in [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV] {
        // SAFETY: the handler only writes its statics and the context.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
    // SAFETY: the code changes nothing but registers; the case runs in a process of its own.
    unsafe { guarded_call(code) };
    let signal = SIGNAL.load(SeqCst);
    (signal != 0).then(|| Told { signal, code: CODE.load(SeqCst), address: ADDRESS.load(SeqCst) })
}

/// Where `si_addr` points.
#[derive(Clone, Copy)]
enum Address {
    /// Zero.
    None,
    /// To the instruction.
    Instruction,
    /// There.
    At(usize),
}

const SI_KERNEL: i32 = 128;
const SEGV_MAPERR: i32 = 1;
const KERNEL_ADDRESS: usize = 0xffff_ffff_8100_0000;

/// What an exception becomes, and where the program is then: before the instruction (a fault), or `behind` bytes further
/// (a trap).
struct Rule {
    what: &'static str,
    code: unsafe extern "C" fn(),
    at: unsafe extern "C" fn(),
    signal: i32,
    si_code: i32,
    address: Address,
    behind: usize,
    vector: i64,
}

macro_rules! rules {
    ($($what:literal $name:ident: $signal:ident $code:expr, $address:expr, $behind:literal, vector $vector:literal;)*) => {
        &[$(Rule {
            what: $what,
            code: code::$name,
            at: code::at::$name,
            signal: libc::$signal,
            si_code: $code,
            address: $address,
            behind: $behind,
            vector: $vector,
        }),*]
    };
}

use Address::{At, Instruction, None as Zero};

const RULES: &[Rule] = rules! {
    "dividing by zero" divide: SIGFPE 1, Instruction, 0, vector 0;
    "an undefined instruction" undefined: SIGILL 2, Instruction, 0, vector 6;
    "INT3" breakpoint: SIGTRAP SI_KERNEL, Zero, 1, vector 3;
    "INT 3 in two bytes" breakpoint_by_number: SIGTRAP SI_KERNEL, Zero, 2, vector 3;
    "INT 1" debug_by_number: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "INT 4" overflow: SIGSEGV SI_KERNEL, Zero, 2, vector 4;
    "INT 5" bound: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "INT 32" number_32: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "INT 255" number_255: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "a single step" single_step: SIGTRAP 2, Instruction, 0, vector 1;
    "HLT" halt: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "CLI" interrupts_off: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "IN" input: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "RDPMC" performance_counter: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "RDMSR" model_specific: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "reading CR0" control_register: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "reading an address that is not canonical" read_beyond: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "reading the kernel" read_kernel: SIGSEGV SEGV_MAPERR, At(KERNEL_ADDRESS), 0, vector 14;
    "writing the kernel" write_kernel: SIGSEGV SEGV_MAPERR, At(KERNEL_ADDRESS), 0, vector 14;
    "reading at zero" read_null: SIGSEGV SEGV_MAPERR, Zero, 0, vector 14;
    "a selector of no segment" bad_selector: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "a null stack selector" null_stack_selector: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "an x87 division by zero" x87: SIGFPE 3, Instruction, 0, vector 16;
};

/// What emulators are known to leave out.
const OFTEN_MISSING: &[Rule] = rules! {
    "INT1, the byte" debug_by_byte: SIGTRAP 1, Instruction, 0, vector 1;
    "an SSE division by zero" sse: SIGFPE 3, Instruction, 0, vector 19;
    "a misaligned operand of MOVAPS" unaligned_vector: SIGSEGV SI_KERNEL, Zero, 0, vector 13;
    "a misaligned read with EFLAGS.AC" unaligned: SIGBUS 1, Zero, 0, vector 17;
};

impl Rule {
    fn check(&self) -> Outcome {
        let at = self.at as *const () as usize;
        let address = match self.address {
            Address::None => 0,
            Address::Instruction => at,
            Address::At(address) => address,
        };
        equal("told", run(self.code), Some(Told { signal: self.signal, code: self.si_code, address }))?;
        equal("RIP, from the instruction", INSTRUCTION.load(SeqCst).wrapping_sub(at), self.behind)?;
        equal("the exception's number", VECTOR.load(SeqCst), self.vector)
    }
}

fn jump(code: unsafe extern "C" fn(), expected: Told) -> Outcome {
    equal("told", run(code), Some(expected))
}

pub fn cases(plan: &mut Plan) {
    for rule in RULES {
        plan.case(format!("{} is signal {} with code {}", rule.what, rule.signal, rule.si_code), || {
            rule.check()
        });
    }
    for rule in OFTEN_MISSING {
        plan.case(
            format!("{} is signal {} with code {}", rule.what, rule.signal, rule.si_code),
            || match run(rule.code) {
                None => skipped("nothing happened: this processor does not do that"),
                Some(told) if told.signal == libc::SIGILL => {
                    skipped("this processor does not know the instruction")
                }
                Some(_) => rule.check(),
            },
        );
    }
    plan.case("a jump to zero is a fault of the jump's target", || {
        jump(code::jump_null, Told { signal: libc::SIGSEGV, code: SEGV_MAPERR, address: 0 })?;
        equal("RIP", INSTRUCTION.load(SeqCst), 0)
    });
    plan.case("a jump into the kernel is a fault of its target", || {
        jump(code::jump_kernel, Told { signal: libc::SIGSEGV, code: SEGV_MAPERR, address: KERNEL_ADDRESS })?;
        equal("RIP", INSTRUCTION.load(SeqCst), KERNEL_ADDRESS)
    });
    plan.case("a jump to an address that is not canonical is SIGSEGV from the kernel", || {
        jump(code::jump_beyond, Told { signal: libc::SIGSEGV, code: SI_KERNEL, address: 0 })
    });
    plan.case("a single step over a system call ends behind the instruction after it, or before", || {
        // Which of the two it is depends on how the kernel returns; both are in use among Linux' own paths.
        let told = run(code::single_step_over_a_call);
        let at = code::at::single_step_over_a_call as *const () as usize;
        let near = told.is_some_and(|told| {
            told.signal == libc::SIGTRAP && told.code == 2 && told.address.abs_diff(at) <= 2
        });
        holds(near, || format!("expected a trace trap near {at:#x}, got {told:x?}"))
    });
    plan.case("INT 0x80 is refused: there are no calls of 32-bit programs", || {
        if !on_gnomon() {
            return skipped("Linux may offer them");
        }
        jump(code::number_128, Told { signal: libc::SIGSEGV, code: SI_KERNEL, address: 0 })
    });
    plan.case("what a handler changes in its context is where the program goes on", || {
        for _ in 0..1000 {
            if run(code::undefined).is_none() {
                return failed("the undefined instruction went unnoticed");
            }
        }
        Ok(())
    });
}
