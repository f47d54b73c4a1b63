//! From an address to `function+0x12`: the kernel's own list of function names, for a panic's backtrace.
//!
//! The ELF symbol table does not reach memory, because a loader takes the program's segments and nothing else. So
//! room is reserved here in a section of its own, and once the kernel is linked and every address is final, the tool
//! that makes the image fills it in (`tools/src/symbols.rs`). Linux links twice or three times instead, with a bigger
//! generated table each time, and gets one of exactly the right size; reserving costs some unused pages and saves the links.
//!
//! All numbers are little-endian; the offset of a name counts from the end of the entries.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic: [`MAGIC`] |
//! | 8 | `count`: how many entries |
//! | 12 `count` | entries in order of address: the address, 8 bytes, and the offset of its name, 4 bytes |
//! | the rest | the names, one after another; a name ends where the next begins |
//!
//! An entry holds the address where a function begins. Where code ends and no function follows stands an entry with an
//! empty name; the last entry is one of these.
//!
//! Looking up happens when something has already gone wrong: no allocation, no lock, and a table that was never
//! filled in, or is damaged, names nothing.

/// How many bytes are reserved.
pub const RESERVED: usize = 192 * 1024;

/// What a filled table begins with.
pub const MAGIC: [u8; 8] = *b"GNOMSYMS";

const ENTRIES: usize = 16;
const ENTRY: usize = 12;

// Reserved in assembly and not as a `static` of zeros, because the compiler may rely on what a `static` holds: it
// would read the zeros it knows instead of what stands in memory. "a": allocated, neither writable nor executable.
core::arch::global_asm!(
    ".pushsection .gnomon_symbols, \"a\", @progbits",
    ".balign 8",
    ".global gnomon_symbols",
    "gnomon_symbols:",
    ".zero {reserved}",
    ".popsection",
    reserved = const RESERVED,
);

unsafe extern "C" {
    static gnomon_symbols: [u8; RESERVED];
}

/// The function that holds `address`, and how far into it the address is.
///
/// A backtrace is made of return addresses, and a call that never returns may be the last instruction of its
/// function; whoever looks one up should ask for the byte before it.
pub fn lookup(address: u64) -> Option<(&'static str, usize)> {
    // SAFETY: the section above defines exactly `RESERVED` bytes at this symbol, and nothing writes them after the
    // kernel is loaded.
    find(unsafe { &gnomon_symbols }, address)
}

/// [`lookup`] in a given table.
pub fn find(table: &[u8], address: u64) -> Option<(&str, usize)> {
    if table.get(..MAGIC.len())? != MAGIC {
        return None;
    }
    let count =
        usize::try_from(u64::from_le_bytes(table.get(MAGIC.len()..ENTRIES)?.try_into().ok()?)).ok()?;
    let names = table.get(ENTRIES.checked_add(count.checked_mul(ENTRY)?)?..)?;

    // Search for the first entry that begins after the address; the one before it holds the address.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(table, middle)?.0 <= address { low = middle + 1 } else { high = middle }
    }
    let (start, name) = entry(table, low.checked_sub(1)?)?;
    // Beyond the last entry there is no code, and no next name to end this one.
    let (_, name_end) = (low < count).then(|| entry(table, low))??;
    let name = core::str::from_utf8(names.get(name as usize..name_end as usize)?).ok()?;
    let offset = usize::try_from(address.checked_sub(start)?).ok()?;
    (!name.is_empty()).then_some((name, offset))
}

/// Entry `index`: its address and where its name begins.
fn entry(table: &[u8], index: usize) -> Option<(u64, u32)> {
    let bytes = table.get(ENTRIES + index * ENTRY..)?;
    let (address, rest) = bytes.split_first_chunk()?;
    let (name, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*address), u32::from_le_bytes(*name)))
}
