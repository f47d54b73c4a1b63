//! The format of the archive: one header after the other, in hexadecimal text, each with a name and contents, cpio(5).

use alloc::vec::Vec;
use core::fmt;

/// What is wrong with an archive, and at which of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    offset: usize,
    what: What,
}

/// What can be wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It ends too early.
    Ends,
    /// A header does not begin as one.
    NoHeader,
    /// A number in a header is no hexadecimal number.
    BadNumber,
    /// A name is empty, too long, or does not end with a NUL.
    BadName,
    /// It is not a cpio archive but a file of this kind.
    Compressed(&'static str),
    /// This object cannot be made.
    Refused {
        /// Its name.
        name: Vec<u8>,
        /// Why.
        error: crate::abi::Errno,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Ends => write!(out, "it ends at byte {}, before its last entry", self.offset),
            What::NoHeader => write!(out, "no newc header (070701) at byte {}", self.offset),
            What::BadNumber => {
                write!(out, "a number in the header at byte {} is not hexadecimal", self.offset)
            }
            What::BadName => write!(out, "the name in the header at byte {} is no path", self.offset),
            What::Compressed(kind) => write!(out, "it is compressed with {kind}; give it uncompressed"),
            What::Refused { name, error } => {
                let name = alloc::string::String::from_utf8_lossy(name);
                write!(out, "{name} (entry at byte {}) cannot be made: {error}", self.offset)
            }
        }
    }
}

/// One entry of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Where its header is.
    pub offset: usize,
    /// Its name, without the NUL; relative or absolute, as whoever made the archive liked.
    pub name: &'a [u8],
    /// The contents of a file, the target of a link.
    pub contents: &'a [u8],
    /// Tells hard links of one file: device and inode number it had.
    pub identity: (u32, u32, u32),
    /// `st_mode`.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// How many names it has.
    pub links: u32,
    /// When it was last changed, in seconds since 1970.
    pub modified: u32,
    /// Of a device node: major and minor number.
    pub represents: (u32, u32),
}

impl Entry<'_> {
    /// This entry cannot be made.
    pub fn refused(&self, error: crate::abi::Errno) -> Damage {
        Damage { offset: self.offset, what: What::Refused { name: self.name.to_vec(), error } }
    }
}

/// Without and with a checksum, which is not looked at: whoever damaged the one would have damaged the other.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const FIELDS: usize = 13;
const DIGITS: usize = 8;
const HEADER: usize = 6 + FIELDS * DIGITS;
/// The name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The longest name, with its NUL: PATH_MAX.
const LONGEST_NAME: usize = 4096;

/// How files begin that are often taken for an archive.
const COMPRESSED: [(&[u8], &str); 6] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (b"BZh", "bzip2"),
    (&[0x5d, 0, 0], "lzma"),
];

/// The archives in a file: there may be several, one behind the other, with zeros between them.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether an archive has begun and not ended.
    within: bool,
}

impl<'a> Reader<'a> {
    /// From the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, within: true }
    }

    /// The next entry; `None` at the end of the last archive.
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, Damage> {
        loop {
            if !self.within {
                let zeros = self.bytes[self.at..].iter().take_while(|byte| **byte == 0).count();
                self.at += zeros;
                if self.at == self.bytes.len() {
                    return Ok(None);
                }
            }
            let entry = self.entry()?;
            self.within = entry.name != TRAILER;
            if self.within {
                return Ok(Some(entry));
            }
        }
    }

    fn entry(&mut self) -> Result<Entry<'a>, Damage> {
        let offset = self.at;
        let damage = |what| Damage { offset, what };
        let rest = &self.bytes[offset..];
        if let Some((_, kind)) = COMPRESSED.iter().find(|(start, _)| rest.starts_with(start)) {
            return Err(damage(What::Compressed(kind)));
        }
        let magic = rest.get(..6).ok_or_else(|| self.ends())?;
        if !MAGICS.contains(&magic) {
            return Err(damage(What::NoHeader));
        }
        let header = self.take(HEADER)?;
        let mut fields = [0; FIELDS];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(DIGITS)) {
            *field = hexadecimal(digits).ok_or_else(|| damage(What::BadNumber))?;
        }
        let [
            inode,
            mode,
            uid,
            gid,
            links,
            modified,
            size,
            major,
            minor,
            represents_major,
            represents_minor,
            length,
            _,
        ] = fields;
        if !(2..=LONGEST_NAME).contains(&(length as usize)) {
            return Err(damage(What::BadName));
        }
        let name = match self.take(length as usize)?.split_last() {
            Some((0, name)) if !name.contains(&0) => name,
            _ => return Err(damage(What::BadName)),
        };
        self.align();
        let contents = self.take(size as usize)?;
        self.align();
        Ok(Entry {
            offset,
            name,
            contents,
            identity: (major, minor, inode),
            mode,
            uid,
            gid,
            links,
            modified,
            represents: (represents_major, represents_minor),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let end =
            self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(|| self.ends())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// What follows a name or contents begins at a multiple of four; behind the very last there may be nothing.
    fn align(&mut self) {
        self.at = self.at.next_multiple_of(4).min(self.bytes.len());
    }

    fn ends(&self) -> Damage {
        Damage { offset: self.bytes.len(), what: What::Ends }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    /// The text of one entry.
    pub fn entry(name: &str, mode: u32, links: u32, inode: u32, contents: &[u8]) -> Vec<u8> {
        let fields = [
            inode,
            mode,
            7,
            8,
            links,
            1_000_000,
            contents.len() as u32,
            0,
            0,
            5,
            1,
            name.len() as u32 + 1,
            0,
        ];
        let mut text = b"070701".to_vec();
        fields.iter().for_each(|field| text.extend_from_slice(format!("{field:08X}").as_bytes()));
        text.extend_from_slice(name.as_bytes());
        text.push(0);
        text.resize(text.len().next_multiple_of(4), 0);
        text.extend_from_slice(contents);
        text.resize(text.len().next_multiple_of(4), 0);
        text
    }

    /// A small archive with a bit of everything.
    pub fn sample() -> Vec<u8> {
        [
            entry(".", 0o40755, 2, 1, b""),
            entry("bin", 0o40755, 2, 2, b""),
            entry("bin/sh", 0o104_755, 2, 3, b""),
            entry("bin/ash", 0o104_755, 2, 3, b"program"),
            entry("sh", 0o120_777, 1, 4, b"bin/sh"),
            entry("dev/console", 0o20600, 1, 5, b""),
            entry("TRAILER!!!", 0, 1, 0, b""),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<usize, Damage> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while reader.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn every_entry_is_found() {
        let sample = sample();
        let mut reader = Reader::new(&sample);
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.name, first.mode, first.uid, first.gid), (&b"."[..], 0o40755, 7, 8));
        assert_eq!(read(&sample), Ok(6));
        let two = [&sample[..], &[0; 512], &sample].concat();
        assert_eq!(read(&two), Ok(12), "two archives with zeros between them");
    }

    #[test]
    fn an_archive_cut_off_anywhere_is_damaged() {
        let sample = sample();
        let padding = sample.iter().rev().take_while(|byte| **byte == 0).count() - 1;
        for length in 0..sample.len() - padding {
            let damage = read(&sample[..length]).unwrap_err();
            assert_eq!(damage, Damage { offset: length, what: What::Ends }, "{length}: {damage}");
        }
        assert_eq!(read(&sample[..sample.len() - padding]), Ok(6), "only the padding is missing");
    }

    #[test]
    fn every_changed_byte_of_a_header_is_seen_or_harmless() {
        let sample = sample();
        for at in 0..HEADER {
            let mut bad = sample.clone();
            bad[at] = b'x';
            assert!(read(&bad).is_err(), "{at}");
        }
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(
            read(&[0x1f, 0x8b, 8, 0]).unwrap_err().to_string(),
            "it is compressed with gzip; give it uncompressed"
        );
        assert_eq!(read(b"#!/bin/sh").unwrap_err().to_string(), "no newc header (070701) at byte 0");
        assert_eq!(read(b"").unwrap_err().to_string(), "it ends at byte 0, before its last entry");
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let mut archive = sample();
        // The size of the contents, then the length of the name.
        for field in [6, 11] {
            let place = 6 + field * DIGITS;
            archive[place..place + DIGITS].copy_from_slice(b"ffffffff");
            assert!(read(&archive).is_err());
        }
    }
}
