//! Who may use a terminal: its session, and of that the process group in the foreground, credentials(7).
//!
//! The terminal itself remembers the session it controls, and a process' controlling terminal is the one that remembers
//! the process' session. (Linux keeps a pointer in each process as well, and has to keep both true.) So TIOCNOTTY by anyone
//! but the session's leader has nothing to change, and changes nothing.

use super::Terminal;
use crate::{
    abi::{Errno, Result, Signal, TaskId},
    fs::{Actor, DeviceNumber, console::SERIAL_DEVICE},
    ns::Capability,
    sync::Once,
};

/// What a terminal asks of those who know processes.
pub trait JobControl: Sync {
    /// Sends a signal to every process of a group.
    fn signal_group(&self, group: TaskId, signal: Signal);
    /// The session that a group belongs to, if there is such a group.
    fn session_of_group(&self, group: TaskId) -> Option<TaskId>;
    /// Whether nobody who could continue them looks after the group's processes, setpgid(2).
    fn is_orphaned(&self, group: TaskId) -> bool;
}

static JOB_CONTROL: Once<&'static dyn JobControl> = Once::new();

/// Says who knows processes. Until then no signals come from terminals.
pub fn install(job_control: &'static dyn JobControl) {
    JOB_CONTROL.call_once(|| job_control);
}

/// Which session and group a terminal serves.
#[derive(Clone, Copy, Default)]
pub(super) struct Jobs {
    session: Option<TaskId>,
    foreground: Option<TaskId>,
}

pub(super) fn signal_group(group: Option<TaskId>, signal: Signal) {
    if let (Some(group), Some(job_control)) = (group, JOB_CONTROL.get()) {
        job_control.signal_group(group, signal);
    }
}

fn leads_session(actor: &dyn Actor) -> bool {
    actor.session() != 0 && actor.session() == actor.process_id()
}

impl Terminal {
    /// Whether it is the actor's controlling terminal.
    pub fn controls(&self, actor: &dyn Actor) -> bool {
        self.jobs().session.is_some_and(|session| session == actor.session())
    }

    /// For a process of this session: the terminal's device number and its foreground group, if it controls them.
    pub fn of_session(&self, session: TaskId) -> Option<(DeviceNumber, Option<TaskId>)> {
        let jobs = self.jobs();
        (jobs.session == Some(session)).then_some((SERIAL_DEVICE, jobs.foreground))
    }

    /// The foreground group.
    pub(super) fn foreground(&self) -> Option<TaskId> {
        self.jobs().foreground
    }

    /// Whether the actor may read (`signal` SIGTTIN) or change the terminal (SIGTTOU) now. If it is in the background its
    /// group is sent the signal, and the call is made again when they continue.
    ///
    /// Errors: ERESTARTSYS after a signal; EIO when that would be of no use.
    pub(super) fn must_be_foreground(&self, actor: &dyn Actor, signal: Signal) -> Result<()> {
        let Some(foreground) = self.foreground() else { return Ok(()) };
        let group = actor.process_group();
        if group == foreground || !self.controls(actor) {
            return Ok(());
        }
        let eio =
            || Errno::EIO.because("a background process that cannot be stopped does not get the terminal");
        if actor.blocks_or_ignores(signal) {
            return if signal == Signal::SIGTTIN { Err(eio()) } else { Ok(()) };
        }
        if JOB_CONTROL.get().is_none_or(|job_control| job_control.is_orphaned(group)) {
            return Err(eio());
        }
        signal_group(Some(group), signal);
        Err(Errno::ERESTARTSYS.because("a background process waits until it is continued"))
    }

    /// Makes it the controlling terminal of the actor's session, if that leads one which has none: opening does that.
    pub(super) fn offer_to(&self, actor: &dyn Actor) {
        if leads_session(actor) && self.jobs().session.is_none() {
            self.take_by(actor);
        }
    }

    fn take_by(&self, actor: &dyn Actor) {
        self.set_jobs(Jobs { session: Some(actor.session()), foreground: Some(actor.process_group()) });
    }

    /// TIOCSCTTY. Errors: EPERM unless the actor leads a session without a terminal, and nobody has this one (or CAP_SYS_ADMIN
    /// takes it away).
    pub(super) fn take(&self, actor: &dyn Actor, steal: bool) -> Result<()> {
        if leads_session(actor) && self.controls(actor) {
            return Ok(());
        }
        if !leads_session(actor) {
            return Err(Errno::EPERM.because("only a session's leader takes a controlling terminal"));
        }
        let taken = self.jobs().session.is_some();
        if taken && !(steal && actor.credentials().capable_globally(Capability::SYS_ADMIN)) {
            return Err(Errno::EPERM.because("the terminal controls another session"));
        }
        self.take_by(actor);
        Ok(())
    }

    /// TIOCNOTTY. Errors: ENOTTY when it is not the actor's.
    pub(super) fn give_up(&self, actor: &dyn Actor) -> Result<()> {
        self.must_control(actor)?;
        if leads_session(actor) {
            self.session_ended(actor.session());
        }
        Ok(())
    }

    /// The leader of a session has ended: its foreground processes hear of it, and the terminal is free.
    pub fn session_ended(&self, session: TaskId) {
        let jobs = self.jobs();
        if jobs.session != Some(session) {
            return;
        }
        self.set_jobs(Jobs::default());
        signal_group(jobs.foreground, Signal::SIGHUP);
        signal_group(jobs.foreground, Signal::SIGCONT);
    }

    fn must_control(&self, actor: &dyn Actor) -> Result<()> {
        match self.controls(actor) {
            true => Ok(()),
            false => Err(Errno::ENOTTY.because("it is not the caller's controlling terminal")),
        }
    }

    /// TIOCGPGRP: 0 when there is none. Errors: ENOTTY.
    pub(super) fn foreground_for(&self, actor: &dyn Actor) -> Result<TaskId> {
        self.must_control(actor)?;
        Ok(self.foreground().unwrap_or(0))
    }

    /// TIOCGSID. Errors: ENOTTY.
    pub(super) fn session_for(&self, actor: &dyn Actor) -> Result<TaskId> {
        self.must_control(actor)?;
        Ok(actor.session())
    }

    /// The first part of TIOCSPGRP, before the group is known. Errors: ENOTTY, ERESTARTSYS.
    pub(super) fn may_set_foreground(&self, actor: &dyn Actor) -> Result<()> {
        match self.must_be_foreground(actor, Signal::SIGTTOU) {
            Err(Errno::EIO) => {
                return Err(Errno::ENOTTY.because("an orphaned group does not get the terminal"));
            }
            other => other?,
        }
        self.must_control(actor)
    }

    /// The second part. Errors: EINVAL; ESRCH without such a group; EPERM when it is in another session.
    pub(super) fn set_foreground(&self, actor: &dyn Actor, group: i32) -> Result<()> {
        let group = TaskId::try_from(group).map_err(|_| Errno::EINVAL)?;
        let session = JOB_CONTROL.get().and_then(|job_control| job_control.session_of_group(group));
        match session {
            None => Err(Errno::ESRCH.because("there is no such process group")),
            Some(session) if session != actor.session() => {
                Err(Errno::EPERM.because("the foreground group is of the terminal's session"))
            }
            Some(session) => {
                self.set_jobs(Jobs { session: Some(session), foreground: Some(group) });
                Ok(())
            }
        }
    }
}
