//! The unwind tables tell the truth: before every single instruction of every call, what they say of the return address
//! and of the registers a function has to preserve is what the processor has.

use super::super::figures::cycles;
use super::super::place::{Form, Placed};
use super::super::steps::{Step, observe};
use super::image;
use anyhow::{Context, Result, ensure};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, LittleEndian, Register, RegisterRule, UnwindContext, UnwindSection,
    UnwindTableRow, X86_64,
};
use gnomon_vdso::clocks::{Class, Clock};
use gnomon_vdso::cycles::Conversion;
use gnomon_vdso::page::{MODE_TSC, TimeData};
use gnomon_vdso::write::{Counter, Offset, fill_namespace_page};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

type Row = UnwindTableRow<usize>;

fn register(step: &Step, register: Register) -> u64 {
    let registers = &step.registers;
    match register {
        X86_64::RSP => registers.rsp,
        X86_64::RBX => registers.rbx,
        X86_64::RBP => registers.rbp,
        X86_64::R12 => registers.r12,
        X86_64::R13 => registers.r13,
        X86_64::R14 => registers.r14,
        X86_64::R15 => registers.r15,
        other => panic!("the tables ask for register {}", other.0),
    }
}

/// What the caller had in a register, according to a row of the table.
fn restored(row: &Row, step: &Step, wanted: Register) -> Result<u64> {
    let CfaRule::RegisterAndOffset { register: base, offset } = row.cfa() else {
        anyhow::bail!("the frame is not told by a register");
    };
    let frame = register(step, *base).wrapping_add_signed(*offset);
    match row.register(wanted) {
        Some(RegisterRule::Offset(offset)) => step.memory(frame.wrapping_add_signed(offset)),
        None | Some(RegisterRule::SameValue) => Ok(register(step, wanted)),
        Some(other) => anyhow::bail!("a rule nobody needs here: {other:?}"),
    }
}

/// Steps through calls, holding the table against the processor; gives the number of instructions.
fn walk(placed: &Placed, table: &[u8], calls: &[(usize, [usize; 3])]) -> Result<usize> {
    const PRESERVED: [Register; 6] =
        [X86_64::RBX, X86_64::RBP, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15];
    let file: ElfFile64 = ElfFile64::parse(image())?;
    let address = file.section_by_name(".eh_frame").context("no .eh_frame")?.address();
    let frames = EhFrame::new(table, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let (mut entry, mut steps) = (None, 0);
    observe(placed.text(), calls, &mut |step| {
        let at = step.registers.rip - placed.text().start as u64;
        if step.count == 0 {
            entry = Some((step.memory(step.registers.rsp)?, PRESERVED.map(|name| register(step, name))));
        }
        let (caller, preserved) = entry.context("no entry")?;
        let description = frames.fde_for_address(&bases, at, EhFrame::cie_from_offset)?;
        let mut context = UnwindContext::new();
        let row = description.unwind_info_for_address(&frames, &bases, &mut context, at)?;
        let told = restored(row, step, description.cie().return_address_register())?;
        ensure!(told == caller, "at {at:#x} the caller would be {told:#x}, not {caller:#x}");
        for (name, value) in PRESERVED.into_iter().zip(preserved) {
            ensure!(restored(row, step, name)? == value, "at {at:#x} register {} is lost", name.0);
        }
        steps += 1;
        Ok(())
    })?;
    Ok(steps)
}

/// A page on which every way through the arithmetic is taken by some clock: REALTIME carries, RAW has run beyond
/// 64 bits, and the others are ordinary.
fn publish(page: &TimeData) {
    let conversion = Conversion { mult: 1 << 20, shift: 22 };
    page.update(|update| {
        update.counter(Class::HighResolution, &Counter::new(MODE_TSC, cycles(), conversion));
        update.counter(Class::Raw, &Counter { max_cycles: 0, ..Counter::new(MODE_TSC, 0, conversion) });
        update.base(Clock::REALTIME, 5, 5_000_000_000 << conversion.shift);
    });
}

fn table() -> Vec<u8> {
    let file: ElfFile64 = ElfFile64::parse(image()).unwrap();
    file.section_by_name(".eh_frame").unwrap().data().unwrap().to_vec()
}

/// Every function: answered from the page, and by the kernel.
fn calls(placed: &Placed, result: &[u64; 2]) -> Vec<(usize, [usize; 3])> {
    let result = result.as_ptr().addr();
    let function = |name: &str| placed.function(&format!("__vdso_{name}")).unwrap();
    let mut calls: Vec<_> = (0..12)
        .flat_map(|clock| ["clock_gettime", "clock_getres"].map(|name| (function(name), [clock, result, 0])))
        .collect();
    calls.extend([
        (function("gettimeofday"), [result, result, 0]),
        (function("gettimeofday"), [0, result, 0]),
    ]);
    calls.extend([(function("time"), [result, 0, 0]), (function("time"), [0, 0, 0])]);
    calls.extend([(function("getcpu"), [result, result, 0]), (function("getcpu"), [0, 0, 0])]);
    calls
}

#[test]
fn at_every_instruction_the_caller_can_be_found() {
    for form in [Form::Root, Form::Namespace] {
        let placed = Placed::new(image(), form).unwrap();
        if form == Form::Namespace {
            fill_namespace_page(placed.time_page(), Offset::default(), Offset::default());
            publish(placed.companion_page());
        } else {
            publish(placed.time_page());
        }
        let result = [0u64; 2];
        let steps = walk(&placed, &table(), &calls(&placed, &result)).unwrap();
        assert!(steps > 500, "only {steps} instructions were seen");
    }
}

#[test]
fn a_table_that_lies_is_found_out() {
    let placed = Placed::new(image(), Form::Root).unwrap();
    publish(placed.time_page());
    let result = [0u64; 2];
    // At a function's first instruction the frame is 8 bytes above the stack pointer, which is register 7: instruction 0c.
    // Let it be 16.
    let mut lying = table();
    for at in 0..lying.len() - 2 {
        if lying[at..at + 3] == [0x0c, 7, 8] {
            lying[at + 2] = 16;
        }
    }
    assert_ne!(lying, table(), "no function is told of");
    let error = walk(&placed, &lying, &calls(&placed, &result)).unwrap_err();
    assert!(error.to_string().contains("the caller would be"), "{error}");
}
