//! Whether debuggers, profilers and exceptions get through each function.
//!
//! `.eh_frame_hdr` is a table of (start of function, its description), sorted, both relative to the table itself.
//! The description, in `.eh_frame`, says how long the function is and how to restore its caller's registers. This
//! file checks that every function has one; a test steps through the functions and follows what they say.

use super::check::Image;
use super::lookup::Bytes;
use object::{Object, ObjectSection};

/// The table, as addresses in the image.
pub struct Table<'a> {
    bytes: Bytes<'a>,
    /// Start of a function, and where its description is.
    entries: Vec<(u64, usize)>,
}

impl<'a> Table<'a> {
    /// Reads the table of an image whose addresses are file offsets.
    pub fn new(image: &Image<'a>) -> Result<Table<'a>, String> {
        let section = image.file.section_by_name(".eh_frame_hdr").ok_or("there is none")?;
        let (start, bytes) = (section.address() as usize, Bytes(image.bytes));
        let word = |at: usize| bytes.word(at).ok_or("it ends too early");
        // Version 1; the pointer to .eh_frame relative to itself; the count plain; the table relative to its start.
        if word(start)? != u32::from_le_bytes([1, 0x1b, 0x03, 0x3b]) {
            return Err("its first four bytes are not those every linker writes".into());
        }
        let mut entries = Vec::new();
        for index in 0..word(start + 8)? as usize {
            let relative =
                |at: usize| word(at).map(|distance| start.wrapping_add_signed(distance as i32 as isize));
            let at = start + 12 + index * 8;
            entries.push((relative(at)? as u64, relative(at + 4)?));
        }
        if !entries.is_sorted() {
            return Err("it is not sorted, and is searched as if it were".into());
        }
        Ok(Table { bytes, entries })
    }

    /// Whether there is a description of exactly this function.
    pub fn covers(&self, address: u64, size: u64) -> Result<(), String> {
        let index = self.entries.binary_search_by_key(&address, |(start, _)| *start);
        let (_, at) = self.entries[index.map_err(|_| "the table has no entry for it")?];
        // Length, distance to what descriptions share, start of the function relative to here, its length.
        let word = |at: usize| self.bytes.word(at).ok_or("its description lies outside the image");
        let start = (at + 8).wrapping_add_signed(word(at + 8)? as i32 as isize) as u64;
        let length = u64::from(word(at + 12)?);
        if (start, length) != (address, size) {
            return Err(format!(
                "its description is of {start:#x} to {:#x}, the function is {address:#x} to {:#x}",
                start + length,
                address + size
            ));
        }
        Ok(())
    }
}
