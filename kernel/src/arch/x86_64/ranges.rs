//! Arithmetic with ranges of memory: what is left without some, and what covers all.

use arrayvec::ArrayVec;
use core::ops::Range;

/// As many pieces as anybody has seen in a memory map, and then some. More are left out, and so is their memory.
pub const LIMIT: usize = 64;

/// Pieces of memory.
pub type Ranges<T> = ArrayVec<Range<T>, LIMIT>;

/// What is left of `pieces` outside `holes`, ascending if they were.
pub fn without(pieces: &[Range<u32>], holes: &[Range<u32>]) -> Ranges<u32> {
    let mut left: Ranges<u32> =
        pieces.iter().filter(|piece| !piece.is_empty()).take(LIMIT).cloned().collect();
    for hole in holes.iter().filter(|hole| !hole.is_empty()) {
        let mut next = Ranges::new();
        for piece in left {
            let below = piece.start..piece.end.min(hole.start);
            let above = piece.start.max(hole.end)..piece.end;
            for part in [below, above] {
                if !part.is_empty() {
                    let _ = next.try_push(part);
                }
            }
        }
        left = next;
    }
    left
}

/// The fewest ranges that begin and end at multiples of `unit` and cover all pieces, ascending; no two touch.
pub fn cover(pieces: &[Range<u64>], unit: u64) -> Ranges<u64> {
    let outwards = |piece: &Range<u64>| piece.start / unit * unit..piece.end.next_multiple_of(unit);
    let mut sorted: Ranges<u64> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(outwards).take(LIMIT).collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Ranges<u64> = Ranges::new();
    for range in sorted {
        match merged.last_mut() {
            Some(previous) if range.start <= previous.end => previous.end = previous.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some of them short")]
mod tests {
    use super::{cover, without};
    use proptest::prelude::*;

    #[test]
    fn a_hole_in_the_middle_makes_two() {
        assert_eq!(without(&[10..20], &[12..14])[..], [10..12, 14..20]);
        assert_eq!(without(&[10..20, 30..40], &[15..35])[..], [10..15, 35..40]);
        assert!(without(&[10..20], &[0..100]).is_empty());
        assert_eq!(without(&[10..20], &[15..15])[..], [10..20]);
    }

    #[test]
    fn a_pc_is_one_range_below_its_hole() {
        let pc = [0..0x9fc00, 0x10_0000..0xbffe_0000, 0x1_0000_0000..0x1_4000_0000];
        assert_eq!(cover(&pc, 0x20_0000)[..], [0..0xc000_0000, 0x1_0000_0000..0x1_4000_0000]);
    }

    fn some_ranges() -> impl Strategy<Value = Vec<std::ops::Range<u32>>> {
        prop::collection::vec((0_u32..200, 0_u32..30).prop_map(|(start, length)| start..start + length), 0..6)
    }

    proptest! {
        #[test]
        fn without_leaves_just_the_rest(pieces in some_ranges(), holes in some_ranges()) {
            let left = without(&pieces, &holes);
            for at in 0..240 {
                let within = |ranges: &[std::ops::Range<u32>]| ranges.iter().any(|range| range.contains(&at));
                prop_assert_eq!(within(&left), within(&pieces) && !within(&holes), "at {}", at);
            }
        }

        #[test]
        fn cover_covers_and_nothing_touches(pieces in some_ranges(), unit in 1_u64..9) {
            let pieces: Vec<_> = pieces.into_iter().map(|piece| u64::from(piece.start)..u64::from(piece.end)).collect();
            let covered = cover(&pieces, unit);
            prop_assert!(covered.windows(2).all(|pair| pair[0].end < pair[1].start));
            for at in 0..240_u64 {
                let unit_of_it = at / unit * unit..at / unit * unit + unit;
                let needed = pieces.iter().any(|piece| piece.start < unit_of_it.end && unit_of_it.start < piece.end && !piece.is_empty());
                prop_assert_eq!(covered.iter().any(|range| range.contains(&at)), needed, "at {}", at);
            }
        }
    }
}
