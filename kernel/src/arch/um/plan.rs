//! What a host process has to do so that it has no more than the kernel wants, in as few operations as can be.
//!
//! Every operation is a host call, and asking for the kernel's approval costs as much again. So neighbours that need the
//! same share one: an unmapping goes on over pages that the host does not have anyway, a change of permissions over
//! whatever frames there are, a mapping over frames that follow each other.

use super::entry::{Entry, Host};
use super::operation::Operation;
use crate::arch::{Mapping, PAGE_SIZE, Permissions};
use core::ops::Range;

/// Operations that make the host's mappings no more than what is wanted, as few as can be.
///
/// It is shown the entries of ranges, each range ascending.
#[derive(Default)]
pub struct Plan {
    operations: Vec<Operation>,
    last: Option<Step>,
}

/// The last operation, as long as it may still grow.
#[derive(Clone, PartialEq, Eq)]
struct Step {
    pages: Range<usize>,
    action: Action,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Unmap,
    Protect(Permissions),
    /// Another frame is wanted: it is put there at once, for a page that was in use will be used.
    Map(Mapping),
}

impl Plan {
    /// The entries that follow are elsewhere: no operation may reach from here to there.
    pub fn begin_range(&mut self) {
        self.last = None;
    }

    /// What there is to do.
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Adds what an entry needs, and gives what it is then.
    pub fn mend(&mut self, page: usize, entry: Entry) -> Entry {
        if !entry.is_stale() {
            // What is there and stays keeps an unmapping from running over it.
            if entry.host != Host::Nothing {
                self.last = None;
            }
            return entry;
        }
        let (action, host) = match entry.wanted {
            None => (Action::Unmap, Host::Nothing),
            Some(wanted) if wanted.permissions.is_empty() && entry.host == Host::Other => {
                (Action::Unmap, Host::Nothing)
            }
            Some(wanted) if entry.host == Host::Other => {
                (Action::Map(wanted), Host::Wanted(wanted.permissions))
            }
            Some(wanted) => (Action::Protect(wanted.permissions), Host::Wanted(wanted.permissions)),
        };
        self.add(page, action);
        Entry { host, ..entry }
    }

    fn add(&mut self, page: usize, action: Action) {
        let end = page + PAGE_SIZE;
        if let Some(last) = &mut self.last {
            let grows = match (last.action, action) {
                // Over pages of which the host has none, too.
                (Action::Unmap, Action::Unmap) => true,
                (Action::Protect(before), Action::Protect(now)) => before == now && last.pages.end == page,
                (Action::Map(first), Action::Map(now)) => {
                    let distance = (page - last.pages.start) / PAGE_SIZE;
                    last.pages.end == page
                        && first.permissions == now.permissions
                        && first.frame.0 as usize + distance == now.frame.0 as usize
                }
                _ => false,
            };
            if grows {
                last.pages.end = end;
                self.operations.pop();
                self.operations.push(last.operation());
                return;
            }
        }
        let step = Step { pages: page..end, action };
        self.operations.push(step.operation());
        self.last = Some(step);
    }
}

impl Step {
    fn operation(&self) -> Operation {
        let pages = self.pages.clone();
        match self.action {
            Action::Unmap => Operation::unmap(pages),
            Action::Protect(permissions) => Operation::protect(pages, permissions),
            Action::Map(mapping) => Operation::map(pages, mapping.frame, mapping.permissions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Frame;

    const READ: Permissions = Permissions::READ;
    const BOTH: Permissions = Permissions::READ.union(Permissions::WRITE);

    fn wanted(frame: u32, permissions: Permissions) -> Option<Mapping> {
        Some(Mapping { frame: Frame(frame), permissions })
    }

    fn planned(entries: &[(usize, Entry)]) -> Vec<Operation> {
        let mut plan = Plan::default();
        for &(page, entry) in entries {
            let after = plan.mend(page * PAGE_SIZE, entry);
            assert!(!after.is_stale(), "{entry:?}");
        }
        plan.into_operations()
    }

    fn pages(range: Range<usize>) -> Range<usize> {
        range.start * PAGE_SIZE..range.end * PAGE_SIZE
    }

    #[test]
    fn an_unmapping_goes_over_what_the_host_has_not_but_not_over_what_stays() {
        let gone = Entry { wanted: None, host: Host::Other };
        let absent = Entry { wanted: wanted(1, READ), host: Host::Nothing };
        let stays = Entry { wanted: wanted(1, READ), host: Host::Wanted(READ) };
        assert_eq!(
            planned(&[(1, gone), (2, absent), (9, gone), (10, stays), (11, gone)]),
            [Operation::unmap(pages(1..10)), Operation::unmap(pages(11..12))]
        );
    }

    #[test]
    fn permissions_are_taken_from_a_run_of_any_frames_without_a_gap() {
        let narrowed = |frame| Entry { wanted: wanted(frame, READ), host: Host::Wanted(BOTH) };
        assert_eq!(
            planned(&[(1, narrowed(7)), (2, narrowed(3)), (4, narrowed(4))]),
            [Operation::protect(pages(1..3), READ), Operation::protect(pages(4..5), READ)]
        );
    }

    #[test]
    fn other_frames_are_mapped_together_if_they_follow_each_other() {
        let other = |frame| Entry { wanted: wanted(frame, BOTH), host: Host::Other };
        assert_eq!(
            planned(&[(1, other(7)), (2, other(8)), (3, other(5))]),
            [Operation::map(pages(1..3), Frame(7), BOTH), Operation::map(pages(3..4), Frame(5), BOTH)]
        );
        let hidden = Entry { wanted: wanted(1, Permissions::empty()), host: Host::Other };
        assert_eq!(
            planned(&[(1, hidden)]),
            [Operation::unmap(pages(1..2))],
            "what nobody may touch is not there"
        );
    }

    #[test]
    fn no_operation_reaches_from_one_range_to_another() {
        let gone = Entry { wanted: None, host: Host::Other };
        let mut plan = Plan::default();
        plan.mend(PAGE_SIZE, gone);
        plan.begin_range();
        plan.mend(5 * PAGE_SIZE, gone);
        assert_eq!(plan.into_operations(), [Operation::unmap(pages(1..2)), Operation::unmap(pages(5..6))]);
    }
}
