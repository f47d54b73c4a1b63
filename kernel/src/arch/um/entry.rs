//! A page-table entry of this machine: what the kernel wants behind a page, and what the host has there by now.
//!
//! The two may differ, as a processor's translation buffer may differ from its page table. The host may lack what is wanted;
//! then the program faults and it is brought in. It must not have more than is wanted when the program runs.

use crate::arch::{Frame, Mapping, Permissions};

/// What the host has at a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// Nothing.
    Nothing,
    /// The frame that is wanted, with these permissions.
    Wanted(Permissions),
    /// Some other frame.
    Other,
}

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the kernel wants.
    pub wanted: Option<Mapping>,
    /// What the host has.
    pub host: Host,
}

const PRESENT: u64 = 1 << 40;
const PERMISSIONS: u32 = 32;
const HOST_PERMISSIONS: u32 = 36;
const HOST_NOTHING: u64 = 0;
const HOST_WANTED: u64 = 1 << 41;
const HOST_OTHER: u64 = 1 << 42;

impl Entry {
    /// Nothing wanted, nothing there.
    pub const NONE: Self = Self { wanted: None, host: Host::Nothing };

    /// As it is kept in a table; 0 for [`Self::NONE`].
    pub fn pack(self) -> u64 {
        let wanted = self.wanted.map_or(0, |Mapping { frame, permissions }| {
            PRESENT | u64::from(permissions.bits()) << PERMISSIONS | u64::from(frame.0)
        });
        wanted
            | match self.host {
                Host::Nothing => HOST_NOTHING,
                Host::Wanted(permissions) => HOST_WANTED | u64::from(permissions.bits()) << HOST_PERMISSIONS,
                Host::Other => HOST_OTHER,
            }
    }

    /// The reverse.
    pub fn unpack(word: u64) -> Self {
        let permissions = |shift: u32| Permissions::from_bits_truncate((word >> shift) as u8 & 7);
        let mapping = Mapping { frame: Frame(word as u32), permissions: permissions(PERMISSIONS) };
        Self {
            wanted: (word & PRESENT != 0).then_some(mapping),
            host: match word & (HOST_WANTED | HOST_OTHER) {
                HOST_NOTHING => Host::Nothing,
                HOST_WANTED => Host::Wanted(permissions(HOST_PERMISSIONS)),
                _ => Host::Other,
            },
        }
    }

    /// With another wish.
    pub fn wanting(self, wanted: Option<Mapping>) -> Self {
        let same_frame = wanted.map(|mapping| mapping.frame) == self.wanted.map(|mapping| mapping.frame);
        let host = match self.host {
            Host::Wanted(permissions) if same_frame => Host::Wanted(permissions),
            Host::Nothing => Host::Nothing,
            _ => Host::Other,
        };
        Self { wanted, host }
    }

    /// Whether the host has more than is wanted, or something else.
    pub fn is_stale(self) -> bool {
        match (self.host, self.wanted) {
            (Host::Nothing, _) => false,
            (Host::Wanted(present), Some(wanted)) => !wanted.permissions.contains(present),
            (Host::Wanted(_) | Host::Other, _) => true,
        }
    }

    /// Whether the host has exactly what is wanted.
    pub fn is_installed(self) -> bool {
        self.wanted.is_some_and(|wanted| self.host == Host::Wanted(wanted.permissions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_being_packed() {
        let mapping =
            Mapping { frame: Frame(0xfedc_ba98), permissions: Permissions::READ | Permissions::EXECUTE };
        for wanted in [None, Some(mapping)] {
            for host in [
                Host::Nothing,
                Host::Wanted(Permissions::WRITE),
                Host::Wanted(Permissions::empty()),
                Host::Other,
            ] {
                let entry = Entry { wanted, host };
                assert_eq!(Entry::unpack(entry.pack()), entry);
            }
        }
        assert_eq!(Entry::NONE.pack(), 0);
    }

    #[test]
    fn only_what_takes_something_away_makes_an_entry_stale() {
        let both = Permissions::READ | Permissions::WRITE;
        let mapping = |frame, permissions| Some(Mapping { frame: Frame(frame), permissions });
        let entry = Entry { wanted: mapping(1, Permissions::READ), host: Host::Wanted(Permissions::READ) };
        assert!(entry.is_installed());
        assert!(!entry.wanting(mapping(1, both)).is_stale(), "more is allowed: a fault will tell");
        assert!(entry.wanting(mapping(1, Permissions::empty())).is_stale());
        assert!(entry.wanting(mapping(2, both)).is_stale());
        assert!(entry.wanting(None).is_stale());
        assert!(
            entry.wanting(None).wanting(mapping(1, Permissions::READ)).is_stale(),
            "it may have changed hands since"
        );
        assert!(!Entry::NONE.wanting(mapping(1, both)).is_stale(), "the host has nothing");
    }
}
