//! Who may send a signal to whom, kill(2).

use crate::{
    abi::{Errno, Result, Signal},
    ns::{Capability, Credentials},
    task::{Process, Task},
};

/// Whether a task may signal the process `target`: its own; or one of the same user, or CAP_KILL over it; and
/// SIGCONT within a session, so that a shell can continue what has changed its user.
///
/// Errors: EPERM.
#[inline]
pub fn check(sender: &Task, target: &Process, signal: Option<Signal>) -> Result<()> {
    if core::ptr::eq(&**sender.process(), target) { Ok(()) } else { check_other(sender, target, signal) }
}

fn check_other(sender: &Task, target: &Process, signal: Option<Signal>) -> Result<()> {
    let own = sender.process();
    let Some(thread) = target.leader() else { return Ok(()) };
    let continues_in_session = signal == Some(Signal::SIGCONT) && own.session_id() == target.session_id();
    let credentials = sender.credentials();
    if continues_in_session || same_user(&credentials, &thread.credentials()) {
        return Ok(());
    }
    if credentials.capable_in(&thread.credentials().user_namespace, Capability::KILL) {
        return Ok(());
    }
    Err(Errno::EPERM.because("only the same user, or CAP_KILL, may send signals"))
}

fn same_user(sender: &Credentials, target: &Credentials) -> bool {
    let theirs = [target.uid, target.suid];
    theirs.contains(&sender.euid) || theirs.contains(&sender.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_or_effective_user_must_match_the_real_or_saved_one() {
        let who = |uid, euid, suid| Credentials { uid, euid, suid, ..Credentials::initial() };
        assert!(same_user(&who(5, 6, 7), &who(5, 0, 0)));
        assert!(same_user(&who(5, 6, 7), &who(0, 0, 6)));
        assert!(!same_user(&who(5, 6, 7), &who(7, 5, 0)));
    }
}
