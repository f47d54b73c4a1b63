//! The translation of user and group ids between a user namespace and the kernel: `uid_map` and `gid_map`,
//! user_namespaces(7).

use crate::abi::{Errno, Result};
use alloc::vec::Vec;

/// The most lines a map may have.
const LINES: usize = 340;

/// One line: `count` ids from `inside` on are the ids from `outside` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside: in the map's text the namespace around, in the kernel's own map the initial one.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A map; without lines until it is written, and then for good.
#[derive(Clone, Default, Debug)]
pub struct IdMap(Vec<Extent>);

fn translate(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let distance = id.checked_sub(from)?;
    (distance < count).then(|| to + distance)
}

impl IdMap {
    /// Every id means itself: the initial user namespace's.
    pub fn identity() -> Self {
        Self(alloc::vec![Extent { inside: 0, outside: 0, count: u32::MAX }])
    }

    /// Its lines.
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// Whether it was never written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kernel's id for an id given inside.
    pub fn to_kernel(&self, inside: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| translate(inside, extent.inside, extent.outside, extent.count))
    }

    /// What the kernel's id is called inside.
    pub fn to_inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| translate(id, extent.outside, extent.inside, extent.count))
    }

    /// Reads the text of a map: lines of three decimal numbers.
    ///
    /// Errors: EINVAL for anything else, for empty text, too many lines, a count of 0, ranges that pass the last id or
    /// overlap on either side.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let invalid =
            || Errno::EINVAL.because("an id map is lines of `inside outside count`, without overlap");
        let text = core::str::from_utf8(text).map_err(|_| invalid())?;
        let text = text.split('\0').next().unwrap_or_default();
        let mut extents: Vec<Extent> = Vec::new();
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>());
            let (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) =
                (numbers.next(), numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(invalid());
            };
            let ends_in_range = inside.checked_add(count).is_some() && outside.checked_add(count).is_some();
            let overlaps =
                |a: u32, b: u32, others: u32| a < b.saturating_add(others) && b < a.saturating_add(count);
            if count == 0
                || !ends_in_range
                || inside == u32::MAX
                || outside == u32::MAX
                || extents.len() == LINES
                || extents.iter().any(|other| {
                    overlaps(inside, other.inside, other.count)
                        || overlaps(outside, other.outside, other.count)
                })
            {
                return Err(invalid());
            }
            extents.push(Extent { inside, outside, count });
        }
        Ok(Self(extents))
    }

    /// The same map with its outside ids, which mean ids of the namespace around it, made the kernel's.
    /// Errors: EPERM if one of them has no place there.
    pub fn made_absolute(&self, around: &Self) -> Result<Self> {
        let absolute = |extent: &Extent| {
            around.0.iter().find_map(|outer| {
                let first = translate(extent.outside, outer.inside, outer.outside, outer.count)?;
                translate(extent.outside + (extent.count - 1), outer.inside, outer.outside, outer.count)?;
                Some(Extent { outside: first, ..*extent })
            })
        };
        let extents: Option<Vec<Extent>> = self.0.iter().map(absolute).collect();
        Ok(Self(
            extents
                .ok_or_else(|| Errno::EPERM.because("a mapped id has no place in the namespace around"))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_maps_translate_both_ways() {
        let map = IdMap::parse(b"0 1000 1\n5 2000 10\n").unwrap();
        assert_eq!((map.to_kernel(0), map.to_kernel(1), map.to_kernel(14)), (Some(1000), None, Some(2009)));
        assert_eq!((map.to_inside(1000), map.to_inside(2010)), (Some(0), None));
    }

    #[test]
    fn bad_maps_are_refused() {
        for text in [
            "",
            "\n",
            "0 0",
            "0 0 0",
            "0 0 1 1",
            "a 0 1",
            "-1 0 1",
            "0 4294967290 10",
            "0 0 5\n3 9 1",
            "0 0 5\n9 3 1",
        ] {
            assert_eq!(IdMap::parse(text.as_bytes()).err(), Some(Errno::EINVAL), "{text:?}");
        }
    }

    #[test]
    fn nested_maps_become_absolute() {
        let outer = IdMap::parse(b"0 1000 10").unwrap();
        let inner = IdMap::parse(b"0 5 2").unwrap().made_absolute(&outer).unwrap();
        assert_eq!(inner.to_kernel(1), Some(1006));
        assert_eq!(IdMap::parse(b"0 9 2").unwrap().made_absolute(&outer).err(), Some(Errno::EPERM));
    }
}
