//! prctl(2) and arch_prctl(2): what a task sets and asks about itself.

use super::Caller;
use crate::{
    abi::{Errno, Result, Signal, UserPointer},
    arch::{Hardware, Machine, Registers, UserMode},
    exec,
    ns::{Capability, CapabilitySet, Credentials},
    task::{
        Name,
        credentials::{KEEP_CAPABILITIES, NO_AMBIENT_RAISE, set_secure_bits},
    },
};
use alloc::sync::Arc;
use linux_raw_sys::prctl as linux;

/// What one option does with the four arguments that follow it.
type Control = fn(&mut Caller<'_>, [usize; 4]) -> Result<usize>;

/// Every option there is.
const CONTROLS: &[(u32, Control)] = &[
    (linux::PR_SET_PDEATHSIG, set_parent_death_signal),
    (linux::PR_GET_PDEATHSIG, |caller, [into, ..]| write(caller, into, caller.task.parent_death_signal())),
    (linux::PR_GET_DUMPABLE, |caller, _| Ok(caller.task.process().privacy().dumpable() as usize)),
    (linux::PR_SET_DUMPABLE, set_dumpable),
    (linux::PR_GET_KEEPCAPS, |caller, _| {
        Ok(usize::from(caller.credentials().secure_bits & KEEP_CAPABILITIES != 0))
    }),
    (linux::PR_SET_KEEPCAPS, keep_capabilities),
    (linux::PR_GET_TIMING, |_, _| Ok(linux::PR_TIMING_STATISTICAL as usize)),
    (linux::PR_SET_TIMING, |_, [kind, ..]| must_be(kind == linux::PR_TIMING_STATISTICAL as usize)),
    (linux::PR_SET_NAME, set_name),
    (linux::PR_GET_NAME, |caller, [into, ..]| {
        caller.space.write_bytes(into, caller.task.name().padded()).map(|()| 0)
    }),
    (linux::PR_GET_SECCOMP, |_, _| Ok(0)),
    (linux::PR_CAPBSET_READ, |caller, [capability, ..]| {
        Ok(usize::from(caller.credentials().bounding.contains(capability_of(capability)?)))
    }),
    (linux::PR_CAPBSET_DROP, drop_bounding),
    (linux::PR_GET_TSC, |caller, [into, ..]| write(caller, into, linux::PR_TSC_ENABLE)),
    (linux::PR_GET_SECUREBITS, |caller, _| Ok(caller.credentials().secure_bits as usize)),
    (linux::PR_SET_SECUREBITS, |caller, [bits, ..]| {
        let bits = u32::try_from(bits).map_err(|_| Errno::EPERM)?;
        replace(caller, set_secure_bits(&caller.credentials(), bits)?)
    }),
    (linux::PR_SET_TIMERSLACK, |caller, [slack, ..]| {
        caller.task.set_timer_slack(slack as u64);
        Ok(0)
    }),
    (linux::PR_GET_TIMERSLACK, |caller, _| Ok(caller.task.timer_slack() as usize)),
    (linux::PR_SET_CHILD_SUBREAPER, |caller, [wanted, ..]| {
        caller.task.process().set_subreaper(wanted != 0);
        Ok(0)
    }),
    (linux::PR_GET_CHILD_SUBREAPER, |caller, [into, ..]| {
        write(caller, into, u32::from(caller.task.process().is_subreaper()))
    }),
    (linux::PR_SET_NO_NEW_PRIVS, |caller, [wanted, rest @ ..]| {
        must_be(wanted == 1 && rest == [0; 3])?;
        caller.task.set_no_new_privileges();
        Ok(0)
    }),
    (linux::PR_GET_NO_NEW_PRIVS, |caller, arguments| {
        must_be(arguments == [0; 4])?;
        Ok(usize::from(caller.task.has_no_new_privileges()))
    }),
    (linux::PR_GET_TID_ADDRESS, |caller, [into, ..]| {
        write(caller, into, caller.task.clear_child_tid() as u64)
    }),
    (linux::PR_GET_THP_DISABLE, |_, arguments| must_be(arguments == [0; 4])),
    (linux::PR_CAP_AMBIENT, ambient),
];

/// prctl(2). Errors: EINVAL for an option that does not exist here; those of the option.
pub fn prctl(caller: &mut Caller<'_>, option: u32, a: usize, b: usize, c: usize, d: usize) -> Result<usize> {
    match CONTROLS.iter().find(|(number, _)| *number == option) {
        Some((_, control)) => control(caller, [a, b, c, d]),
        None => Err(Errno::EINVAL.because("this option of prctl does not exist here")),
    }
}

fn must_be(good: bool) -> Result<usize> {
    if good { Ok(0) } else { Err(Errno::EINVAL.because("prctl takes other arguments for this option")) }
}

fn write<T: zerocopy::IntoBytes + zerocopy::Immutable + Copy>(
    caller: &Caller<'_>,
    into: usize,
    value: T,
) -> Result<usize> {
    caller.space.write(UserPointer::new(into), &value).map(|()| 0)
}

fn replace(caller: &Caller<'_>, credentials: Credentials) -> Result<usize> {
    caller.task.set_credentials(Arc::new(credentials));
    Ok(0)
}

fn capability_of(number: usize) -> Result<Capability> {
    Capability::new(number as u64).ok_or_else(|| Errno::EINVAL.because("no capability has this number"))
}

fn set_parent_death_signal(caller: &mut Caller<'_>, [number, ..]: [usize; 4]) -> Result<usize> {
    let number = u32::try_from(number).map_err(|_| Errno::EINVAL)?;
    if number != 0 {
        Signal::new(number)?;
    }
    caller.task.set_parent_death_signal(number);
    Ok(0)
}

fn set_dumpable(caller: &mut Caller<'_>, [wanted, ..]: [usize; 4]) -> Result<usize> {
    must_be(wanted <= 1)?;
    caller.task.process().privacy().set_dumpable(wanted as u32);
    Ok(0)
}

fn keep_capabilities(caller: &mut Caller<'_>, [wanted, ..]: [usize; 4]) -> Result<usize> {
    const LOCK: u32 = KEEP_CAPABILITIES << 1;
    must_be(wanted <= 1)?;
    let old = caller.credentials();
    if old.secure_bits & LOCK != 0 {
        return Err(Errno::EPERM.because("keeping capabilities is locked"));
    }
    let bit = if wanted == 1 { KEEP_CAPABILITIES } else { 0 };
    replace(caller, Credentials { secure_bits: old.secure_bits & !KEEP_CAPABILITIES | bit, ..(*old).clone() })
}

fn set_name(caller: &mut Caller<'_>, [from, ..]: [usize; 4]) -> Result<usize> {
    let name = caller.space.read_prefix(from, Name::SIZE - 1)?;
    caller.task.set_name(Name::new(&name));
    Ok(0)
}

fn drop_bounding(caller: &mut Caller<'_>, [capability, ..]: [usize; 4]) -> Result<usize> {
    let old = caller.credentials();
    if !old.capable(Capability::SETPCAP) {
        return Err(Errno::EPERM.because("dropping from the bounding set takes CAP_SETPCAP"));
    }
    let dropped = CapabilitySet::of(capability_of(capability)?);
    replace(caller, Credentials { bounding: CapabilitySet(old.bounding.0 & !dropped.0), ..(*old).clone() })
}

/// PR_CAP_AMBIENT: one of four actions on the ambient set.
fn ambient(caller: &mut Caller<'_>, [action, capability, rest @ ..]: [usize; 4]) -> Result<usize> {
    let old = caller.credentials();
    let changed = |ambient| replace(caller, Credentials { ambient, ..(*old).clone() });
    if action == linux::PR_CAP_AMBIENT_CLEAR_ALL as usize {
        must_be(capability == 0 && rest == [0; 2])?;
        return changed(CapabilitySet::EMPTY);
    }
    must_be(rest == [0; 2])?;
    let capability = capability_of(capability)?;
    let single = CapabilitySet::of(capability);
    match action as u32 {
        linux::PR_CAP_AMBIENT_IS_SET => Ok(usize::from(old.ambient.contains(capability))),
        linux::PR_CAP_AMBIENT_LOWER => changed(CapabilitySet(old.ambient.0 & !single.0)),
        linux::PR_CAP_AMBIENT_RAISE => {
            let held = old.permitted.contains(capability) && old.inheritable.contains(capability);
            if !held || old.secure_bits & NO_AMBIENT_RAISE != 0 {
                return Err(Errno::EPERM.because("an ambient capability is permitted and inheritable"));
            }
            changed(old.ambient.union(single))
        }
        _ => must_be(false),
    }
}

/// What arch_prctl(2) calls its requests.
mod request {
    pub const SET_GS: u32 = 0x1001;
    pub const SET_FS: u32 = 0x1002;
    pub const GET_FS: u32 = 0x1003;
    pub const GET_GS: u32 = 0x1004;
    pub const GET_CPUID: u32 = 0x1011;
    pub const SET_CPUID: u32 = 0x1012;
    pub const MAP_VDSO_64: u32 = 0x2003;
}

/// arch_prctl(2). Errors: EPERM for a base outside user memory; EFAULT; ENODEV for taking CPUID away; EEXIST for a vDSO
/// that is there; EINVAL for anything else.
pub fn arch_prctl(caller: &mut Caller<'_>, request: u32, argument: usize) -> Result<usize> {
    match request {
        request::SET_FS => set_base(caller, argument, |registers, base| registers.fs_base = base),
        request::SET_GS => set_base(caller, argument, |registers, base| registers.gs_base = base),
        request::GET_FS => {
            let base = caller.user.registers().fs_base;
            write(caller, argument, base)
        }
        request::GET_GS => {
            let base = caller.user.registers().gs_base;
            write(caller, argument, base)
        }
        request::GET_CPUID => Ok(1),
        request::SET_CPUID => Err(Errno::ENODEV.because("CPUID cannot be taken from programs here")),
        request::MAP_VDSO_64 => {
            let special = caller.namespaces()?.special_source();
            exec::map_vdso(&caller.space, &*special, argument)
        }
        _ => Err(Errno::EINVAL.because("this request of arch_prctl does not exist here")),
    }
}

fn set_base(caller: &mut Caller<'_>, base: usize, set: fn(&mut Registers, u64)) -> Result<usize> {
    if base >= Hardware::USER_END {
        return Err(Errno::EPERM.because("a segment base lies in user memory"));
    }
    let mut registers = caller.user.registers();
    set(&mut registers, base as u64);
    caller.user.set_registers(&registers);
    Ok(0)
}
