//! Finding a function in an image the way a C library does: from the program headers, by hash and version.
//!
//! A C library has the image in its memory and nothing else: no section headers, no relocations made, no library to
//! parse ELF with. It walks: program headers, dynamic segment, hash table, symbol, name, version. This file takes the
//! same walk over bytes, with every step checked, because the image it is given may be damaged on purpose.

use std::fmt;

/// Reads little-endian numbers at any place of the image; `None` beyond its end.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    /// The 16-bit number at `at`.
    pub fn half(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `at`.
    pub fn word(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `at`, as a place.
    pub fn place(&self, at: usize) -> Option<usize> {
        self.array(at).map(u64::from_le_bytes)?.try_into().ok()
    }

    /// The text from `at` to the next NUL.
    pub fn text(&self, at: usize) -> Option<&'a str> {
        let rest = self.0.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

/// What keeps a function from being found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// Something on the way is missing or points outside the image.
    Broken(&'static str),
    /// No symbol of this name and version.
    Absent,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::Broken(what) => write!(f, "{what} cannot be read"),
            NotFound::Absent => write!(f, "there is no such symbol of this version"),
        }
    }
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
/// A symbol's size in the table.
const SYMBOL: usize = 24;

/// The tables the dynamic segment names, as offsets from the image's first byte.
#[derive(Debug)]
pub struct Tables<'a> {
    bytes: Bytes<'a>,
    /// The dynamic segment's entries: tag and value.
    pub dynamic: Vec<(u64, usize)>,
    strings: usize,
    symbols: usize,
}

impl<'a> Tables<'a> {
    /// Reads program headers and dynamic segment.
    pub fn new(image: &'a [u8]) -> Result<Tables<'a>, NotFound> {
        let bytes = Bytes(image);
        let broken = |what| move || NotFound::Broken(what);
        let headers = bytes.place(32).ok_or_else(broken("the ELF header"))?;
        let count = bytes.half(56).ok_or_else(broken("the ELF header"))?;
        let (mut loaded_at, mut dynamic_at) = (None, None);
        for header in (0..usize::from(count)).map(|index| headers.saturating_add(index * 56)) {
            let kind = bytes.word(header).ok_or_else(broken("a program header"))?;
            let offset = bytes.place(header + 8).ok_or_else(broken("a program header"))?;
            let address = bytes.place(header + 16).ok_or_else(broken("a program header"))?;
            match kind {
                PT_LOAD if loaded_at.is_none() => loaded_at = Some((offset, address)),
                PT_DYNAMIC => dynamic_at = Some(offset),
                _ => {}
            }
        }
        // The image is linked at 0, so an address is an offset. The checker holds it to that.
        loaded_at.filter(|at| *at == (0, 0)).ok_or(NotFound::Broken("the loadable segment at 0"))?;
        let dynamic_at = dynamic_at.ok_or(NotFound::Broken("the dynamic segment"))?;
        let mut dynamic = Vec::new();
        for entry in 0.. {
            let at = dynamic_at.saturating_add(entry * 16);
            let tag = bytes.place(at).ok_or(NotFound::Broken("the dynamic segment"))?;
            let value = bytes.place(at + 8).ok_or(NotFound::Broken("the dynamic segment"))?;
            if tag == 0 {
                break;
            }
            dynamic.push((tag as u64, value));
        }
        let mut tables = Tables { bytes, dynamic, strings: 0, symbols: 0 };
        tables.strings = tables.entry(tag::STRTAB).ok_or(NotFound::Broken("the string table"))?;
        tables.symbols = tables.entry(tag::SYMTAB).ok_or(NotFound::Broken("the symbol table"))?;
        Ok(tables)
    }

    /// The value of the first dynamic entry with this tag.
    pub fn entry(&self, tag: u64) -> Option<usize> {
        self.dynamic.iter().find(|(this, _)| *this == tag).map(|(_, value)| *value)
    }

    /// The text at this offset of the string table.
    pub fn string(&self, offset: usize) -> Option<&'a str> {
        self.bytes.text(self.strings.checked_add(offset)?)
    }

    /// The address of `name` in `version`, by the old hash table.
    pub fn find(&self, name: &str, version: &str) -> Result<usize, NotFound> {
        self.walk(self.chain(name)?, name, version)
    }

    /// The same by the GNU hash table.
    pub fn find_gnu(&self, name: &str, version: &str) -> Result<usize, NotFound> {
        self.walk(self.gnu_chain(name)?, name, version)
    }

    fn walk(&self, candidates: Vec<usize>, name: &str, version: &str) -> Result<usize, NotFound> {
        for index in candidates {
            let at = self.symbols + index * SYMBOL;
            let name_at = self.bytes.word(at).ok_or(NotFound::Broken("the symbol table"))?;
            if self.string(name_at as usize) != Some(name) || self.version_of(index)? != version {
                continue;
            }
            // Section 0 would be an undefined symbol: a request, not an offer.
            if self.bytes.half(at + 6).is_some_and(|section| section != 0) {
                return self.bytes.place(at + 8).ok_or(NotFound::Broken("the symbol table"));
            }
        }
        Err(NotFound::Absent)
    }

    /// The symbols that DT_HASH has for this name: number of buckets, of chains, the buckets, the chains.
    fn chain(&self, name: &str) -> Result<Vec<usize>, NotFound> {
        const BROKEN: NotFound = NotFound::Broken("the hash table DT_HASH");
        let table = self.entry(tag::HASH).ok_or(BROKEN)?;
        let word = |at: usize| self.bytes.word(table + at * 4).map(|word| word as usize).ok_or(BROKEN);
        let (buckets, chains) = (word(0)?, word(1)?);
        let bucket = hash(name).checked_rem(buckets as u32).ok_or(BROKEN)?;
        let mut found = Vec::new();
        let mut index = word(2 + bucket as usize)?;
        while index != 0 {
            if index >= chains || found.len() > chains {
                return Err(BROKEN);
            }
            found.push(index);
            index = word(2 + buckets + index)?;
        }
        Ok(found)
    }

    /// The symbols that DT_GNU_HASH has for this name: four numbers, a filter of 64-bit words, the buckets, and for
    /// every symbol from the first hashed one on its hash, of which bit 0 says "last in this bucket".
    fn gnu_chain(&self, name: &str) -> Result<Vec<usize>, NotFound> {
        const BROKEN: NotFound = NotFound::Broken("the hash table DT_GNU_HASH");
        let table = self.entry(tag::GNU_HASH).ok_or(BROKEN)?;
        let word = |at: usize| self.bytes.word(at).ok_or(BROKEN);
        let (buckets, first) = (word(table)?, word(table + 4)? as usize);
        let (filter_words, shift) = (word(table + 8)?, word(table + 12)?);
        let hash = gnu_hash(name);
        let filter = table + 16 + 8 * (hash / 64).checked_rem(filter_words).ok_or(BROKEN)? as usize;
        let filter = u64::from(word(filter)?) | u64::from(word(filter + 4)?) << 32;
        if filter >> (hash % 64) & filter >> (hash.checked_shr(shift).ok_or(BROKEN)? % 64) & 1 == 0 {
            return Ok(Vec::new());
        }
        let bucket_at = table + 16 + 8 * filter_words as usize;
        let chain_at = bucket_at + 4 * buckets as usize;
        let mut index = word(bucket_at + 4 * hash.checked_rem(buckets).ok_or(BROKEN)? as usize)? as usize;
        let mut found = Vec::new();
        while index >= first && index != 0 {
            let entry = word(chain_at + 4 * (index - first))?;
            if entry | 1 == hash | 1 {
                found.push(index);
            }
            if entry & 1 != 0 {
                break;
            }
            index += 1;
        }
        Ok(found)
    }

    /// Every version defined: its number, whether it is the base, its name.
    pub fn versions(&self) -> Result<Vec<(u16, bool, &'a str)>, NotFound> {
        const BROKEN: NotFound = NotFound::Broken("the table of versions DT_VERDEF");
        let mut at = self.entry(tag::VERDEF).ok_or(BROKEN)?;
        let mut versions = Vec::new();
        for _ in 0..self.entry(tag::VERDEFNUM).ok_or(BROKEN)? {
            let half = |offset: usize| self.bytes.half(at.checked_add(offset)?);
            let word = |offset: usize| self.bytes.word(at.checked_add(offset)?).map(|word| word as usize);
            let names = at + word(12).ok_or(BROKEN)?;
            let name = self.bytes.word(names).and_then(|name| self.string(name as usize)).ok_or(BROKEN)?;
            versions.push((half(4).ok_or(BROKEN)? & 0x7fff, half(2).ok_or(BROKEN)? & 1 != 0, name));
            at += word(16).ok_or(BROKEN)?;
        }
        Ok(versions)
    }

    /// The version of a symbol: its number in DT_VERSYM, then the definition with this number in DT_VERDEF.
    fn version_of(&self, index: usize) -> Result<&'a str, NotFound> {
        const BROKEN: NotFound = NotFound::Broken("the version of a symbol");
        let numbers = self.entry(tag::VERSYM).ok_or(BROKEN)?;
        let number = self.bytes.half(numbers + index * 2).ok_or(BROKEN)? & 0x7fff;
        let versions = self.versions()?;
        let version = versions.into_iter().find(|(this, ..)| *this == number);
        version.map(|(_, _, name)| name).ok_or(BROKEN)
    }
}

/// Tags of dynamic entries.
pub mod tag {
    #![allow(missing_docs, reason = "each is DT_ and its name")]
    pub const NEEDED: u64 = 1;
    pub const HASH: u64 = 4;
    pub const STRTAB: u64 = 5;
    pub const SYMTAB: u64 = 6;
    pub const RELA: u64 = 7;
    pub const STRSZ: u64 = 10;
    pub const SYMENT: u64 = 11;
    pub const SONAME: u64 = 14;
    pub const SYMBOLIC: u64 = 16;
    pub const REL: u64 = 17;
    pub const TEXTREL: u64 = 22;
    pub const JMPREL: u64 = 23;
    pub const FLAGS: u64 = 30;
    pub const RELR: u64 = 36;
    pub const GNU_HASH: u64 = 0x6fff_fef5;
    pub const VERSYM: u64 = 0x6fff_fff0;
    pub const VERDEF: u64 = 0x6fff_fffc;
    pub const VERDEFNUM: u64 = 0x6fff_fffd;
}

/// The System V hash of a name.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

/// The GNU hash of a name.
fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

#[cfg(test)]
mod tests {
    use super::{gnu_hash, hash};

    #[test]
    fn hashes_are_those_of_the_specification() {
        // Values from the System V ABI's and the GNU documentation's own examples.
        assert_eq!(hash("printf"), 0x077905a6);
        assert_eq!(gnu_hash("printf"), 0x156b2bb8);
        assert_eq!((hash(""), gnu_hash("")), (0, 5381));
    }
}
