//! futex(2) and the list of robust ones.

use super::{Caller, clocks::absolute};
use crate::{
    abi::{Errno, Result, TaskId, Timespec, UserPointer, linux},
    task::{
        futex::{self, ANY, Word, robust},
        table,
    },
    time::{HostClock, events::Deadline},
};

/// Set in the operation: only threads of this memory mean the word, and it saves looking who else might.
const PRIVATE: u32 = linux::FUTEX_PRIVATE_FLAG;
/// Set in the operation: the deadline is one of the wall clock.
const REALTIME: u32 = linux::FUTEX_CLOCK_REALTIME;

/// futex(2), without the operations that inherit priorities: those are ENOSYS, as on a Linux without them.
///
/// Errors, in this order: EFAULT and EINVAL for the time; ENOSYS; then those of the operation.
pub async fn futex(
    caller: &mut Caller<'_>,
    address: usize,
    operation: u32,
    value: u32,
    time_or_count: usize,
    second_address: usize,
    third: u32,
) -> Result<usize> {
    let shared = operation & PRIVATE == 0;
    let word = Word { address, shared };
    let second = Word { address: second_address, shared };
    let command = operation & !(PRIVATE | REALTIME);
    let deadline = deadline(caller, command, operation & REALTIME != 0, time_or_count)?;
    let takes_realtime =
        [linux::FUTEX_WAIT_BITSET, linux::FUTEX_WAIT_REQUEUE_PI, linux::FUTEX_LOCK_PI2].contains(&command);
    if operation & REALTIME != 0 && !takes_realtime {
        return Err(Errno::ENOSYS.because("this operation has no deadline of the wall clock"));
    }
    let (first_count, second_count) = (value as i32, time_or_count as i32);
    match command {
        linux::FUTEX_WAIT => futex::wait(caller, word, value, ANY, deadline).await,
        linux::FUTEX_WAIT_BITSET => futex::wait(caller, word, value, third, deadline).await,
        linux::FUTEX_WAKE => futex::wake(&caller.space, word, first_count, ANY),
        linux::FUTEX_WAKE_BITSET => futex::wake(&caller.space, word, first_count, third),
        linux::FUTEX_REQUEUE => futex::requeue(&caller.space, word, second, first_count, second_count, None),
        linux::FUTEX_CMP_REQUEUE => {
            futex::requeue(&caller.space, word, second, first_count, second_count, Some(third))
        }
        linux::FUTEX_WAKE_OP => {
            futex::wake_and_change(&caller.space, word, second, first_count, second_count, third)
        }
        _ => Err(Errno::ENOSYS.because("this futex operation does not exist here")),
    }
}

/// The deadline, for the operations that have one: relative with FUTEX_WAIT, else absolute and, unless it is one of the
/// wall clock, shifted by the caller's time namespace. Errors: EFAULT; EINVAL.
fn deadline(caller: &Caller<'_>, command: u32, realtime: bool, time: usize) -> Result<Option<Deadline>> {
    let has_time = [
        linux::FUTEX_WAIT,
        linux::FUTEX_LOCK_PI,
        linux::FUTEX_LOCK_PI2,
        linux::FUTEX_WAIT_BITSET,
        linux::FUTEX_WAIT_REQUEUE_PI,
    ]
    .contains(&command);
    if !has_time || time == 0 {
        return Ok(None);
    }
    let time = caller.space.read(UserPointer::<Timespec>::new(time))?.checked()?;
    Ok(Some(if command == linux::FUTEX_WAIT {
        Deadline::after(time)
    } else {
        absolute(caller, if realtime { HostClock::Realtime } else { HostClock::Monotonic }, time)
    }))
}

/// set_robust_list(2). Errors: EINVAL for a head of another size.
pub fn set_robust_list(caller: &mut Caller<'_>, head: usize, size: usize) -> Result<usize> {
    if size != size_of::<robust::Head>() {
        return Err(Errno::EINVAL.because("the head of a robust list has 24 bytes"));
    }
    caller.task.set_robust_list(head);
    Ok(0)
}

/// get_robust_list(2). Errors: ESRCH; EPERM without permission to look into the task; EFAULT.
pub fn get_robust_list(
    caller: &mut Caller<'_>,
    id: i32,
    head: UserPointer<usize>,
    size: UserPointer<usize>,
) -> Result<usize> {
    let task = match id {
        0 => caller.task.clone(),
        _ => table::task(id as TaskId).ok_or_else(|| Errno::ESRCH.because("there is no such task"))?,
    };
    let own = core::ptr::eq(&*task, &**caller.task);
    if !own && !task.may_be_inspected_by(&caller.credentials()) {
        return Err(Errno::EPERM.because("looking at a robust list takes permission to look into the task"));
    }
    caller.space.write(size, &size_of::<robust::Head>())?;
    caller.space.write(head, &task.robust_list())?;
    Ok(0)
}
