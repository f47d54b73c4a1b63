//! Delivery: making a program run its handler next, and undoing that when the handler returns.

use super::{
    action::{Action, ActionFlags},
    alternate_stack::AlternateStack,
    frame::{
        self, Context, END_MAGIC, EXTENDED_LAYOUT, Frame, LEGACY_STATE, MachineContext, NOTE_AT, Placement,
        RED_ZONE, STACK_SEGMENT, StateNote,
    },
    info::SignalInfo,
};
use crate::{
    abi::{Errno, Result, Signal, SignalSet, UserPointer},
    arch::{Access, PAGE_SIZE, UserContext, UserMode},
    mm::AddressSpace,
    task::{Caller, attention},
};
use core::mem::offset_of;
use zerocopy::{FromBytes, IntoBytes};

/// What a handler must not change for the one it interrupted: flags that steer the processor rather than the program.
/// Trap, direction and resume flag.
const FLAGS_CLEARED: u64 = 1 << 8 | 1 << 10 | 1 << 16;

/// Puts a frame on the stack and the program at the handler's first instruction.
///
/// Errors: EFAULT when there is no room for it: then the program cannot go on.
#[inline]
pub fn enter_handler(
    caller: &mut Caller<'_>,
    signal: Signal,
    info: &SignalInfo,
    action: &Action,
) -> Result<()> {
    if !action.has(ActionFlags::RESTORER) {
        return Err(Errno::EFAULT.because("a handler says where it returns to, SA_RESTORER"));
    }
    let (task, user) = (caller.task, &mut *caller.user);
    let stack_pointer = user.see_registers(|registers| registers.rsp) as usize;
    let (mask, stack, fault) = {
        let signals = task.signals.lock();
        (signals.saved_mask.unwrap_or(signals.blocked), signals.alternate_stack, signals.last_fault)
    };
    let (size, features) = (UserContext::extended_state_size(), UserContext::extended_state_features());
    let framed_size = frame::framed_size(size, features);
    let placement = place(stack_pointer, action.has(ActionFlags::ONSTACK), stack, framed_size)?;
    let mut bytes = caller.space.lend(placement.frame, placement.size(), Access::Write)?;
    let (below, state) = bytes.split_at_mut(placement.extended_state - placement.frame);
    save_state(user, state, size, features);
    let (frame, _) = Frame::mut_from_prefix(below).map_err(|_| Errno::EFAULT)?;
    frame.restorer = action.restorer as u64;
    frame.info.info = *info;
    frame.info.rest = [0; _];
    let context = &mut frame.context;
    context.flags = STACK_SEGMENT | if features == 0 { 0 } else { EXTENDED_LAYOUT };
    context.link = 0;
    context.stack = stack.for_user(stack_pointer);
    context.mask = mask;
    let state = placement.extended_state;
    user.see_registers(|registers| context.machine.save(registers, fault, mask, state));
    caller.space.take_back(placement.frame, bytes)?;
    user.change_registers(|registers| {
        registers.rip = action.handler as u64;
        registers.rsp = placement.frame as u64;
        registers.rdi = signal.number().into();
        registers.rsi = (placement.frame + offset_of!(Frame, info)) as u64;
        registers.rdx = (placement.frame + offset_of!(Frame, context)) as u64;
        registers.rax = 0;
        registers.rflags &= !FLAGS_CLEARED;
    });
    let own = if action.has(ActionFlags::NODEFER) { SignalSet::EMPTY } else { SignalSet::of(signal) };
    task.attention.clear(attention::MASK);
    task.change_signals(|signals| {
        signals.alternate_stack.disarm();
        signals.saved_mask = None;
        signals.blocked = signals.blocked.union(action.mask).union(own);
    });
    Ok(())
}

/// Writes the extended state, with what says how much of it there is.
#[inline(always)]
fn save_state(user: &mut UserContext, bytes: &mut [u8], size: usize, features: u64) {
    let (state, end) = bytes.split_at_mut(size);
    user.store_extended_state(state);
    if features != 0 {
        state[NOTE_AT..LEGACY_STATE].copy_from_slice(StateNote::new(size, features).as_bytes());
        end.copy_from_slice(&END_MAGIC.to_ne_bytes());
    }
}

/// Where the frame goes. Errors: EFAULT when it would not fit on the alternate stack: overrunning that would be worse.
fn place(
    stack_pointer: usize,
    on_alternate: bool,
    stack: AlternateStack,
    state_size: usize,
) -> Result<Placement> {
    let is_on_alternate = stack.is_used_by(stack_pointer);
    let below_red_zone = stack_pointer.wrapping_sub(RED_ZONE);
    let alternate = if on_alternate { stack.top_for(stack_pointer) } else { None };
    if alternate.is_none() && !is_on_alternate {
        return Ok(Placement::in_one_page_below(below_red_zone, state_size));
    }
    // An alternate stack has just the size that somebody has worked out: no byte of it is passed over.
    let placement = Placement::below(alternate.unwrap_or(below_red_zone), state_size);
    if !stack.holds(placement.frame) {
        return Err(Errno::EFAULT.because("the alternate stack is too small for the frame"));
    }
    Ok(placement)
}

/// rt_sigreturn(2): everything as it was before the handler.
///
/// Errors: EFAULT when there is no frame, or nothing that can be one: the program cannot go on.
pub fn leave_handler(caller: &mut Caller<'_>) -> Result<()> {
    let (task, space, user) = (caller.task, &caller.space, &mut *caller.user);
    let frame = user.see_registers(|registers| registers.rsp).wrapping_sub(size_of::<u64>() as u64) as usize;
    let at = frame.wrapping_add(offset_of!(Frame, context));
    let bytes = space.lend(at, size_of::<Context>(), Access::Read)?;
    let copy;
    let context = match Context::ref_from_bytes(&bytes) {
        Ok(context) => context,
        // Its stack pointer is not as it was.
        Err(_) => {
            copy = Context::read_from_bytes(&bytes).map_err(|_| Errno::EFAULT)?;
            &copy
        }
    };
    user.change_registers(|registers| context.machine.restore(registers));
    let Context { mask, stack, machine: MachineContext { rsp, extended_state, .. }, .. } = *context;
    drop(bytes);
    task.change_signals(|signals| {
        signals.blocked = mask;
        signals.alternate_stack.restore(stack, rsp as usize);
    });
    restore_state(user, space, extended_state as usize)
}

#[inline(always)]
fn restore_state(user: &mut UserContext, space: &AddressSpace, address: usize) -> Result<()> {
    if address == 0 {
        user.reset_extended_state();
        return Ok(());
    }
    let (size, features) = (UserContext::extended_state_size(), UserContext::extended_state_features());
    let mut length = frame::framed_size(size, features);
    // What lies in one page can be looked at even if it is not there; beyond that there may be no memory.
    if length > PAGE_SIZE - address % PAGE_SIZE {
        let note = space.read(UserPointer::<StateNote>::new(address.wrapping_add(NOTE_AT)))?;
        length = if note.announces(size) { length } else { LEGACY_STATE };
    }
    let bytes = space.lend(address, length, Access::Read)?;
    let legacy = &bytes[..LEGACY_STATE];
    let whole = bytes.split_at_checked(size).filter(|(_, end)| {
        *end == END_MAGIC.to_ne_bytes()
            && StateNote::read_from_bytes(&legacy[NOTE_AT..]).is_ok_and(|note| note.announces(size))
    });
    user.load_extended_state(whole.map_or(legacy, |(state, _)| state))
}

/// Kills with SIGSEGV a program whose stack or frame is no good, after giving its own handler for that a chance.
/// `signal` is the one that could not be delivered: for SIGSEGV itself there is no second try.
pub fn give_up(caller: &Caller<'_>, failed: Option<Signal>) {
    if failed == Some(Signal::SIGSEGV) {
        caller.task.actions().set(Signal::SIGSEGV, super::Action::default());
    }
    super::force(caller.task, SignalInfo::kernel(Signal::SIGSEGV));
}
