//! `/proc/sys`: the few settings that programs read or tests change, sysctl(8).

use super::{
    node::{Row, Settings, What},
    root::Whole,
};
use crate::{
    abi::{Errno, Result},
    exec::RANDOMIZE,
    fs::{
        Actor, Call, Positions,
        file::{MOST_FILES, open_files},
        mount,
    },
    ns::{Capability, Credentials, count::Counted},
    task::{identity, limits, table},
};
use alloc::{format, string::String, vec::Vec};
use core::{ops::RangeInclusive, str::FromStr, sync::atomic::Ordering::Relaxed};

/// The table.
pub static ROWS: &[Row<Whole>] = &[
    Row { name: "fs", permissions: 0o555, what: What::Table(FS) },
    Row { name: "kernel", permissions: 0o555, what: What::Table(KERNEL) },
    Row { name: "user", permissions: 0o555, what: What::Table(USER) },
    Row { name: "vm", permissions: 0o555, what: What::Table(VM) },
];

fn line(text: impl core::fmt::Display) -> Result<Vec<u8>> {
    Ok(format!("{text}\n").into_bytes())
}

static FS: &[Row<Whole>] = &[
    Row { name: "file-max", permissions: 0o644, what: What::Settings(&FILE_MAX) },
    Row::text("file-nr", |_, _| line(format_args!("{}\t0\t{}", open_files(), MOST_FILES.load(Relaxed)))),
    Row::text("mount-max", |_, _| line(mount::MOST)),
    Row::text("nr_open", |_, _| line(1_048_576)),
    Row::text("pipe-max-size", |_, _| line(1_048_576)),
];

static KERNEL: &[Row<Whole>] = &[
    Row { name: "hostname", permissions: 0o644, what: What::Settings(&HOSTNAME) },
    Row::text("cap_last_cap", |_, _| line(crate::ns::Capability::LAST)),
    Row::text("ngroups_max", |_, _| line(65_536)),
    Row::text("osrelease", |_, _| line(identity::RELEASE)),
    Row::text("ostype", |_, _| line(identity::SYSTEM_NAME)),
    Row::text("overflowgid", |_, _| line(crate::ns::credentials::OVERFLOW_ID)),
    Row::text("overflowuid", |_, _| line(crate::ns::credentials::OVERFLOW_ID)),
    Row { name: "pid_max", permissions: 0o644, what: What::Settings(&PID_MAX) },
    Row { name: "randomize_va_space", permissions: 0o644, what: What::Settings(&RANDOMIZE_VA_SPACE) },
    Row::text("threads-max", |_, _| line(limits::most_tasks())),
    Row::text("version", |_, _| line(identity::VERSION)),
];

static VM: &[Row<Whole>] = &[
    Row::text("max_map_count", |_, _| line(65_530)),
    Row::text("mmap_min_addr", |_, _| line(65_536)),
    Row::text("overcommit_memory", |_, _| line(1)),
];

static USER: &[Row<Whole>] = &[
    Row { name: "max_time_namespaces", permissions: 0o644, what: What::Settings(&MAX_TIME_NAMESPACES) },
    Row { name: "max_user_namespaces", permissions: 0o644, what: What::Settings(&MAX_USER_NAMESPACES) },
];

static HOSTNAME: Settings<Whole> = Settings {
    read: |_, _| line(identity::host_name()),
    write: |_, call, bytes| {
        if !call.actor.credentials().capable_globally(Capability::SYS_ADMIN) {
            return Err(Errno::EPERM.because("naming the machine takes CAP_SYS_ADMIN"));
        }
        let name = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        identity::set_host_name(&String::from_utf8_lossy(name))?;
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

/// Errors: EINVAL for anything but a number that is not negative.
static FILE_MAX: Settings<Whole> = Settings {
    read: |_, _| line(MOST_FILES.load(Relaxed)),
    write: |_, _, bytes| {
        MOST_FILES.store(number(bytes, 0..=i64::MAX as u64)?, Relaxed);
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

/// Errors: EINVAL for anything but a number in the range.
static PID_MAX: Settings<Whole> = Settings {
    read: |_, _| line(table::number_limit()),
    write: |_, _, bytes| {
        table::set_number_limit(number(bytes, table::NUMBER_LIMITS)?);
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

/// A decimal number in a range. Errors: EINVAL.
fn number<T: FromStr + PartialOrd>(bytes: &[u8], range: RangeInclusive<T>) -> Result<T> {
    let number = core::str::from_utf8(bytes).unwrap_or("").trim().parse().ok();
    number.filter(|number| range.contains(number)).ok_or(Errno::EINVAL.because("the setting has a range"))
}

/// Errors: EINVAL for anything but 0, 1 and 2.
static RANDOMIZE_VA_SPACE: Settings<Whole> = Settings {
    read: |_, _| line(RANDOMIZE.load(Relaxed)),
    write: |_, _, bytes| {
        RANDOMIZE.store(number(bytes, 0..=2)?, Relaxed);
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

static MAX_TIME_NAMESPACES: Settings<Whole> = Settings {
    read: |_, actor| read_limit(actor, Counted::Time),
    write: |_, call, bytes| write_limit(call, bytes, Counted::Time),
    positions: Positions::Some,
    may_write: Some(may_set_limits),
};

static MAX_USER_NAMESPACES: Settings<Whole> = Settings {
    read: |_, actor| read_limit(actor, Counted::User),
    write: |_, call, bytes| write_limit(call, bytes, Counted::User),
    positions: Positions::Some,
    may_write: Some(may_set_limits),
};

/// The setting's file is another one in every user namespace, and there CAP_SYS_RESOURCE owns it.
fn may_set_limits(credentials: &Credentials) -> bool {
    credentials.capable(Capability::SYS_RESOURCE)
}

/// The reader's own user namespace has a limit of its own.
fn read_limit(actor: &dyn Actor, kind: Counted) -> Result<Vec<u8>> {
    line(actor.credentials().user_namespace.counts().limit(kind))
}

/// Errors: EPERM without CAP_SYS_RESOURCE in the namespace; EINVAL for anything but a number in range.
fn write_limit(call: Call<'_>, bytes: &[u8], kind: Counted) -> Result<usize> {
    let credentials = call.actor.credentials();
    if !credentials.capable(Capability::SYS_RESOURCE) {
        return Err(Errno::EPERM.because("setting a limit of namespaces takes CAP_SYS_RESOURCE"));
    }
    let text = core::str::from_utf8(bytes).unwrap_or("").trim();
    let limit = text.parse::<u32>().map_err(|_| Errno::EINVAL.because("a limit is a decimal number"))?;
    credentials.user_namespace.counts().set_limit(kind, limit)?;
    Ok(bytes.len())
}
