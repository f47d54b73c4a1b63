//! What clone(2), clone3(2), fork(2) and vfork(2) are asked for, and what of it makes no sense.
//!
//! The order of clone3's checks is part of what programs see: callers probe for a flag by the error it gives. So the rules
//! are tables, in that order, each with its reason; what they cannot express (reading memory, privileges, limits) comes
//! before, between and after them in [`super::clone`].

use crate::abi::{Errno, Result, linux};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags::bitflags! {
    /// clone's flags, without the low byte in which the legacy call has the exit signal.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "clone(2) describes them")]
    pub struct CloneFlags: u64 {
        const NEWTIME = linux::CLONE_NEWTIME as u64;
        const VM = linux::CLONE_VM as u64;
        const FS = linux::CLONE_FS as u64;
        const FILES = linux::CLONE_FILES as u64;
        const SIGHAND = linux::CLONE_SIGHAND as u64;
        const PIDFD = linux::CLONE_PIDFD as u64;
        const VFORK = linux::CLONE_VFORK as u64;
        const PARENT = linux::CLONE_PARENT as u64;
        const THREAD = linux::CLONE_THREAD as u64;
        const NEWNS = linux::CLONE_NEWNS as u64;
        const SYSVSEM = linux::CLONE_SYSVSEM as u64;
        const SETTLS = linux::CLONE_SETTLS as u64;
        const PARENT_SETTID = linux::CLONE_PARENT_SETTID as u64;
        const CHILD_CLEARTID = linux::CLONE_CHILD_CLEARTID as u64;
        const DETACHED = linux::CLONE_DETACHED as u64;
        const CHILD_SETTID = linux::CLONE_CHILD_SETTID as u64;
        const NEWCGROUP = linux::CLONE_NEWCGROUP as u64;
        const NEWUTS = linux::CLONE_NEWUTS as u64;
        const NEWIPC = linux::CLONE_NEWIPC as u64;
        const NEWUSER = linux::CLONE_NEWUSER as u64;
        const NEWPID = linux::CLONE_NEWPID as u64;
        const NEWNET = linux::CLONE_NEWNET as u64;
        const CLEAR_SIGHAND = linux::CLONE_CLEAR_SIGHAND;
        const INTO_CGROUP = linux::CLONE_INTO_CGROUP;

        /// Kinds of namespace that do not exist here.
        const ABSENT_NAMESPACES = Self::NEWNS.bits() | Self::NEWCGROUP.bits() | Self::NEWUTS.bits()
            | Self::NEWIPC.bits() | Self::NEWPID.bits() | Self::NEWNET.bits();
        /// Kinds of namespace whose making takes CAP_SYS_ADMIN.
        const PRIVILEGED_NAMESPACES = Self::ABSENT_NAMESPACES.bits() | Self::NEWTIME.bits();
    }
}

/// `struct clone_args`: what clone3(2) is given.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "clone(2) describes them")]
pub struct CloneArguments {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// The smallest size of [`CloneArguments`] there ever was: without `set_tid` and what follows.
pub const SMALLEST: usize = linux::CLONE_ARGS_SIZE_VER0 as usize;
/// The largest size a program may give, for structures of the future.
pub const LARGEST: usize = crate::arch::PAGE_SIZE;
/// Process numbers that set_tid can ask for: one for each nested namespace of them.
const MOST_NUMBERS: u64 = 32;

/// A rule and its reason: arguments for which it answers true are refused with EINVAL.
type Rule<T> = (fn(&T) -> bool, &'static str);

/// The arguments, and how many bytes of them were given.
pub struct Given {
    /// With zeros for what was not given.
    pub arguments: CloneArguments,
    /// In bytes.
    pub size: usize,
}

impl Given {
    fn has(&self, flags: CloneFlags) -> bool {
        CloneFlags::from_bits_retain(self.arguments.flags).intersects(flags)
    }
}

/// Checked before the numbers of set_tid are read.
const BEFORE_SET_TID: &[Rule<Given>] = &[
    (|given| given.arguments.set_tid_size > MOST_NUMBERS, "set_tid has at most 32 numbers"),
    (|given| given.arguments.set_tid == 0 && given.arguments.set_tid_size > 0, "set_tid is missing"),
    (|given| given.arguments.set_tid != 0 && given.arguments.set_tid_size == 0, "set_tid has no numbers"),
    (|given| given.arguments.exit_signal & !0xff != 0, "an exit signal has eight bits"),
    (|given| given.arguments.exit_signal > 64, "an exit signal is at most 64"),
    (
        |given| given.has(CloneFlags::INTO_CGROUP) && given.arguments.cgroup > i32::MAX as u64,
        "a control group is given as a descriptor",
    ),
    (
        |given| given.has(CloneFlags::INTO_CGROUP) && given.size < size_of::<CloneArguments>(),
        "the arguments end before the control group",
    ),
];

/// Bits of `flags` that can mean anything.
const MEANINGFUL: u64 = (1 << 34) - 1;
/// The legacy call's exit signal; in clone3 only one of its bits has a meaning.
const LOW_BYTE: u64 = linux::CSIGNAL as u64;

/// Checked after the numbers of set_tid were read.
const AFTER_SET_TID: &[Rule<Given>] = &[
    (|given| given.arguments.flags & !MEANINGFUL != 0, "there are no flags from bit 34 on"),
    (|given| given.has(CloneFlags::DETACHED), "CLONE_DETACHED is not used any more"),
    (
        |given| given.arguments.flags & LOW_BYTE & !CloneFlags::NEWTIME.bits() != 0,
        "clone3 has no exit signal in its flags",
    ),
    (
        |given| given.has(CloneFlags::SIGHAND) && given.has(CloneFlags::CLEAR_SIGHAND),
        "signal actions are shared or cleared",
    ),
    (
        |given| given.has(CloneFlags::THREAD | CloneFlags::PARENT) && given.arguments.exit_signal != 0,
        "a thread or sibling sends its maker no signal",
    ),
    (|given| (given.arguments.stack == 0) != (given.arguments.stack_size == 0), "a stack has a size"),
    (
        |given| {
            let end = given.arguments.stack.checked_add(given.arguments.stack_size);
            end.is_none_or(|end| end > user_end())
        },
        "a stack lies in user memory",
    ),
];

fn user_end() -> u64 {
    use crate::arch::{Hardware, Machine};
    Hardware::USER_END as u64
}

/// What all four calls come down to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloneRequest {
    /// What is shared, made and set.
    pub flags: CloneFlags,
    /// What the parent is sent when the child ends.
    pub exit_signal: u32,
    /// The child's stack pointer; `None`: as its maker's.
    pub stack: Option<usize>,
    /// CLONE_SETTLS: the child's FS base.
    pub tls: usize,
    /// CLONE_PIDFD: where the descriptor goes.
    pub pidfd: usize,
    /// CLONE_PARENT_SETTID: where the child's number goes in its maker's memory.
    pub parent_tid: usize,
    /// CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID: where the child's number goes in its own memory.
    pub child_tid: usize,
    /// How many numbers set_tid asked for.
    pub wanted_numbers: usize,
    /// The first of them.
    pub wanted_number: i32,
}

impl CloneRequest {
    /// What clone3(2) asks for, without the numbers it wants. `read_numbers` reads those.
    ///
    /// Errors, in this order: EINVAL by the first table; what `read_numbers` says; EINVAL by the second table.
    pub fn from_arguments(
        given: &Given,
        read_numbers: impl FnOnce(usize, usize) -> Result<i32>,
    ) -> Result<Self> {
        refuse(BEFORE_SET_TID, given)?;
        let CloneArguments { flags, exit_signal, stack, stack_size, set_tid, set_tid_size, .. } =
            given.arguments;
        let wanted_number = match set_tid_size {
            0 => 0,
            _ => read_numbers(set_tid as usize, set_tid_size as usize)?,
        };
        refuse(AFTER_SET_TID, given)?;
        Ok(Self {
            flags: CloneFlags::from_bits_truncate(flags),
            exit_signal: exit_signal as u32,
            stack: (stack != 0).then_some((stack + stack_size) as usize),
            tls: given.arguments.tls as usize,
            pidfd: given.arguments.pidfd as usize,
            parent_tid: given.arguments.parent_tid as usize,
            child_tid: given.arguments.child_tid as usize,
            wanted_numbers: set_tid_size as usize,
            wanted_number,
        })
    }

    /// What the legacy clone(2) asks for. Only the low half of the flags counts, and its lowest byte is the exit
    /// signal, any byte: so 0x80 is no CLONE_NEWTIME here, but a signal that does not exist.
    pub fn from_legacy(flags: u64, stack: usize, parent_tid: usize, child_tid: usize, tls: usize) -> Self {
        let low = flags & u64::from(u32::MAX);
        Self {
            flags: CloneFlags::from_bits_truncate(low & !LOW_BYTE),
            exit_signal: (low & LOW_BYTE) as u32,
            stack: (stack != 0).then_some(stack),
            tls,
            pidfd: parent_tid,
            parent_tid,
            child_tid,
            wanted_numbers: 0,
            wanted_number: 0,
        }
    }

    /// What fork(2) asks for.
    pub fn fork() -> Self {
        Self::from_legacy(linux::SIGCHLD.into(), 0, 0, 0, 0)
    }

    /// What vfork(2) asks for.
    pub fn vfork() -> Self {
        let shared = CloneFlags::VFORK | CloneFlags::VM;
        Self { flags: shared, ..Self::fork() }
    }

    /// Whether it makes sense, whichever call it came by. `maker_is_init`: CLONE_PARENT would give init a sibling.
    /// Errors: EINVAL.
    pub fn check(&self, maker_is_init: bool) -> Result<()> {
        refuse(COMBINATIONS, &Combination { request: *self, maker_is_init })
    }
}

/// A request, and what of its maker matters.
struct Combination {
    request: CloneRequest,
    maker_is_init: bool,
}

impl Combination {
    fn has(&self, flags: CloneFlags) -> bool {
        self.request.flags.contains(flags)
    }
}

/// Checked for each of the calls, last.
const COMBINATIONS: &[Rule<Combination>] = &[
    (
        |it| {
            it.has(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) && it.request.pidfd == it.request.parent_tid
        },
        "the descriptor and the number go to different places",
    ),
    (|it| it.has(CloneFlags::NEWNS | CloneFlags::FS), "a root directory in other mounts cannot be shared"),
    (
        |it| it.has(CloneFlags::NEWUSER | CloneFlags::FS),
        "a root directory cannot be shared across user namespaces",
    ),
    (|it| it.has(CloneFlags::THREAD) && !it.has(CloneFlags::SIGHAND), "threads share signal actions"),
    (|it| it.has(CloneFlags::SIGHAND) && !it.has(CloneFlags::VM), "shared handlers need shared memory"),
    (|it| it.has(CloneFlags::PARENT) && it.maker_is_init, "init has no siblings"),
    (
        |it| {
            it.has(CloneFlags::THREAD)
                && it.request.flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID)
        },
        "the threads of a process are in the same user and process namespaces",
    ),
    (|it| it.has(CloneFlags::PIDFD | CloneFlags::DETACHED), "CLONE_DETACHED is not used any more"),
];

fn refuse<T>(rules: &[Rule<T>], subject: &T) -> Result<()> {
    match rules.iter().find(|(is_broken, _)| is_broken(subject)) {
        Some((_, reason)) => Err(Errno::EINVAL.because(reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(change: impl FnOnce(&mut CloneArguments)) -> Given {
        let mut arguments = CloneArguments::default();
        change(&mut arguments);
        Given { arguments, size: size_of::<CloneArguments>() }
    }

    /// What is refused before set_tid is read, although it cannot be read; and what only after.
    #[test]
    fn clone3_refuses_in_the_order_of_its_contract() {
        let unreadable = |given: &Given| {
            CloneRequest::from_arguments(given, |_, _| Err(Errno::EFAULT))
                .err()
                .map(|error| error == Errno::EINVAL)
        };
        let early: [fn(&mut CloneArguments); 6] = [
            |arguments| arguments.set_tid_size = 33,
            |arguments| (arguments.set_tid, arguments.set_tid_size) = (0, 1),
            |arguments| (arguments.set_tid, arguments.set_tid_size) = (8, 0),
            |arguments| arguments.exit_signal = 0x100,
            |arguments| arguments.exit_signal = 0x80,
            |arguments| (arguments.flags, arguments.cgroup) = (linux::CLONE_INTO_CGROUP, 1 << 31),
        ];
        for (number, change) in early.into_iter().enumerate() {
            let readable = |arguments: &mut CloneArguments| {
                (arguments.set_tid, arguments.set_tid_size) = (8, 1);
                change(arguments);
            };
            assert_eq!(unreadable(&given(readable)), Some(true), "early rule {number}");
        }
        let late: [fn(&mut CloneArguments); 8] = [
            |arguments| arguments.flags = 1 << 34,
            |arguments| arguments.flags = linux::CLONE_DETACHED.into(),
            |arguments| arguments.flags = 0x81,
            |arguments| arguments.flags = linux::CLONE_CLEAR_SIGHAND | u64::from(linux::CLONE_SIGHAND),
            |arguments| (arguments.flags, arguments.exit_signal) = (linux::CLONE_PARENT.into(), 17),
            |arguments| arguments.stack = 0x1000,
            |arguments| arguments.stack_size = 0x1000,
            |arguments| (arguments.stack, arguments.stack_size) = (u64::MAX - 5, 0x1000),
        ];
        for (number, change) in late.into_iter().enumerate() {
            assert_eq!(unreadable(&given(change)), Some(true), "late rule {number} alone");
            let with_numbers = |arguments: &mut CloneArguments| {
                (arguments.set_tid, arguments.set_tid_size) = (8, 1);
                change(arguments);
            };
            assert_eq!(unreadable(&given(with_numbers)), Some(false), "late rule {number} after EFAULT");
        }
        let short = Given { size: SMALLEST, ..given(|arguments| arguments.flags = linux::CLONE_INTO_CGROUP) };
        assert_eq!(unreadable(&short), Some(true), "the control group must be there");
    }

    #[test]
    fn clone3_takes_what_it_should() {
        let good: [fn(&mut CloneArguments); 5] = [
            |arguments| arguments.exit_signal = 64,
            |arguments| arguments.exit_signal = 0,
            |arguments| arguments.flags = linux::CLONE_NEWTIME.into(),
            |arguments| (arguments.stack, arguments.stack_size) = (0x1000, 0x2000),
            |arguments| arguments.flags = linux::CLONE_PARENT.into(),
        ];
        for (number, change) in good.into_iter().enumerate() {
            let request = CloneRequest::from_arguments(&given(change), |_, _| unreachable!());
            assert!(request.is_ok_and(|request| request.check(false).is_ok()), "{number}");
        }
        let stack = given(|arguments| (arguments.stack, arguments.stack_size) = (0x1000, 0x2000));
        assert_eq!(CloneRequest::from_arguments(&stack, |_, _| Ok(0)).unwrap().stack, Some(0x3000));
    }

    #[test]
    fn combinations_that_make_no_sense() {
        use CloneFlags as Flags;
        let refused = |flags, maker_is_init| {
            CloneRequest { flags, ..CloneRequest::fork() }.check(maker_is_init) == Err(Errno::EINVAL)
        };
        assert!(refused(Flags::NEWNS | Flags::FS, false));
        assert!(refused(Flags::NEWUSER | Flags::FS, false));
        assert!(refused(Flags::THREAD, false));
        assert!(refused(Flags::THREAD | Flags::SIGHAND, false), "without VM");
        assert!(refused(Flags::THREAD | Flags::SIGHAND | Flags::VM | Flags::NEWUSER, false));
        assert!(refused(Flags::PARENT, true) && !refused(Flags::PARENT, false));
        assert!(refused(Flags::PIDFD | Flags::PARENT_SETTID, false), "to the same place");
        assert!(!refused(Flags::THREAD | Flags::SIGHAND | Flags::VM | Flags::NEWTIME, false));
    }

    #[test]
    fn the_legacy_call_takes_any_byte_for_an_exit_signal() {
        let request = CloneRequest::from_legacy(0xffff_ffff_0000_0091, 0, 0, 0, 0);
        assert_eq!((request.exit_signal, request.flags), (0x91, CloneFlags::empty()));
    }
}
