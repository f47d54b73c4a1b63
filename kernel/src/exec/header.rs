//! What an ELF file says of itself, read and checked: elf(5).
//!
//! The crate `elf` takes the structures apart; whether this kernel runs what they describe is decided here. A file can
//! claim anything, so nothing read from it is added or multiplied without a check.

use super::room_for;
use crate::{
    abi::{Errno, Result},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
    mm::PageSource,
};
use alloc::vec::Vec;
use core::ops::Range;
use elf::{
    abi,
    endian::LittleEndian,
    file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident},
    parse::ParsingTable,
    segment::ProgramHeader,
};

/// Bytes of a 64-bit file header.
const FILE_HEADER: usize = abi::EI_NIDENT + ELF64_EHDR_TAILSIZE;
/// Bytes of a 64-bit program header: AT_PHENT.
pub(super) const PROGRAM_HEADER: usize = 56;
/// The most bytes of program headers a file may have.
const MOST_HEADERS: usize = 65536;
/// The most bytes of an interpreter's name, its NUL included.
const LONGEST_PATH: u64 = 4096;

/// Part of a file that is to be in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where, before the bias is added.
    pub memory: Range<usize>,
    /// From where in the file.
    pub offset: u64,
    /// Bytes that come from the file; the rest is zeros.
    pub file_size: usize,
    /// What the program may do with it.
    pub permissions: Permissions,
}

/// A program file.
#[derive(Debug)]
pub(super) struct Image {
    /// It can go anywhere.
    pub position_independent: bool,
    /// Where it begins.
    pub entry: usize,
    /// What is to be in memory; at least one.
    pub segments: Vec<Segment>,
    /// The largest alignment any of them asks for.
    pub alignment: usize,
    /// Who is to load it further.
    pub interpreter: Option<Vec<u8>>,
    /// It wants to execute its stack.
    pub executable_stack: bool,
    /// Where the program will find its program headers, if any segment holds them.
    pub headers_address: Option<usize>,
    /// How many there are.
    pub header_count: usize,
}

fn not_executable(rule: &str) -> Errno {
    Errno::ENOEXEC.because(rule)
}

impl Image {
    /// Reads a program's headers.
    ///
    /// Errors: ENOEXEC when it is none for this machine or has been cut short; EINVAL when its segments make no sense;
    /// ENOMEM.
    pub fn read(source: &dyn PageSource) -> Result<Self> {
        let mut bytes = [0; FILE_HEADER];
        let length = source.read_at(0, &mut bytes)?;
        if length < FILE_HEADER {
            return Err(not_executable("a program begins with a whole ELF header"));
        }
        let ident = parse_ident::<LittleEndian>(&bytes[..abi::EI_NIDENT]);
        let ident = ident.map_err(|_| not_executable("a program is a little-endian ELF file, version 1"))?;
        if ident.1 != Class::ELF64 {
            return Err(not_executable("a program is a 64-bit ELF file"));
        }
        let file = FileHeader::parse_tail(ident, &bytes[abi::EI_NIDENT..]);
        let file = file.map_err(|_| not_executable("an ELF header can be read"))?;
        let position_independent = match file.e_type {
            abi::ET_EXEC => false,
            abi::ET_DYN => true,
            _ => return Err(not_executable("a program is of type EXEC or DYN")),
        };
        if file.e_machine != abi::EM_X86_64 {
            return Err(not_executable("a program is for this processor"));
        }
        let headers = read_headers(source, &file)?;
        let mut image = Self {
            position_independent,
            entry: file.e_entry as usize,
            segments: room_for(headers.iter().filter(|header| header.p_type == abi::PT_LOAD).count())?,
            alignment: PAGE_SIZE,
            interpreter: None,
            executable_stack: false,
            headers_address: None,
            header_count: headers.len(),
        };
        for header in &headers {
            image.take(source, header, file.e_phoff)?;
        }
        if image.segments.is_empty() {
            return Err(Errno::EINVAL.because("a program has something to load"));
        }
        Ok(image)
    }

    /// Reads the headers of a program's interpreter. Errors: ELIBBAD when it is not one; EIO when it is cut short.
    pub fn read_interpreter(source: &dyn PageSource) -> Result<Self> {
        if source.length() < FILE_HEADER as u64 {
            return Err(Errno::EIO.because("an interpreter has a whole ELF header"));
        }
        Self::read(source).map_err(|errno| match errno {
            Errno::ENOEXEC => Errno::ELIBBAD.because("an interpreter is a program for this machine"),
            other => other,
        })
    }

    /// Takes in one program header; `headers` is where they are in the file.
    fn take(&mut self, source: &dyn PageSource, header: &ProgramHeader, headers: u64) -> Result<()> {
        match header.p_type {
            abi::PT_LOAD => {
                let segment = Segment::new(source, header)?;
                if header.p_align.is_power_of_two() && header.p_align <= (Hardware::USER_END / 4) as u64 {
                    self.alignment = self.alignment.max(header.p_align as usize);
                }
                let offset_in_segment = headers.checked_sub(header.p_offset);
                if let Some(offset) = offset_in_segment.filter(|offset| *offset < header.p_filesz) {
                    self.headers_address.get_or_insert(segment.memory.start + offset as usize);
                }
                self.segments.push(segment);
            }
            abi::PT_INTERP if self.interpreter.is_none() => {
                self.interpreter = Some(read_path(source, header)?)
            }
            abi::PT_GNU_STACK => self.executable_stack = header.p_flags & abi::PF_X != 0,
            _ => {}
        }
        Ok(())
    }

    /// The pages from the lowest segment to the highest, before the bias is added.
    pub fn span(&self) -> Range<usize> {
        let start = self.segments.iter().map(|segment| segment.memory.start).min().unwrap_or(0);
        let end = self.segments.iter().map(|segment| segment.memory.end).max().unwrap_or(0);
        start & !(PAGE_SIZE - 1)..end.next_multiple_of(PAGE_SIZE)
    }

    /// What to add to its addresses so that it begins at `base`, as far as its alignment lets it.
    pub fn bias_for(&self, base: usize) -> usize {
        (base & !(self.alignment - 1)).wrapping_sub(self.span().start & !(self.alignment - 1))
    }
}

impl Segment {
    fn new(source: &dyn PageSource, header: &ProgramHeader) -> Result<Self> {
        let senseless = |rule| Err(Errno::EINVAL.because(rule));
        if header.p_filesz > header.p_memsz {
            return senseless("a segment is not larger in the file than in memory");
        }
        let end = header.p_vaddr.checked_add(header.p_memsz);
        let Some(end) = end.filter(|end| *end <= (Hardware::USER_END - PAGE_SIZE) as u64) else {
            return senseless("a segment lies where programs can have memory");
        };
        let file_end = header.p_offset.checked_add(header.p_filesz);
        if header.p_filesz > 0 && file_end.is_none_or(|end| end > source.length()) {
            return Err(not_executable("a program file is as long as its segments say"));
        }
        if header.p_filesz > 0 && header.p_offset % PAGE_SIZE as u64 != header.p_vaddr % PAGE_SIZE as u64 {
            return senseless("a segment lies alike in its file's and in memory's pages");
        }
        let mut permissions = Permissions::empty();
        permissions.set(Permissions::READ, header.p_flags & abi::PF_R != 0);
        permissions.set(Permissions::WRITE, header.p_flags & abi::PF_W != 0);
        permissions.set(Permissions::EXECUTE, header.p_flags & abi::PF_X != 0);
        let memory = header.p_vaddr as usize..end as usize;
        Ok(Self { memory, offset: header.p_offset, file_size: header.p_filesz as usize, permissions })
    }
}

fn read_headers(source: &dyn PageSource, file: &FileHeader<LittleEndian>) -> Result<Vec<ProgramHeader>> {
    let size = file.e_phnum as usize * PROGRAM_HEADER;
    if file.e_phentsize as usize != PROGRAM_HEADER || size == 0 || size > MOST_HEADERS {
        return Err(not_executable("a program has 1 to 1170 program headers of 56 bytes"));
    }
    let mut bytes = room_for(size)?;
    bytes.resize(size, 0);
    if source.read_at(file.e_phoff, &mut bytes)? < size {
        return Err(not_executable("a program file holds its program headers"));
    }
    let table = ParsingTable::<_, ProgramHeader>::new(LittleEndian, Class::ELF64, &bytes);
    let mut headers = room_for(file.e_phnum as usize)?;
    headers.extend(table.iter());
    Ok(headers)
}

/// The interpreter's name: 2 to 4096 bytes in the file, the last one NUL.
fn read_path(source: &dyn PageSource, header: &ProgramHeader) -> Result<Vec<u8>> {
    if !(2..=LONGEST_PATH).contains(&header.p_filesz) {
        return Err(not_executable("an interpreter's name has 1 to 4095 bytes"));
    }
    let mut path = room_for(header.p_filesz as usize)?;
    path.resize(header.p_filesz as usize, 0);
    if source.read_at(header.p_offset, &mut path)? < path.len() {
        return Err(Errno::EIO.because("a program file holds its interpreter's name"));
    }
    if path.last() != Some(&0) {
        return Err(not_executable("an interpreter's name ends with NUL"));
    }
    path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(0));
    Ok(path)
}
