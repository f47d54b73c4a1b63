//! Who is whose child, and which processes form groups and sessions, credentials(7) and setpgid(2).
//!
//! A plain value that knows processes by number only: so its rules can be tested without a process. The one there is
//! lives in [`super::table`], under the table's lock. (Links from process to process, each with a lock of its own, are
//! the alternative; every rule here looks at several processes at once, and would need the locks of all of them.)

use crate::abi::{Errno, Result, TaskId};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound::{Excluded, Unbounded};

/// The process that takes orphans, and whom nobody is above.
pub const INIT: TaskId = 1;

struct Relatives {
    parent: TaskId,
    /// The thread of the parent that made it: wait4(2) __WNOTHREAD, and PR_SET_PDEATHSIG of prctl(2).
    parent_thread: TaskId,
    children: BTreeSet<TaskId>,
    /// Those of them that something has happened to, and perhaps was not yet waited for.
    eventful: BTreeSet<TaskId>,
    group: TaskId,
}

struct Group {
    session: TaskId,
    members: BTreeSet<TaskId>,
}

/// All relations between processes, from creation until they are reaped.
#[derive(Default)]
pub struct Kinship {
    processes: BTreeMap<TaskId, Relatives>,
    groups: BTreeMap<TaskId, Group>,
    /// Sessions with the number of their groups.
    sessions: BTreeMap<TaskId, usize>,
}

impl Kinship {
    /// The table before there is anything in it.
    pub const fn new() -> Self {
        Self { processes: BTreeMap::new(), groups: BTreeMap::new(), sessions: BTreeMap::new() }
    }

    /// Adds the first process, in group and session 0 as Linux has it until init calls setsid(2).
    pub fn add_init(&mut self) {
        self.add_to(INIT, 0, 0, 0, 0);
    }

    /// Adds a process made by `parent_thread` of `parent`; `maker` is whose group it joins (the parent's child itself,
    /// with CLONE_PARENT).
    pub fn add(&mut self, id: TaskId, parent: TaskId, parent_thread: TaskId, maker: TaskId) {
        let (group, session) = (self.group(maker), self.session(maker));
        self.add_to(id, parent, parent_thread, group, session);
    }

    fn add_to(&mut self, id: TaskId, parent: TaskId, parent_thread: TaskId, group: TaskId, session: TaskId) {
        let (children, eventful) = (BTreeSet::new(), BTreeSet::new());
        self.processes.insert(id, Relatives { parent, parent_thread, children, eventful, group });
        if let Some(parent) = self.processes.get_mut(&parent) {
            parent.children.insert(id);
        }
        self.enter(id, group, session);
    }

    /// Removes one that was reaped; it has no children any more.
    pub fn remove(&mut self, id: TaskId) {
        self.leave_group(id);
        if let Some(relatives) = self.processes.remove(&id)
            && let Some(parent) = self.processes.get_mut(&relatives.parent)
        {
            parent.children.remove(&id);
            parent.eventful.remove(&id);
        }
    }

    fn enter(&mut self, id: TaskId, group: TaskId, session: TaskId) {
        let sessions = &mut self.sessions;
        let entry = self.groups.entry(group).or_insert_with(|| {
            *sessions.entry(session).or_insert(0) += 1;
            Group { session, members: BTreeSet::new() }
        });
        entry.members.insert(id);
        if let Some(relatives) = self.processes.get_mut(&id) {
            relatives.group = group;
        }
    }

    fn leave_group(&mut self, id: TaskId) {
        let number = self.group(id);
        let Some(group) = self.groups.get_mut(&number) else { return };
        group.members.remove(&id);
        if group.members.is_empty() {
            let session = group.session;
            self.groups.remove(&number);
            if let Some(groups) = self.sessions.get_mut(&session) {
                *groups -= 1;
                if *groups == 0 {
                    self.sessions.remove(&session);
                }
            }
        }
    }

    /// Whether the number still names a process, a group or a session, and so cannot be given to a new task.
    pub fn uses(&self, number: TaskId) -> bool {
        self.processes.contains_key(&number)
            || self.groups.contains_key(&number)
            || self.sessions.contains_key(&number)
    }

    /// The parent, 0 for init.
    pub fn parent(&self, id: TaskId) -> TaskId {
        self.processes.get(&id).map_or(0, |relatives| relatives.parent)
    }

    /// The thread of the parent that made it, or that adopted it.
    pub fn parent_thread(&self, id: TaskId) -> TaskId {
        self.processes.get(&id).map_or(0, |relatives| relatives.parent_thread)
    }

    /// The process group.
    pub fn group(&self, id: TaskId) -> TaskId {
        self.processes.get(&id).map_or(0, |relatives| relatives.group)
    }

    /// The session.
    pub fn session(&self, id: TaskId) -> TaskId {
        self.session_of_group(self.group(id)).unwrap_or(0)
    }

    /// The session a group belongs to, if there is such a group.
    pub fn session_of_group(&self, group: TaskId) -> Option<TaskId> {
        self.groups.get(&group).map(|group| group.session)
    }

    /// How many children it has.
    pub fn child_count(&self, id: TaskId) -> usize {
        self.processes.get(&id).map_or(0, |relatives| relatives.children.len())
    }

    /// The children, ascending.
    pub fn children(&self, id: TaskId) -> impl Iterator<Item = TaskId> {
        self.processes.get(&id).into_iter().flat_map(|relatives| relatives.children.iter().copied())
    }

    /// The child with the lowest number above `after`; with `eventful`, of those only.
    pub fn next_child(&self, id: TaskId, after: TaskId, eventful: bool) -> Option<TaskId> {
        let relatives = self.processes.get(&id)?;
        let children = if eventful { &relatives.eventful } else { &relatives.children };
        children.range((Excluded(after), Unbounded)).next().copied()
    }

    /// Notes that something has happened to a process that its parent may wait for, or that it was waited for.
    pub fn note_event(&mut self, id: TaskId, is_there: bool) {
        let parent = self.parent(id);
        if let Some(relatives) = self.processes.get_mut(&parent) {
            match is_there {
                true => relatives.eventful.insert(id),
                false => relatives.eventful.remove(&id),
            };
        }
    }

    /// The members of a group, ascending.
    pub fn members(&self, group: TaskId) -> impl Iterator<Item = TaskId> {
        self.groups.get(&group).into_iter().flat_map(|group| group.members.iter().copied())
    }

    /// Gives a child another parent.
    pub fn adopt(&mut self, child: TaskId, parent: TaskId, parent_thread: TaskId) {
        let Some(relatives) = self.processes.get_mut(&child) else { return };
        let before = core::mem::replace(&mut relatives.parent, parent);
        relatives.parent_thread = parent_thread;
        let mut eventful = false;
        if let Some(relatives) = self.processes.get_mut(&before) {
            relatives.children.remove(&child);
            eventful = relatives.eventful.remove(&child);
        }
        if let Some(relatives) = self.processes.get_mut(&parent) {
            relatives.children.insert(child);
            if eventful {
                relatives.eventful.insert(child);
            }
        }
    }

    /// setpgid(2): `caller` moves `id` (itself or a child) to `group`. `has_executed` says it of `id`.
    ///
    /// Errors, in this order: ESRCH when `id` is neither; EPERM for a child in another session; EACCES for a child
    /// that has executed a program; EPERM for a session's leader; EPERM when the group is not in the session.
    pub fn set_group(&mut self, caller: TaskId, id: TaskId, group: TaskId, has_executed: bool) -> Result<()> {
        if !self.processes.contains_key(&id) {
            return Err(Errno::ESRCH.because("setpgid names a process"));
        }
        let session = self.session(caller);
        if self.parent(id) == caller {
            if self.session(id) != session {
                return Err(Errno::EPERM.because("a child in another session is moved by nobody else"));
            }
            if has_executed {
                return Err(
                    Errno::EACCES.because("a child that has executed a program is moved by nobody else")
                );
            }
        } else if id != caller {
            return Err(Errno::ESRCH.because("setpgid moves the caller or a child of its"));
        }
        if self.session(id) == id {
            return Err(Errno::EPERM.because("a session's leader stays in its group"));
        }
        if group != id && self.session_of_group(group) != Some(session) {
            return Err(Errno::EPERM.because("a process joins only groups of its own session"));
        }
        if group != self.group(id) {
            self.leave_group(id);
            self.enter(id, group, session);
        }
        Ok(())
    }

    /// setsid(2). Errors: EPERM when the caller leads a group, or one has its number.
    pub fn start_session(&mut self, caller: TaskId) -> Result<()> {
        if self.groups.contains_key(&caller) || self.sessions.contains_key(&caller) {
            return Err(Errno::EPERM.because("a group's leader cannot leave its session"));
        }
        self.leave_group(caller);
        self.enter(caller, caller, caller);
        Ok(())
    }

    /// Whether nobody outside the group could continue it: no member has a parent in another group of the session.
    /// Neither `gone` nor what `is_dead` counts, as a member or as a parent, and init is no such parent. POSIX,
    /// "orphaned process group".
    pub fn is_orphaned(&self, group: TaskId, gone: TaskId, is_dead: &dyn Fn(TaskId) -> bool) -> bool {
        let session = self.session_of_group(group);
        !self.members(group).any(|member| {
            let parent = self.parent(member);
            parent != INIT
                && ![member, parent].contains(&gone)
                && !is_dead(member)
                && self.group(parent) != group
                && Some(self.session(parent)) == session
        })
    }

    /// The groups that a process may be what keeps from being orphaned: those of its children in its session, and its own
    /// if its parent is in the session but not in the group.
    pub fn groups_kept(&self, id: TaskId) -> Vec<TaskId> {
        let (group, session, parent) = (self.group(id), self.session(id), self.parent(id));
        let others = self.children(id).map(|child| self.group(child));
        let others = others.filter(|&other| other != group && self.session_of_group(other) == Some(session));
        let keeps_own = self.session(parent) == session && self.group(parent) != group;
        let mut groups: Vec<TaskId> = others.chain(keeps_own.then_some(group)).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: TaskId = 10;

    /// init, a shell that leads a session, and two children of the shell.
    fn family() -> Kinship {
        let mut kinship = Kinship::new();
        kinship.add_init();
        kinship.add(SHELL, INIT, INIT, INIT);
        kinship.start_session(SHELL).unwrap();
        kinship.add(11, SHELL, SHELL, SHELL);
        kinship.add(12, SHELL, SHELL, SHELL);
        kinship
    }

    #[test]
    fn children_inherit_group_and_session() {
        let kinship = family();
        assert_eq!((kinship.parent(11), kinship.group(11), kinship.session(12)), (SHELL, SHELL, SHELL));
        assert!(kinship.children(SHELL).eq([11, 12]));
        assert_eq!((kinship.group(INIT), kinship.session(INIT)), (0, 0));
    }

    #[test]
    fn setpgid_refuses_in_the_order_of_its_manual_page() {
        let mut kinship = family();
        kinship.add(13, 11, 11, 11);
        let mut set = |caller, id, group, executed| kinship.set_group(caller, id, group, executed).err();
        assert_eq!(set(SHELL, 99, 99, false), Some(Errno::ESRCH));
        assert_eq!(set(SHELL, 13, 13, false), Some(Errno::ESRCH), "a grandchild");
        assert_eq!(set(SHELL, 11, 11, true), Some(Errno::EACCES));
        assert_eq!(set(SHELL, SHELL, 11, false), Some(Errno::EPERM), "a session's leader");
        assert_eq!(set(SHELL, 11, 77, false), Some(Errno::EPERM), "no such group");
        assert_eq!(set(INIT, SHELL, SHELL, false), Some(Errno::EPERM), "another session");
        assert_eq!(set(SHELL, 11, 11, false), None);
        assert_eq!(set(SHELL, 12, 11, false), None);
        assert_eq!(set(11, 13, 11, true), Some(Errno::EACCES));
        assert_eq!(set(13, 13, 11, true), None, "itself, even after an exec");
        assert!(kinship.members(11).eq([11, 12, 13]));
    }

    #[test]
    fn sessions_are_started_by_those_who_lead_no_group() {
        let mut kinship = family();
        assert_eq!(kinship.start_session(SHELL), Err(Errno::EPERM));
        kinship.set_group(SHELL, 11, 11, false).unwrap();
        assert_eq!(kinship.start_session(11), Err(Errno::EPERM));
        assert_eq!(kinship.start_session(12), Ok(()));
        assert_eq!((kinship.group(12), kinship.session(12)), (12, 12));
    }

    #[test]
    fn a_group_is_orphaned_when_nobody_outside_could_continue_it() {
        let mut kinship = family();
        kinship.set_group(SHELL, 11, 11, false).unwrap();
        let nobody_is_dead = |_| false;
        assert!(!kinship.is_orphaned(11, 0, &nobody_is_dead));
        assert!(kinship.is_orphaned(11, 11, &nobody_is_dead), "its only member leaves");
        assert!(kinship.is_orphaned(11, 0, &|id| id == 11));
        assert!(kinship.is_orphaned(SHELL, 0, &nobody_is_dead), "the shell's parent is init");
        assert_eq!((kinship.groups_kept(SHELL), kinship.groups_kept(11)), (alloc::vec![11], alloc::vec![11]));
        kinship.adopt(11, INIT, INIT);
        assert!(kinship.is_orphaned(11, 0, &nobody_is_dead));
        assert!(kinship.children(INIT).eq([SHELL, 11]) && kinship.children(SHELL).eq([12]));
    }

    #[test]
    fn events_follow_a_child_to_its_new_parent() {
        let mut kinship = family();
        kinship.note_event(12, true);
        assert_eq!(
            (kinship.next_child(SHELL, 0, false), kinship.next_child(SHELL, 0, true)),
            (Some(11), Some(12))
        );
        kinship.adopt(12, INIT, INIT);
        assert_eq!((kinship.next_child(SHELL, 0, true), kinship.next_child(INIT, 0, true)), (None, Some(12)));
        kinship.note_event(12, false);
        assert_eq!(kinship.next_child(INIT, 0, true), None);
    }

    #[test]
    fn a_number_is_in_use_as_long_as_anything_bears_it() {
        let mut kinship = family();
        kinship.set_group(SHELL, 11, 11, false).unwrap();
        kinship.set_group(SHELL, 12, 11, false).unwrap();
        kinship.remove(11);
        assert!(kinship.uses(11), "as a group");
        kinship.remove(12);
        assert!(!kinship.uses(11) && !kinship.uses(12));
        kinship.remove(SHELL);
        assert!(!kinship.uses(SHELL) && kinship.uses(0) && kinship.uses(INIT));
    }
}
