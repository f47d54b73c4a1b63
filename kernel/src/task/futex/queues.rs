//! Who waits on which word, as a plain value: a fixed table of queues, each in the order of arrival, in which words share
//! a queue if their keys happen to.
//!
//! A waiter is a ticket, which says where it stands. FUTEX_REQUEUE moves waiters behind their backs; where those stand is
//! kept beside the queues. A ticket that stands nowhere any more has been woken, so the waiter needs no state of its own
//! that others would have to reach. (A tree of queues by key would share nothing, and allocate for each that comes and goes.)

use alloc::collections::{BTreeMap, VecDeque};
use core::task::Waker;

/// How many queues there are.
const QUEUES: usize = 64;
/// So many places in a queue stay allocated when it is empty.
const FEW: usize = 4;

/// By what a word is known.
pub trait Key: Copy + Eq {
    /// A number that differs for most keys in use at a time.
    fn spread(self) -> usize;
}

/// One waiter's ticket: on which word it came to wait, and after whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket<K> {
    key: K,
    number: u64,
}

struct Waiter<K, H> {
    /// Where it stands: in each queue the numbers ascend.
    at: Ticket<K>,
    /// The number of its ticket. Another one, if it was moved.
    ticket: u64,
    bitset: u32,
    waker: Waker,
    heir: Option<H>,
}

/// All waiters. Some are heirs: they wait to be given something, and then come with what that takes.
pub struct Queues<K, H> {
    next: u64,
    queues: [VecDeque<Waiter<K, H>>; QUEUES],
    /// Where those stand who were moved, by the number of their ticket.
    moved: BTreeMap<u64, Ticket<K>>,
    /// How many heirs there are.
    heirs: usize,
}

impl<K: Key, H> Queues<K, H> {
    /// Without any.
    pub const fn new() -> Self {
        Self { next: 0, queues: [const { VecDeque::new() }; QUEUES], moved: BTreeMap::new(), heirs: 0 }
    }

    fn queue(&self, key: K) -> &VecDeque<Waiter<K, H>> {
        &self.queues[key.spread() % QUEUES]
    }

    fn queue_mut(&mut self, key: K) -> &mut VecDeque<Waiter<K, H>> {
        &mut self.queues[key.spread() % QUEUES]
    }

    /// Takes the last place in a queue. Only wakes whose bits meet `bitset` will reach it.
    pub fn enter(&mut self, key: K, bitset: u32, waker: Waker) -> Ticket<K> {
        self.push(key, bitset, waker, None)
    }

    /// Takes the last place in a queue, to be given what it is for.
    pub fn enter_as_heir(&mut self, key: K, heir: H, waker: Waker) -> Ticket<K> {
        self.heirs += 1;
        self.push(key, u32::MAX, waker, Some(heir))
    }

    fn push(&mut self, key: K, bitset: u32, waker: Waker, heir: Option<H>) -> Ticket<K> {
        let at = self.last_place(key);
        self.queue_mut(key).push_back(Waiter { at, ticket: at.number, bitset, waker, heir });
        at
    }

    fn last_place(&mut self, key: K) -> Ticket<K> {
        let number = self.next;
        self.next += 1;
        Ticket { key, number }
    }

    /// Who is first to inherit in a queue.
    pub fn first_heir(&self, key: K) -> Option<&H> {
        if self.heirs == 0 { None } else { self.heirs_in(key).next() }
    }

    /// Whether anybody in a queue is no heir.
    pub fn has_others(&self, key: K) -> bool {
        self.queue(key).iter().any(|waiter| waiter.at.key == key && waiter.heir.is_none())
    }

    /// The heirs in a queue.
    pub fn heirs_in(&self, key: K) -> impl Iterator<Item = &H> {
        let of_key = self.queue(key).iter().filter(move |waiter| waiter.at.key == key);
        of_key.filter_map(|waiter| waiter.heir.as_ref())
    }

    /// Every word with heirs, and the first of them.
    pub fn heirs(&self) -> impl Iterator<Item = (K, &H)> {
        let queues = if self.heirs == 0 { &[] } else { &self.queues[..] };
        let heirs = queues.iter().flatten().filter_map(|waiter| Some((waiter.at, waiter.heir.as_ref()?)));
        heirs
            .filter(|(at, heir)| self.first_heir(at.key).is_some_and(|first| core::ptr::eq(first, *heir)))
            .map(|(at, heir)| (at.key, heir))
    }

    /// On which word the waiter waits; `None` once it has been woken.
    pub fn place(&self, ticket: Ticket<K>) -> Option<K> {
        self.find(ticket).map(|(at, _)| at.key)
    }

    fn find(&self, ticket: Ticket<K>) -> Option<(Ticket<K>, usize)> {
        let at = self.moved.get(&ticket.number).copied().unwrap_or(ticket);
        let index = self.queue(at.key).binary_search_by_key(&at.number, |waiter| waiter.at.number).ok()?;
        Some((at, index))
    }

    /// Whether the waiter has been woken.
    pub fn was_woken(&self, ticket: Ticket<K>) -> bool {
        self.find(ticket).is_none()
    }

    /// Gives up a place; tells whether there was none any more, because the waiter had been woken.
    pub fn leave(&mut self, ticket: Ticket<K>) -> bool {
        let Some((at, index)) = self.find(ticket) else { return true };
        drop(self.take(at.key, index));
        false
    }

    /// Takes a waiter out. There is one at this index.
    fn take(&mut self, key: K, index: usize) -> Option<Waiter<K, H>> {
        let queue = self.queue_mut(key);
        let waiter = if index == 0 { queue.pop_front() } else { queue.remove(index) }?;
        if queue.is_empty() && queue.capacity() > FEW {
            *queue = VecDeque::new();
        }
        if waiter.ticket != waiter.at.number {
            self.moved.remove(&waiter.ticket);
        }
        self.heirs -= usize::from(waiter.heir.is_some());
        Some(waiter)
    }

    /// Wakes at most so many of those in a queue whose bits meet `bitset`, first come first served; tells how many.
    pub fn wake(&mut self, key: K, most: usize, bitset: u32) -> usize {
        let (mut index, mut count) = (0, 0);
        while count < most
            && let Some(waiter) = self.queue(key).get(index)
        {
            if waiter.at.key == key && waiter.bitset & bitset != 0 {
                let Some(waiter) = self.take(key, index) else { break };
                waiter.waker.wake();
                count += 1;
            } else {
                index += 1;
            }
        }
        count
    }

    /// Moves at most so many from one queue to the end of another, without waking them; tells how many.
    pub fn requeue(&mut self, from: K, to: K, most: usize) -> usize {
        let (mut index, mut count) = (0, 0);
        // Who is moved to the end of the same queue is not met again.
        for _ in 0..self.queue(from).len() {
            if count == most {
                break;
            }
            if self.queue(from)[index].at.key != from {
                index += 1;
                continue;
            }
            let Some(mut waiter) = self.take(from, index) else { break };
            waiter.at = self.last_place(to);
            self.moved.insert(waiter.ticket, waiter.at);
            self.heirs += usize::from(waiter.heir.is_some());
            self.queue_mut(to).push_back(waiter);
            count += 1;
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

    fn is_empty<H>(queues: &Queues<char, H>) -> bool {
        queues.queues.iter().all(VecDeque::is_empty) && queues.moved.is_empty() && queues.heirs == 0
    }

    fn waker() -> Waker {
        Waker::from(Arc::<Count>::default())
    }

    #[test]
    fn first_come_first_served_by_bits() {
        let count = Arc::<Count>::default();
        let mut queues = Queues::<_, ()>::new();
        let tickets = [1, 2, 3, 1].map(|bits| queues.enter('a', bits, Waker::from(count.clone())));
        let other = queues.enter('b', 1, waker());
        assert_eq!(queues.wake('a', 2, 1), 2);
        assert_eq!(tickets.map(|ticket| queues.was_woken(ticket)), [true, false, true, false]);
        assert_eq!((count.0.load(Relaxed), queues.was_woken(other)), (2, false));
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake('a', 9, u32::MAX)), (2, 0));
        assert!(!queues.leave(other) && is_empty(&queues));
    }

    #[test]
    fn a_requeued_waiter_is_woken_at_its_new_place_and_can_leave_it() {
        let mut queues = Queues::<_, ()>::new();
        let [first, second, third] = [(); 3].map(|()| queues.enter('a', u32::MAX, waker()));
        assert_eq!((queues.wake('a', 1, u32::MAX), queues.requeue('a', 'b', 9)), (1, 2));
        assert!(queues.was_woken(first) && !queues.was_woken(second));
        assert!(!queues.leave(second), "it was still waiting");
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake('b', 9, u32::MAX)), (0, 1));
        assert!(queues.leave(third), "it had been woken");
        assert!(is_empty(&queues));
    }

    #[test]
    fn requeueing_onto_the_same_word_keeps_everybody() {
        let mut queues = Queues::<_, ()>::new();
        let tickets = [(); 2].map(|()| queues.enter('a', u32::MAX, waker()));
        assert_eq!(queues.requeue('a', 'a', 1), 1);
        assert_eq!(queues.wake('a', 1, u32::MAX), 1);
        assert_eq!(tickets.map(|ticket| queues.was_woken(ticket)), [false, true]);
    }

    #[test]
    fn words_that_share_a_queue_are_told_apart() {
        let other = char::from_u32('a' as u32 + QUEUES as u32).unwrap();
        let mut queues = Queues::new();
        let first = queues.enter_as_heir('a', 1, waker());
        let second = queues.enter_as_heir(other, 2, waker());
        let third = queues.enter('a', u32::MAX, waker());
        assert_eq!(queues.heirs().collect::<std::vec::Vec<_>>(), [('a', &1), (other, &2)]);
        assert!(queues.has_others('a') && !queues.has_others(other));
        assert_eq!((queues.wake(other, 9, u32::MAX), queues.requeue('a', other, 9)), (1, 2));
        assert_eq!(
            [first, second, third].map(|ticket| queues.place(ticket)),
            [Some(other), None, Some(other)]
        );
        assert_eq!((queues.wake('a', 9, u32::MAX), queues.wake(other, 9, u32::MAX)), (0, 2));
        assert!(is_empty(&queues));
    }
}
