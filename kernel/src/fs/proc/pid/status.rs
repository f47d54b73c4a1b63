//! `/proc/PID/status`: what people want to read, proc_pid_status(5).

use super::Someone;
use crate::{
    abi::{Result, SignalSet},
    arch::PAGE_SIZE,
    fs::{Actor, proc::root::lines},
    ns::credentials::OVERFLOW_ID,
    task::Task,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// A name, a tab and a value in each line.
pub fn text(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    let task = someone.task()?;
    let process = task.process();
    let state = task.state();
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(format!("{name}:\t{value}"));
    row("Name", task.name().to_string());
    if let Some(context) = task.filesystem() {
        row("Umask", format!("{:04o}", context.umask()));
    }
    row("State", format!("{} ({})", state.letter(), state.word()));
    row("Tgid", process.id().to_string());
    row("Ngid", 0.to_string());
    row("Pid", task.id().to_string());
    row("PPid", process.parent_id().to_string());
    row("TracerPid", 0.to_string());
    identity(&task, actor, &mut row);
    row("FDSize", task.files().map_or(0, |files| files.capacity()).to_string());
    groups(&task, actor, &mut row);
    memory(&task, &mut row);
    row("Threads", process.thread_count().max(1).to_string());
    signals(&task, &mut row);
    let credentials = task.credentials();
    for (name, set) in [
        ("CapInh", credentials.inheritable),
        ("CapPrm", credentials.permitted),
        ("CapEff", credentials.effective),
        ("CapBnd", credentials.bounding),
        ("CapAmb", credentials.ambient),
    ] {
        row(name, format!("{:016x}", set.0));
    }
    row("NoNewPrivs", u32::from(task.has_no_new_privileges()).to_string());
    row("Seccomp", 0.to_string());
    row("Cpus_allowed", format!("{:x}", 1));
    row("Cpus_allowed_list", 0.to_string());
    row("Mems_allowed_list", 0.to_string());
    let usage = task.usage();
    row("voluntary_ctxt_switches", usage.voluntary_switches.to_string());
    row("nonvoluntary_ctxt_switches", usage.involuntary_switches.to_string());
    Ok(lines(rows))
}

fn identity(task: &Task, actor: &dyn Actor, row: &mut impl FnMut(&str, String)) {
    let credentials = task.credentials();
    let viewer = actor.credentials().user_namespace.clone();
    let user = |id| viewer.shown_user(id).unwrap_or(OVERFLOW_ID);
    let group = |id| viewer.shown_group(id).unwrap_or(OVERFLOW_ID);
    let [a, b, c, d] = [credentials.uid, credentials.euid, credentials.suid, credentials.fsuid].map(user);
    row("Uid", format!("{a}\t{b}\t{c}\t{d}"));
    let [a, b, c, d] = [credentials.gid, credentials.egid, credentials.sgid, credentials.fsgid].map(group);
    row("Gid", format!("{a}\t{b}\t{c}\t{d}"));
}

fn groups(task: &Task, actor: &dyn Actor, row: &mut impl FnMut(&str, String)) {
    let viewer = actor.credentials().user_namespace.clone();
    let mut text = String::new();
    for &id in task.credentials().groups.iter() {
        text.push_str(&format!("{} ", viewer.shown_group(id).unwrap_or(OVERFLOW_ID)));
    }
    row("Groups", text);
}

fn memory(task: &Task, row: &mut impl FnMut(&str, String)) {
    let Some(space) = task.space() else { return };
    let sizes = space.statistics();
    for (name, pages) in [
        ("VmPeak", sizes.total),
        ("VmSize", sizes.total),
        ("VmLck", sizes.locked),
        ("VmHWM", sizes.peak_resident),
        ("VmRSS", sizes.resident),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", sizes.code),
    ] {
        row(name, format!("{:>8} kB", pages * PAGE_SIZE / 1024));
    }
}

fn signals(task: &Task, row: &mut impl FnMut(&str, String)) {
    let (own, shared, blocked) = task.pending_and_blocked();
    let (ignored, caught) = task.actions().ignored_and_caught();
    let sets: [(&str, SignalSet); 5] =
        [("SigPnd", own), ("ShdPnd", shared), ("SigBlk", blocked), ("SigIgn", ignored), ("SigCgt", caught)];
    for (name, set) in sets {
        row(name, format!("{:016x}", set.0));
    }
}
