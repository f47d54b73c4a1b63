//! What the whole machine says and does: uname(2), sysinfo(2), reboot(2), and its chance: getrandom(2).

use super::{Caller, places::only};
use crate::{
    abi::{Errno, NANOSECONDS_PER_SECOND, Result, UserPointer, linux},
    arch::{Hardware, Machine, PAGE_SIZE},
    fs::random,
    mm::{frames, user::Destination},
    ns::Capability,
    task::{identity, sched, table},
    time::{self, HostClock},
};
use alloc::string::String;
use linux_raw_sys::system::SI_LOAD_SHIFT;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of each name, with the zero at its end.
const NAME: usize = identity::LONGEST + 1;

/// `struct utsname`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Names([[u8; NAME]; 6]);

/// uname(2). Errors: EFAULT.
pub fn uname(caller: &mut Caller<'_>, into: UserPointer<Names>) -> Result<usize> {
    let texts = [
        identity::SYSTEM_NAME.into(),
        identity::host_name(),
        identity::RELEASE.into(),
        identity::VERSION.into(),
        identity::MACHINE.into(),
        identity::domain_name(),
    ];
    let mut names = Names([[0; NAME]; 6]);
    for (name, text) in names.0.iter_mut().zip(&texts) {
        let length = text.len().min(NAME - 1);
        name[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    caller.space.write(into, &names)?;
    Ok(0)
}

fn set_name(caller: &Caller<'_>, from: usize, length: i32, set: fn(&str) -> Result<()>) -> Result<usize> {
    if !caller.credentials().capable_globally(Capability::SYS_ADMIN) {
        return Err(Errno::EPERM.because("naming the machine takes CAP_SYS_ADMIN"));
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= identity::LONGEST);
    let length = length.ok_or_else(|| Errno::EINVAL.because("the machine's name has at most 64 bytes"))?;
    let name = caller.space.read_array::<u8>(UserPointer::new(from), length)?;
    set(&String::from_utf8_lossy(&name))?;
    Ok(0)
}

/// sethostname(2). Errors: EPERM, EINVAL, EFAULT.
pub fn sethostname(caller: &mut Caller<'_>, from: usize, length: i32) -> Result<usize> {
    set_name(caller, from, length, identity::set_host_name)
}

/// setdomainname(2). Errors: EPERM, EINVAL, EFAULT.
pub fn setdomainname(caller: &mut Caller<'_>, from: usize, length: i32) -> Result<usize> {
    set_name(caller, from, length, identity::set_domain_name)
}

/// `struct sysinfo`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SystemInformation {
    uptime: i64,
    loads: [u64; 3],
    total_memory: u64,
    free_memory: u64,
    shared_memory: u64,
    buffer_memory: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    padding: [u16; 3],
    total_high: u64,
    free_high: u64,
    unit: u32,
    rest: u32,
}

/// sysinfo(2): the uptime as the caller's time namespace has it, rounded up to a second. Errors: EFAULT.
pub fn sysinfo(caller: &mut Caller<'_>, into: UserPointer<SystemInformation>) -> Result<usize> {
    let host = time::now(HostClock::Boottime);
    let boottime = caller.task.with_namespaces(|namespaces| namespaces.to_inside(HostClock::Boottime, host));
    let memory = frames::statistics();
    // As in `/proc/loadavg`: the present number stands for all three averages, in units of 1/65536.
    let running = (sched::statistics().runnable as u64) << SI_LOAD_SHIFT;
    let information = SystemInformation {
        uptime: seconds_rounded_up(boottime.unwrap_or(host)),
        loads: [running; 3],
        total_memory: (memory.total * PAGE_SIZE) as u64,
        free_memory: (memory.free * PAGE_SIZE) as u64,
        shared_memory: 0,
        buffer_memory: 0,
        total_swap: 0,
        free_swap: 0,
        processes: table::statistics().tasks as u16,
        padding: [0; 3],
        total_high: 0,
        free_high: 0,
        unit: 1,
        rest: 0,
    };
    caller.space.write(into, &information)?;
    Ok(0)
}

fn seconds_rounded_up(nanoseconds: i64) -> i64 {
    let second = NANOSECONDS_PER_SECOND as i64;
    nanoseconds.div_euclid(second) + i64::from(nanoseconds.rem_euclid(second) != 0)
}

/// reboot(2): halting ends the machine like powering it off, as a halted one would be of no use to whoever started it.
///
/// Errors: EPERM without CAP_SYS_BOOT; EINVAL for the wrong magic numbers or an unknown command.
pub fn reboot(caller: &mut Caller<'_>, first: u32, second: u32, command: u32) -> Result<usize> {
    const SECOND: [u32; 4] = [
        linux::LINUX_REBOOT_MAGIC2,
        linux::LINUX_REBOOT_MAGIC2A,
        linux::LINUX_REBOOT_MAGIC2B,
        linux::LINUX_REBOOT_MAGIC2C,
    ];
    if !caller.credentials().capable_globally(Capability::SYS_BOOT) {
        return Err(Errno::EPERM.because("ending the machine takes CAP_SYS_BOOT"));
    }
    if first != linux::LINUX_REBOOT_MAGIC1 || !SECOND.contains(&second) {
        return Err(Errno::EINVAL.because("reboot wants its magic numbers"));
    }
    match command {
        linux::LINUX_REBOOT_CMD_POWER_OFF | linux::LINUX_REBOOT_CMD_HALT => {
            log::info!("reboot: power down");
            Hardware::power_off()
        }
        linux::LINUX_REBOOT_CMD_RESTART => {
            log::info!("reboot: restarting system");
            Hardware::restart()
        }
        linux::LINUX_REBOOT_CMD_CAD_ON | linux::LINUX_REBOOT_CMD_CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL.because("the machine can be restarted, halted or powered off")),
    }
}

/// getrandom(2). Errors: EINVAL for unknown flags; EFAULT.
pub fn getrandom(caller: &mut Caller<'_>, address: usize, length: usize, flags: u32) -> Result<usize> {
    only(flags, linux::GRND_NONBLOCK | linux::GRND_RANDOM | linux::GRND_INSECURE)?;
    let both = linux::GRND_RANDOM | linux::GRND_INSECURE;
    if flags & both == both {
        return Err(Errno::EINVAL.because("GRND_RANDOM and GRND_INSECURE exclude each other"));
    }
    random::read(&mut Destination::user(&caller.space, address, length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laid_out_as_the_c_library_expects() {
        assert_eq!(size_of::<Names>(), size_of::<libc::utsname>());
        assert_eq!(size_of::<SystemInformation>(), size_of::<libc::sysinfo>());
        assert_eq!(
            core::mem::offset_of!(SystemInformation, unit),
            core::mem::offset_of!(libc::sysinfo, mem_unit)
        );
        assert_eq!(
            core::mem::offset_of!(SystemInformation, processes),
            core::mem::offset_of!(libc::sysinfo, procs)
        );
    }

    #[test]
    fn uptime_is_rounded_up() {
        assert_eq!(
            [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001].map(seconds_rounded_up),
            [0, 1, 1, 1, 2]
        );
        assert_eq!(seconds_rounded_up(-1), 0);
    }
}
