//! Delivery: making a program run its handler next, and undoing that when the handler returns.

use super::{
    action::ActionFlags,
    alternate_stack::AlternateStack,
    frame::{
        self, Context, END_MAGIC, EXTENDED_LAYOUT, Frame, LEGACY_STATE, MachineContext, NOTE_AT, Placement,
        RED_ZONE, STACK_SEGMENT, StateNote,
    },
    info::SignalInfo,
    take::Delivery,
};
use crate::{
    abi::{Errno, Result, UserPointer},
    arch::{Registers, UserContext, UserMode},
    task::{Caller, attention},
};

/// What a handler must not change for the one it interrupted: flags that steer the processor rather than the program.
/// Trap, direction and resume flag.
const FLAGS_CLEARED: u64 = 1 << 8 | 1 << 10 | 1 << 16;

/// Puts a frame on the stack and the program at the handler's first instruction.
///
/// Errors: EFAULT when there is no room for it: then the program cannot go on.
pub fn enter_handler(caller: &mut Caller<'_>, delivery: &Delivery) -> Result<()> {
    let Delivery { signal, info, action } = delivery;
    if !action.has(ActionFlags::RESTORER) {
        return Err(Errno::EFAULT.because("a handler says where it returns to, SA_RESTORER"));
    }
    let registers = caller.user.registers();
    let (mask, stack, fault) = {
        let signals = caller.task.signals.lock();
        (signals.saved_mask.unwrap_or(signals.blocked), signals.alternate_stack, signals.last_fault)
    };
    let (size, features) = (UserContext::extended_state_size(), UserContext::extended_state_features());
    let framed_size = frame::framed_size(size, features);
    let placement = place(&registers, action.has(ActionFlags::ONSTACK), stack, framed_size)?;
    let frame = Frame {
        restorer: action.restorer as u64,
        context: Context {
            flags: STACK_SEGMENT | if features == 0 { 0 } else { EXTENDED_LAYOUT },
            link: 0,
            stack: stack.for_user(registers.rsp as usize),
            machine: MachineContext::new(&registers, fault, mask, placement.extended_state),
            mask,
        },
        info: info.for_user(),
    };
    save_state(caller, placement.extended_state, size, features)?;
    caller.space.write(UserPointer::new(placement.frame), &frame)?;

    caller.user.set_registers(&Registers {
        rip: action.handler as u64,
        rsp: placement.frame as u64,
        rdi: signal.number().into(),
        rsi: (placement.frame + core::mem::offset_of!(Frame, info)) as u64,
        rdx: (placement.frame + core::mem::offset_of!(Frame, context)) as u64,
        rax: 0,
        rflags: registers.rflags & !FLAGS_CLEARED,
        ..registers
    });
    let mut signals = caller.task.signals.lock();
    signals.alternate_stack = stack.disarmed();
    signals.saved_mask = None;
    let mut blocked = signals.blocked.union(action.mask);
    drop(signals);
    if !action.has(ActionFlags::NODEFER) {
        blocked.insert(*signal);
    }
    caller.task.attention.clear(attention::MASK);
    caller.task.set_blocked(blocked);
    Ok(())
}

/// Writes the extended state, with what says how much of it there is.
fn save_state(caller: &mut Caller<'_>, at: usize, size: usize, features: u64) -> Result<()> {
    let space = &caller.space;
    caller.user.show_extended_state(|state| space.write_bytes(at, state))?;
    if features == 0 {
        return Ok(());
    }
    space.write(UserPointer::new(at.wrapping_add(NOTE_AT)), &StateNote::new(size, features))?;
    space.write(UserPointer::new(at.wrapping_add(size)), &END_MAGIC)
}

/// Where the frame goes. Errors: EFAULT when it would not fit on the alternate stack: overrunning that would be worse.
fn place(
    registers: &Registers,
    on_alternate: bool,
    stack: AlternateStack,
    state_size: usize,
) -> Result<Placement> {
    let stack_pointer = registers.rsp as usize;
    let alternate = if on_alternate { stack.top_for(stack_pointer) } else { None };
    let top = alternate.unwrap_or(stack_pointer.wrapping_sub(RED_ZONE));
    let placement = Placement::below(top, state_size);
    if (alternate.is_some() || stack.is_used_by(stack_pointer)) && !stack.holds(placement.frame) {
        return Err(Errno::EFAULT.because("the alternate stack is too small for the frame"));
    }
    Ok(placement)
}

/// rt_sigreturn(2): everything as it was before the handler. The result is what the interrupted call, or code, had in rax.
///
/// Errors: EFAULT when there is no frame, or nothing that can be one: the program cannot go on.
pub fn leave_handler(caller: &mut Caller<'_>) -> Result<usize> {
    let present = caller.user.registers();
    let frame = (present.rsp as usize).wrapping_sub(core::mem::size_of::<u64>());
    let at = frame.wrapping_add(core::mem::offset_of!(Frame, context));
    let context: Context = caller.space.read(UserPointer::new(at))?;
    caller.task.set_blocked(context.mask);
    restore_state(caller, context.machine.extended_state as usize)?;
    let registers = context.machine.registers(&present);
    caller.user.set_registers(&registers);
    let mut signals = caller.task.signals.lock();
    // A frame whose stack would be refused leaves the present one in place.
    if let Ok(stack) = signals.alternate_stack.changed(context.stack, registers.rsp as usize) {
        signals.alternate_stack = stack;
    }
    Ok(registers.rax as usize)
}

fn restore_state(caller: &mut Caller<'_>, address: usize) -> Result<()> {
    if address == 0 {
        caller.user.reset_extended_state();
        return Ok(());
    }
    let (size, features) = (UserContext::extended_state_size(), UserContext::extended_state_features());
    let space = &caller.space;
    let is_whole = features != 0
        && space.read::<StateNote>(UserPointer::new(address.wrapping_add(NOTE_AT)))?.announces(size)
        && space.read::<u32>(UserPointer::new(address.wrapping_add(size)))? == END_MAGIC;
    let length = if is_whole { size } else { LEGACY_STATE };
    caller.user.load_extended_state(length, |state| space.read_bytes(address, state))
}

/// Kills with SIGSEGV a program whose stack or frame is no good, after giving its own handler for that a chance.
/// `signal` is the one that could not be delivered: for SIGSEGV itself there is no second try.
pub fn give_up(caller: &Caller<'_>, failed: Option<crate::abi::Signal>) {
    use crate::abi::Signal;
    if failed == Some(Signal::SIGSEGV) {
        caller.task.actions().set(Signal::SIGSEGV, super::Action::default());
    }
    super::force(caller.task, SignalInfo::kernel(Signal::SIGSEGV));
}
