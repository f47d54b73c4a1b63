//! Segments: the little that 64-bit mode has left of them, and the task state segment.
//!
//! Base and limit of code and data segments are ignored; what remains is the privilege level in the selector, and a fixed
//! order that SYSCALL and SYSRET prescribe. Programs see their selectors in signal frames and a few compare them, so the
//! numbers are Linux's:
//!
//! | selector | what |
//! |---|---|
//! | 0x10, 0x18 | kernel code and data: SYSCALL loads 0x10 and 0x10 + 8 |
//! | 0x23 | user code of 32 bits: left empty, so that no program gets into that mode |
//! | 0x2b, 0x33 | user data and code: SYSRET loads 0x23 + 8 and 0x23 + 16 |
//! | 0x40 | the task state segment, two places long |
//! | 0x7b | no segment at all: its limit is this CPU's number, which any program may ask for with LSL |

use super::entry;
use super::stacks::{ExceptionStack, STACKS};
use x86_64::PrivilegeLevel::{Ring0, Ring3};
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, Msr, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment, SegmentSelector};
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

const KERNEL_CODE: SegmentSelector = SegmentSelector::new(2, Ring0);
const KERNEL_DATA: SegmentSelector = SegmentSelector::new(3, Ring0);
/// The stack segment of every program, as signal frames show it.
pub const USER_DATA: SegmentSelector = SegmentSelector::new(5, Ring3);
/// The code segment of every program.
pub const USER_CODE: SegmentSelector = SegmentSelector::new(6, Ring3);
const TASK_STATE: SegmentSelector = SegmentSelector::new(8, Ring0);
/// Places up to and with 0x7b's.
const PLACES: usize = 16;

static TABLE: spin::Once<GlobalDescriptorTable<PLACES>> = spin::Once::new();
static TASK_STATE_SEGMENT: spin::Once<TaskStateSegment> = spin::Once::new();

/// Which flags a system call clears at once: no interrupts and no single-stepping in the kernel, strings ascending, and
/// AC off, which in the kernel would mean "may touch user memory". The program's flags are kept in R11.
const CLEARED_BY_SYSCALL: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::ALIGNMENT_CHECK)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::IOPL_LOW)
    .union(RFlags::IOPL_HIGH);

/// Loads the segments and the registers that system calls and exceptions find the kernel by.
pub fn load(has_rdtscp: bool) {
    let task_state = TASK_STATE_SEGMENT.call_once(|| {
        let mut segment = TaskStateSegment::new();
        segment.privilege_stack_table[0] = VirtAddr::new(STACKS.entry_top() as u64);
        for which in [ExceptionStack::DoubleFault, ExceptionStack::NonMaskable, ExceptionStack::MachineCheck]
        {
            segment.interrupt_stack_table[which as usize] = VirtAddr::new(STACKS.exception_top(which) as u64);
        }
        segment
    });
    let table = TABLE.call_once(|| {
        let Descriptor::SystemSegment(task_low, task_high) = Descriptor::tss_segment(task_state) else {
            unreachable!("a task state segment is a system segment")
        };
        let mut places = [0; PLACES];
        places[KERNEL_CODE.index() as usize] = DescriptorFlags::KERNEL_CODE64.bits();
        places[KERNEL_DATA.index() as usize] = DescriptorFlags::KERNEL_DATA.bits();
        places[USER_DATA.index() as usize] = DescriptorFlags::USER_DATA.bits();
        places[USER_CODE.index() as usize] = DescriptorFlags::USER_CODE64.bits();
        places[TASK_STATE.index() as usize] = task_low;
        places[TASK_STATE.index() as usize + 1] = task_high;
        places[PLACES - 1] = cpu_number_segment(super::cpu::number());
        GlobalDescriptorTable::from_raw_entries(&places)
    });
    table.load();
    // SAFETY: the selectors name the segments just loaded, and code and stack are as flat as they were.
    unsafe {
        CS::set_reg(KERNEL_CODE);
        SS::set_reg(KERNEL_DATA);
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        load_tss(TASK_STATE);
    }

    Star::write(USER_CODE, USER_DATA, KERNEL_CODE, KERNEL_DATA)
        .expect("the table has the order SYSRET wants");
    LStar::write(VirtAddr::from_ptr(entry::syscall_entry as *const ()));
    SFMask::write(CLEARED_BY_SYSCALL);
    // SAFETY: its target has just been set.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };

    // Without a code segment SYSENTER is a general protection fault: the 32-bit interface is refused.
    const SYSENTER_CS: u32 = 0x174;
    const TSC_AUX: u32 = 0xc000_0103;
    // SAFETY: neither has an effect on the kernel. TSC_AUX exists where RDTSCP does; RDTSCP and RDPID give it to programs.
    unsafe {
        Msr::new(SYSENTER_CS).write(0);
        if has_rdtscp {
            Msr::new(TSC_AUX).write(super::cpu::number() as u64);
        }
    }
}

/// A data segment for user mode with the number as its limit.
const fn cpu_number_segment(number: usize) -> u64 {
    let flags = DescriptorFlags::PRESENT
        .union(DescriptorFlags::USER_SEGMENT)
        .union(DescriptorFlags::DPL_RING_3)
        .union(DescriptorFlags::ACCESSED)
        .union(DescriptorFlags::DEFAULT_SIZE);
    flags.bits() | number as u64 & DescriptorFlags::LIMIT_0_15.bits()
}
