//! Who waits on which word, as a plain value: a fixed table of queues, in which words share a queue if their keys happen to.
//!
//! In a queue those of a higher rank come first, and within a rank it is first come, first served. The waiters are in one
//! array and linked through it, so that one leaves, or is moved by FUTEX_REQUEUE, without the others being touched. Its
//! place in the array is a waiter's own until it leaves, also when it has been woken meanwhile: so it needs no state of its
//! own that others would have to reach. (A tree of queues by key would share nothing, and allocate for each that comes.)

use alloc::{boxed::Box, vec::Vec};
use core::task::Waker;

/// How many queues there are.
const QUEUES: usize = 64;
/// So many places stay allocated when nobody waits.
const FEW: usize = 16;
/// No place.
const NONE: u32 = u32::MAX;

/// By what a word is known.
pub trait Key: Copy + Eq {
    /// A number that differs for most keys in use at a time.
    fn spread(self) -> usize;
}

/// One waiter's place. It is to be given up by [`Queues::leave`].
#[derive(Debug)]
pub struct Ticket(u32);

struct Waiter<K, H> {
    /// The word it waits on.
    key: K,
    /// The queue of that.
    queue: u32,
    rank: u32,
    bitset: u32,
    /// Those next to it in its queue. Of a free place, `behind` is another free one.
    before: u32,
    behind: u32,
    /// `None` when it has been woken.
    waker: Option<Waker>,
    heir: Option<Box<H>>,
}

/// All waiters. Some are heirs: they wait to be given something, and then come with what that takes.
pub struct Queues<K, H> {
    /// The first and the last of each queue.
    ends: [(u32, u32); QUEUES],
    waiters: Vec<Waiter<K, H>>,
    /// The first free place.
    free: u32,
    /// How many places are taken.
    taken: usize,
    /// How many heirs there are.
    heirs: usize,
}

impl<K: Key, H> Queues<K, H> {
    /// Without any.
    pub const fn new() -> Self {
        Self { ends: [(NONE, NONE); QUEUES], waiters: Vec::new(), free: NONE, taken: 0, heirs: 0 }
    }

    #[inline(always)]
    fn queue(key: K) -> u32 {
        (key.spread() % QUEUES) as u32
    }

    #[inline(always)]
    fn ends(&mut self, queue: u32) -> &mut (u32, u32) {
        &mut self.ends[queue as usize % QUEUES]
    }

    /// Takes a place behind those of its rank. Only wakes whose bits meet `bitset` will reach it.
    #[inline(always)]
    pub fn enter(&mut self, key: K, rank: u32, bitset: u32, waker: Waker) -> Ticket {
        self.put(key, rank, bitset, waker)
    }

    /// The same, to be given what it is for.
    pub fn enter_as_heir(&mut self, key: K, rank: u32, heir: H, waker: Waker) -> Ticket {
        let ticket = self.put(key, rank, u32::MAX, waker);
        self.waiters[ticket.0 as usize].heir = Some(Box::new(heir));
        self.heirs += 1;
        ticket
    }

    #[inline(always)]
    fn put(&mut self, key: K, rank: u32, bitset: u32, waker: Waker) -> Ticket {
        let (index, queue) = (self.free, Self::queue(key));
        self.taken += 1;
        let index = match self.waiters.get_mut(index as usize) {
            Some(place) => {
                self.free = place.behind;
                (place.key, place.queue, place.rank, place.bitset) = (key, queue, rank, bitset);
                // Nothing to drop: who left it had no waker any more, and was no heir.
                core::mem::forget(place.waker.replace(waker));
                index
            }
            None => {
                let (before, behind, waker, heir) = (NONE, NONE, Some(waker), None);
                self.waiters.push(Waiter { key, queue, rank, bitset, before, behind, waker, heir });
                self.waiters.len() as u32 - 1
            }
        };
        self.link(index, queue, rank);
        Ticket(index)
    }

    /// Puts a waiter that stands nowhere into its queue.
    #[inline(always)]
    fn link(&mut self, index: u32, queue: u32, rank: u32) {
        let (mut before, mut behind) = (self.ends(queue).1, NONE);
        // Nearly always all have the same rank, and the end is the right place.
        while let Some(other) = self.waiters.get(before as usize).filter(|other| other.rank < rank) {
            (before, behind) = (other.before, before);
        }
        let waiter = &mut self.waiters[index as usize];
        (waiter.before, waiter.behind) = (before, behind);
        self.connect(queue, before, index);
        self.connect(queue, index, behind);
    }

    /// Takes a waiter out of its queue; it keeps its place in the array.
    #[inline(always)]
    fn unlink(&mut self, index: u32) {
        let Waiter { queue, before, behind, .. } = self.waiters[index as usize];
        self.connect(queue, before, behind);
    }

    /// Makes neighbours of two places in a queue, of which one may be its end.
    #[inline(always)]
    fn connect(&mut self, queue: u32, before: u32, behind: u32) {
        match self.waiters.get_mut(before as usize) {
            Some(waiter) => waiter.behind = behind,
            None => self.ends(queue).0 = behind,
        }
        match self.waiters.get_mut(behind as usize) {
            Some(waiter) => waiter.before = before,
            None => self.ends(queue).1 = before,
        }
    }

    /// Those who wait on a word, in their order.
    fn waiters(&self, key: K) -> impl Iterator<Item = &Waiter<K, H>> {
        let mut next = self.ends[Self::queue(key) as usize].0;
        let queue = core::iter::from_fn(move || {
            let waiter = self.waiters.get(next as usize)?;
            next = waiter.behind;
            Some(waiter)
        });
        queue.filter(move |waiter| waiter.key == key)
    }

    /// Whether there are any heirs.
    pub fn has_heirs(&self) -> bool {
        self.heirs != 0
    }

    /// Who is first to inherit in a queue, and its rank.
    pub fn first_heir(&self, key: K) -> Option<(&H, u32)> {
        if self.heirs == 0 { None } else { self.heirs_in(key).next() }
    }

    /// The heirs in a queue, with their ranks.
    pub fn heirs_in(&self, key: K) -> impl Iterator<Item = (&H, u32)> {
        self.waiters(key).filter_map(|waiter| Some((waiter.heir.as_deref()?, waiter.rank)))
    }

    /// Whether anybody in a queue is no heir.
    pub fn has_others(&self, key: K) -> bool {
        self.waiters(key).any(|waiter| waiter.heir.is_none())
    }

    /// The word on which the heir waits of whom this is true. (All are asked: nothing that often happens leads here.)
    pub fn find_heir(&self, is_wanted: impl Fn(&H) -> bool) -> Option<K> {
        let wanted = |waiter: &&Waiter<K, H>| waiter.heir.as_deref().is_some_and(&is_wanted);
        self.waiters.iter().find(wanted).map(|waiter| waiter.key)
    }

    /// Gives the heir of whom this is true another rank, and with it another place behind those who have it.
    pub fn set_rank(&mut self, is_wanted: impl Fn(&H) -> bool, rank: u32) {
        let wanted = |waiter: &Waiter<K, H>| waiter.heir.as_deref().is_some_and(&is_wanted);
        let Some(index) = self.waiters.iter().position(wanted) else { return };
        if self.waiters[index].rank != rank {
            self.unlink(index as u32);
            self.waiters[index].rank = rank;
            self.link(index as u32, self.waiters[index].queue, rank);
        }
    }

    /// Whether the waiter has been woken.
    pub fn was_woken(&self, ticket: &Ticket) -> bool {
        self.waiters[ticket.0 as usize].waker.is_none()
    }

    /// On which word the waiter waits; `None` once it has been woken.
    pub fn place(&self, ticket: &Ticket) -> Option<K> {
        (!self.was_woken(ticket)).then(|| self.waiters[ticket.0 as usize].key)
    }

    /// Gives up a place; tells whether its waiter had been woken.
    #[inline(always)]
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let was_woken = self.take(ticket.0).is_none();
        self.waiters[ticket.0 as usize].behind = self.free;
        self.free = ticket.0;
        self.taken -= 1;
        if self.taken == 0 && self.waiters.capacity() > FEW {
            (self.waiters, self.free) = (Vec::new(), NONE);
        }
        was_woken
    }

    /// Takes a waiter out of its queue, if it is in one; gives what wakes it.
    #[inline(always)]
    fn take(&mut self, index: u32) -> Option<Waker> {
        let waker = self.waiters[index as usize].waker.take()?;
        self.unlink(index);
        if self.waiters[index as usize].heir.take().is_some() {
            self.heirs -= 1;
        }
        Some(waker)
    }

    /// Wakes at most so many of those in a queue whose bits meet `bitset`, in their order; tells how many.
    #[inline]
    pub fn wake(&mut self, key: K, most: usize, bitset: u32) -> usize {
        let mut count = 0;
        let mut next = self.ends(Self::queue(key)).0;
        while count < most
            && let Some(waiter) = self.waiters.get(next as usize)
        {
            let index = core::mem::replace(&mut next, waiter.behind);
            if waiter.key == key
                && waiter.bitset & bitset != 0
                && let Some(waker) = self.take(index)
            {
                waker.wake();
                count += 1;
            }
        }
        count
    }

    /// Moves at most so many from one word to another, behind those of their rank, without waking them; tells how many.
    pub fn requeue(&mut self, from: K, to: K, most: usize) -> usize {
        if from == to {
            return self.waiters(from).take(most).count();
        }
        let mut count = 0;
        let mut next = self.ends(Self::queue(from)).0;
        while count < most
            && let Some(waiter) = self.waiters.get(next as usize)
        {
            let index = core::mem::replace(&mut next, waiter.behind);
            if waiter.key == from {
                let (rank, queue) = (waiter.rank, Self::queue(to));
                self.unlink(index);
                let waiter = &mut self.waiters[index as usize];
                (waiter.key, waiter.queue) = (to, queue);
                self.link(index, queue, rank);
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{sync::Arc, task::Wake};
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Key for char {
        fn spread(self) -> usize {
            self as usize
        }
    }

    impl<H> Queues<char, H> {
        fn is_empty(&self) -> bool {
            self.ends == [(NONE, NONE); QUEUES] && self.taken == 0 && self.heirs == 0
        }

        fn enter_at(&mut self, key: char, rank: u32) -> Ticket {
            self.enter(key, rank, u32::MAX, waker())
        }

        fn were_woken<const N: usize>(&self, tickets: &[Ticket; N]) -> [bool; N] {
            tickets.each_ref().map(|ticket| self.was_woken(ticket))
        }

        fn leave_all<const N: usize>(&mut self, tickets: [Ticket; N]) -> [bool; N] {
            tickets.map(|ticket| self.leave(ticket))
        }
    }

    fn waker() -> Waker {
        Waker::from(Arc::<Count>::default())
    }

    #[test]
    fn first_come_first_served_by_bits() {
        let count = Arc::<Count>::default();
        let mut queues = Queues::<_, ()>::new();
        let tickets = [1, 2, 3, 1].map(|bits| queues.enter('a', 0, bits, Waker::from(count.clone())));
        let other = queues.enter_at('b', 0);
        assert_eq!(queues.wake('a', 2, 1), 2);
        assert_eq!(queues.were_woken(&tickets), [true, false, true, false]);
        assert_eq!((count.0.load(Relaxed), queues.was_woken(&other)), (2, false));
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake('a', 9, u32::MAX)), (2, 0));
        assert_eq!((queues.leave_all(tickets), queues.leave(other)), ([true; 4], false));
        assert!(queues.is_empty());
    }

    #[test]
    fn a_higher_rank_comes_first_and_within_a_rank_who_came_first() {
        let mut queues = Queues::<_, ()>::new();
        let tickets = [0, 7, 3, 7, 0].map(|rank| queues.enter_at('a', rank));
        let mut order = [0; 5];
        for turn in 1..=5 {
            let before = queues.were_woken(&tickets);
            assert_eq!(queues.wake('a', 1, u32::MAX), 1);
            let after = queues.were_woken(&tickets);
            order[before.iter().zip(after).position(|(before, after)| *before != after).unwrap()] = turn;
        }
        assert_eq!(order, [4, 1, 3, 2, 5]);
        queues.leave_all(tickets);
        assert!(queues.is_empty());
    }

    #[test]
    fn a_requeued_waiter_is_woken_at_its_new_word_by_rank_and_can_leave_it() {
        let mut queues = Queues::<_, ()>::new();
        let there = queues.enter_at('b', 1);
        let tickets = [0, 0, 0, 2].map(|rank| queues.enter_at('a', rank));
        assert_eq!((queues.wake('a', 1, u32::MAX), queues.requeue('a', 'b', 9)), (1, 3));
        assert_eq!(queues.wake('b', 1, u32::MAX), 1, "the one of rank 1 was there first, but 0 < 1");
        assert!(queues.was_woken(&there) && queues.were_woken(&tickets) == [false, false, false, true]);
        let [first, second, third, fourth] = tickets;
        assert!(!queues.leave(second), "it was still waiting");
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake('b', 9, u32::MAX)), (0, 2));
        assert_eq!(queues.leave_all([there, first, third, fourth]), [true; 4]);
        assert!(queues.is_empty());
    }

    #[test]
    fn requeueing_onto_the_same_word_changes_nothing() {
        let mut queues = Queues::<_, ()>::new();
        let tickets = [(); 2].map(|()| queues.enter_at('a', 0));
        assert_eq!(queues.requeue('a', 'a', 1), 1);
        assert_eq!(queues.wake('a', 1, u32::MAX), 1);
        assert_eq!(queues.were_woken(&tickets), [true, false]);
    }

    #[test]
    fn words_that_share_a_queue_are_told_apart() {
        let other = char::from_u32('a' as u32 + QUEUES as u32).unwrap();
        let mut queues = Queues::new();
        let first = queues.enter_as_heir('a', 0, 1, waker());
        let second = queues.enter_as_heir(other, 0, 2, waker());
        let third = queues.enter_at('a', 0);
        assert_eq!((queues.first_heir('a'), queues.first_heir(other)), (Some((&1, 0)), Some((&2, 0))));
        assert!(queues.has_others('a') && !queues.has_others(other));
        assert_eq!((queues.wake(other, 9, u32::MAX), queues.requeue('a', other, 9)), (1, 2));
        assert_eq!(
            [&first, &second, &third].map(|ticket| queues.place(ticket)),
            [Some(other), None, Some(other)]
        );
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake(other, 9, u32::MAX)), (0, 2));
        queues.leave_all([first, second, third]);
        assert!(queues.is_empty());
    }

    #[test]
    fn an_heirs_rank_may_change_while_it_waits() {
        let mut queues = Queues::new();
        let tickets = [1, 2, 3].map(|number| queues.enter_as_heir('a', 0, number, waker()));
        queues.set_rank(|heir| *heir == 3, 5);
        queues.set_rank(|heir| *heir == 2, 5);
        assert_eq!(queues.heirs_in('a').map(|(heir, _)| *heir).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(queues.find_heir(|heir| *heir == 2), Some('a'));
        assert_eq!(queues.leave_all(tickets), [false; 3]);
        assert!(queues.is_empty() && queues.find_heir(|_| true).is_none());
    }
}
