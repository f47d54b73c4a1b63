//! The lists of free blocks against a plain list of what is free.

use super::*;
use alloc::{collections::BTreeMap, vec::Vec};
use proptest::prelude::*;

fn rows(count: usize) -> Vec<Row> {
    core::iter::repeat_with(Row::new).take(count).collect()
}

/// What a zone has free, block by block, checked for overlaps and for neighbours that should have been joined.
fn free_blocks(zone: &mut Zone, rows: &[Row]) -> BTreeMap<u32, usize> {
    zone.join_last(rows);
    let mut blocks = BTreeMap::new();
    for order in 0..ORDERS {
        let (mut at, mut previous) = (zone.heads[order], NONE);
        while at != NONE {
            assert_eq!(rows[at as usize].free.load(Ordering::Relaxed), zone.mark(order));
            assert_eq!(rows[at as usize].previous.load(Ordering::Relaxed), previous);
            assert_eq!(at % (1 << order), 0, "a block is aligned to its size");
            assert!(blocks.insert(at, order).is_none());
            previous = at;
            at = rows[at as usize].next.load(Ordering::Relaxed);
        }
    }
    let mut end = 0;
    for (&start, &order) in &blocks {
        assert!(start >= end, "free blocks overlap");
        end = start + (1 << order);
        let other_half = start ^ (1 << order);
        assert!(
            order == ORDERS - 1 || blocks.get(&other_half) != Some(&order),
            "two halves lie side by side"
        );
    }
    assert_eq!(blocks.values().map(|order| 1 << order).sum::<usize>(), zone.free);
    blocks
}

proptest! {
    #[test]
    fn never_gives_a_frame_out_twice_and_joins_what_comes_back(
        start in 0u32..40,
        length in 1u32..5000,
        steps in prop::collection::vec((any::<bool>(), 0usize..6, any::<prop::sample::Index>()), 1..200),
    ) {
        let rows = rows(6000);
        let mut zone = Zone::new(Account::General);
        zone.insert_range(&rows, start..start + length);
        let fresh = free_blocks(&mut zone, &rows);
        let mut taken: Vec<(u32, usize)> = Vec::new();
        for (take, order, which) in steps {
            if take {
                let Some(Frame(first)) = zone.take(&rows, order) else { continue };
                let range = first..first + (1 << order);
                prop_assert!(range.start >= start && range.end <= start + length && first % (1 << order) == 0);
                prop_assert!(taken.iter().all(|(other, order)| range.end <= *other || other + (1 << order) <= first));
                taken.push((first, order));
            } else if !taken.is_empty() {
                let (first, order) = taken.swap_remove(which.index(taken.len()));
                // A run may come back frame by frame.
                for frame in first..first + (1 << order) {
                    zone.put(&rows, frame, 0);
                }
            }
            let held: usize = taken.iter().map(|(_, order)| 1 << order).sum();
            prop_assert_eq!(zone.free + held, length as usize);
            free_blocks(&mut zone, &rows);
        }
        for (first, order) in taken {
            zone.put(&rows, first, order);
        }
        prop_assert_eq!(free_blocks(&mut zone, &rows), fresh, "everything is joined again");
    }
}

#[test]
fn a_zone_gives_all_it_has_and_then_says_no() {
    let rows = rows(1000);
    let mut zone = Zone::new(Account::General);
    zone.insert_range(&rows, 3..1000);
    let given: Vec<_> = core::iter::from_fn(|| zone.take(&rows, 0)).collect();
    assert_eq!((given.len(), zone.free), (997, 0));
    assert_eq!(zone.take(&rows, 0), None);
}

#[test]
fn blocks_do_not_join_across_zones() {
    let rows = rows(64);
    let mut reserve = Zone::new(Account::Reserve);
    reserve.insert_range(&rows, 32..48);
    let mut general = Zone::new(Account::General);
    general.insert_range(&rows, 48..64);
    let frame = reserve.take(&rows, 0).unwrap();
    reserve.put(&rows, frame.0, 0);
    assert_eq!((reserve.free, general.free), (16, 16));
    assert_eq!(free_blocks(&mut reserve, &rows), BTreeMap::from([(32, 4)]));
    let frame = general.take(&rows, 0).unwrap();
    general.put(&rows, frame.0, 0);
    assert_eq!(free_blocks(&mut general, &rows), BTreeMap::from([(48, 4)]));
}
