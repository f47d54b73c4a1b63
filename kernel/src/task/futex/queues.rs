//! Who waits on which word, as a plain value: queues by key, each in the order of arrival.
//!
//! A waiter is a ticket. Where it stands is kept beside the queues, since FUTEX_REQUEUE moves it behind its back; a ticket
//! that stands nowhere any more has been woken. So the waiter needs no state of its own that others would have to reach.

use alloc::collections::{BTreeMap, VecDeque};
use core::task::Waker;

/// One waiter's ticket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

struct Waiter<H> {
    ticket: Ticket,
    bitset: u32,
    waker: Waker,
    heir: Option<H>,
}

/// All waiters. Some are heirs: they wait to be given something, and then come with what that takes.
pub struct Queues<K, H> {
    next: u64,
    queues: BTreeMap<K, VecDeque<Waiter<H>>>,
    places: BTreeMap<Ticket, K>,
}

impl<K: Ord + Copy, H> Queues<K, H> {
    /// Without any.
    pub const fn new() -> Self {
        Self { next: 0, queues: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// Takes the last place in a queue. Only wakes whose bits meet `bitset` will reach it.
    pub fn enter(&mut self, key: K, bitset: u32, waker: Waker) -> Ticket {
        self.push(key, bitset, waker, None)
    }

    /// Takes the last place in a queue, to be given what it is for.
    pub fn enter_as_heir(&mut self, key: K, heir: H, waker: Waker) -> Ticket {
        self.push(key, u32::MAX, waker, Some(heir))
    }

    fn push(&mut self, key: K, bitset: u32, waker: Waker, heir: Option<H>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.queues.entry(key).or_default().push_back(Waiter { ticket, bitset, waker, heir });
        self.places.insert(ticket, key);
        ticket
    }

    /// Who is first to inherit in a queue.
    pub fn first_heir(&self, key: K) -> Option<&H> {
        self.heirs_in(key).next()
    }

    /// Whether anybody in a queue is no heir.
    pub fn has_others(&self, key: K) -> bool {
        self.queues.get(&key).is_some_and(|queue| queue.iter().any(|waiter| waiter.heir.is_none()))
    }

    /// The heirs in a queue.
    pub fn heirs_in(&self, key: K) -> impl Iterator<Item = &H> {
        self.queues.get(&key).into_iter().flatten().filter_map(|waiter| waiter.heir.as_ref())
    }

    /// Every queue with heirs, and the first of them.
    pub fn heirs(&self) -> impl Iterator<Item = (K, &H)> {
        self.queues.keys().filter_map(|key| Some((*key, self.first_heir(*key)?)))
    }

    /// In which queue the waiter is; `None` once it has been woken.
    pub fn place(&self, ticket: Ticket) -> Option<K> {
        self.places.get(&ticket).copied()
    }

    /// Whether the waiter has been woken.
    pub fn was_woken(&self, ticket: Ticket) -> bool {
        !self.places.contains_key(&ticket)
    }

    /// Gives up a place; tells whether there was none any more, because the waiter had been woken.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(key) = self.places.remove(&ticket) else { return true };
        self.change(key, |queue| queue.retain(|waiter| waiter.ticket != ticket));
        false
    }

    fn change<R: Default>(&mut self, key: K, change: impl FnOnce(&mut VecDeque<Waiter<H>>) -> R) -> R {
        let Some(queue) = self.queues.get_mut(&key) else { return R::default() };
        let result = change(queue);
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        result
    }

    fn take(&mut self, key: K, most: usize, bitset: u32) -> VecDeque<Waiter<H>> {
        self.change(key, |queue| {
            let mut taken = VecDeque::new();
            let mut index = 0;
            while taken.len() < most && index < queue.len() {
                match queue[index].bitset & bitset != 0 {
                    true => taken.extend(queue.remove(index)),
                    false => index += 1,
                }
            }
            taken
        })
    }

    /// Wakes at most so many of those in a queue whose bits meet `bitset`, first come first served; tells how many.
    pub fn wake(&mut self, key: K, most: usize, bitset: u32) -> usize {
        let woken = self.take(key, most, bitset);
        let count = woken.len();
        for waiter in woken {
            self.places.remove(&waiter.ticket);
            waiter.waker.wake();
        }
        count
    }

    /// Moves at most so many from one queue to the end of another, without waking them; tells how many.
    pub fn requeue(&mut self, from: K, to: K, most: usize) -> usize {
        let moved = self.take(from, most, u32::MAX);
        let count = moved.len();
        for waiter in moved {
            self.places.insert(waiter.ticket, to);
            self.queues.entry(to).or_default().push_back(waiter);
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
        assert!(!queues.queues.contains_key(&'a'), "empty queues go away");
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
        assert!(queues.places.is_empty() && queues.queues.is_empty());
    }

    #[test]
    fn requeueing_onto_the_same_word_keeps_everybody() {
        let mut queues = Queues::<_, ()>::new();
        let tickets = [(); 2].map(|()| queues.enter('a', u32::MAX, waker()));
        assert_eq!(queues.requeue('a', 'a', 1), 1);
        assert_eq!(queues.wake('a', 1, u32::MAX), 1);
        assert_eq!(tickets.map(|ticket| queues.was_woken(ticket)), [false, true]);
    }
}
