//! The vDSO image as every C library and debugger sees it: ELF header, segments, tables, symbols, versions.

use super::mappings;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds};
use crate::system::vdso::Vdso;
use std::ffi::CStr;

const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const STRING_TABLE: u64 = 5;
const SYMBOL_TABLE: u64 = 6;
const STRING_SIZE: u64 = 10;
const SYMBOL_SIZE: u64 = 11;
const SHARED_NAME: u64 = 14;
const HASH: u64 = 4;
const GNU_HASH: u64 = 0x6fff_fef5;
const VERSIONS: u64 = 0x6fff_fff0;
const DEFINITIONS: u64 = 0x6fff_fffc;
const DEFINITION_COUNT: u64 = 0x6fff_fffd;
/// DT_NEEDED, DT_RELA, DT_REL, DT_TEXTREL, DT_JMPREL, DT_INIT, DT_FINI, DT_RELR: what a vDSO must not have.
const UNWANTED: &[u64] = &[1, 7, 17, 22, 23, 12, 13, 36];

/// The functions a program may look for, without the prefix.
const FUNCTIONS: &[&str] = &["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu", "getrandom"];

/// A symbol: name, info, section, value, version.
type Symbol = (String, u8, u16, u64, u16);

/// A copy of the image's bytes.
struct Image(Vec<u8>);

impl Image {
    fn take() -> Result<Image, Why> {
        let mapping = mappings::named("[vdso]")?;
        // SAFETY: the mapping is readable and does not change.
        let bytes = unsafe { std::slice::from_raw_parts(mapping.start as *const u8, mapping.length()) };
        Ok(Image(bytes.to_vec()))
    }

    fn number(&self, offset: usize, bytes: usize) -> Result<u64, Why> {
        let slice = self.0.get(offset..offset + bytes).step(&format!("byte {offset} of the image"))?;
        Ok(slice.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&self, offset: usize) -> Result<String, Why> {
        let rest = self.0.get(offset..).step("a string within the image")?;
        let end = rest.iter().position(|byte| *byte == 0).step("the end of a string")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// Program headers: type, flags, offset, address, size in file, size in memory, alignment.
    fn segments(&self) -> Result<Vec<[u64; 7]>, Why> {
        let (start, count) = (self.number(32, 8)? as usize, self.number(56, 2)? as usize);
        (0..count)
            .map(|index| {
                let at = start + 56 * index;
                Ok([
                    self.number(at, 4)?,
                    self.number(at + 4, 4)?,
                    self.number(at + 8, 8)?,
                    self.number(at + 16, 8)?,
                    self.number(at + 32, 8)?,
                    self.number(at + 40, 8)?,
                    self.number(at + 48, 8)?,
                ])
            })
            .collect()
    }

    /// The dynamic section's pairs.
    fn dynamic(&self) -> Result<Vec<(u64, u64)>, Why> {
        let segments = self.segments()?;
        let segment = segments.iter().find(|segment| segment[0] == 2).step("PT_DYNAMIC")?;
        let mut pairs = Vec::new();
        for index in 0.. {
            let at = segment[2] as usize + 16 * index;
            match self.number(at, 8)? {
                0 => break,
                tag => pairs.push((tag, self.number(at + 8, 8)?)),
            }
        }
        Ok(pairs)
    }

    fn tag(&self, tag: u64) -> Result<usize, Why> {
        let found = self.dynamic()?.into_iter().find(|pair| pair.0 == tag);
        Ok(found.step(&format!("dynamic tag {tag:#x}"))?.1 as usize)
    }

    /// Every symbol but the first.
    fn symbols(&self) -> Result<Vec<Symbol>, Why> {
        let count = self.number(self.tag(HASH)? + 4, 4)? as usize;
        let (table, strings, versions) =
            (self.tag(SYMBOL_TABLE)?, self.tag(STRING_TABLE)?, self.tag(VERSIONS)?);
        (1..count)
            .map(|index| {
                let at = table + 24 * index;
                Ok((
                    self.text(strings + self.number(at, 4)? as usize)?,
                    self.number(at + 4, 1)? as u8,
                    self.number(at + 6, 2)? as u16,
                    self.number(at + 8, 8)?,
                    self.number(versions + 2 * index, 2)? as u16,
                ))
            })
            .collect()
    }
}

pub fn cases(plan: &mut Plan) {
    plan.case("an ELF shared object for x86-64: little-endian, no entry", || {
        let image = Image::take()?;
        equal("identification", &image.0[..7], b"\x7fELF\x02\x01\x01")?;
        equal("type", image.number(16, 2)?, 3)?;
        equal("machine", image.number(18, 2)?, 62)?;
        equal("entry", image.number(24, 8)?, 0)
    });
    plan.case("four segments, one of them LOAD (R E, at 0), then DYNAMIC, NOTE and EH_FRAME to read", || {
        let segments = Image::take()?.segments()?;
        let mut kinds: Vec<u64> = segments.iter().map(|segment| segment[0]).collect();
        kinds.sort_unstable();
        equal("types", kinds, vec![1, 2, 4, u64::from(PT_GNU_EH_FRAME)])?;
        let load = segments.iter().find(|segment| segment[0] == 1).step("PT_LOAD")?;
        equal("flags, offset and address of LOAD", (load[1], load[2], load[3]), (5, 0, 0))?;
        equal("sizes of LOAD", load[4], load[5])?;
        holds(load[6] % 4096 == 0 && load[6] > 0, || format!("alignment {}", load[6]))?;
        for segment in segments.iter().filter(|segment| segment[0] != 1) {
            equal(&format!("flags of segment type {}", segment[0]), segment[1], 4)?;
            holds(segment[2] == segment[3] && segment[2] + segment[4] <= load[4], || {
                format!("segment {segment:?} is not within LOAD")
            })?;
        }
        Ok(())
    });
    plan.case("nothing to relocate, to run at start or to load besides", || {
        for (tag, _) in Image::take()?.dynamic()? {
            holds(!UNWANTED.contains(&tag), || format!("dynamic tag {tag}"))?;
        }
        Ok(())
    });
    plan.case("the dynamic section names both hash tables, strings, symbols, versions", || {
        let image = Image::take()?;
        for tag in [HASH, GNU_HASH, STRING_TABLE, SYMBOL_TABLE, STRING_SIZE, VERSIONS, DEFINITIONS] {
            image.tag(tag)?;
        }
        equal("size of a symbol", image.tag(SYMBOL_SIZE)?, 24)?;
        equal("number of versions", image.tag(DEFINITION_COUNT)?, 2)
    });
    plan.case("its name is linux-vdso.so.1", || {
        let image = Image::take()?;
        equal(
            "name",
            image.text(image.tag(STRING_TABLE)? + image.tag(SHARED_NAME)?)?.as_str(),
            "linux-vdso.so.1",
        )
    });
    plan.case("two versions: the base by that name, and LINUX_2.6", || {
        let image = Image::take()?;
        let (definitions, strings) = (image.tag(DEFINITIONS)?, image.tag(STRING_TABLE)?);
        let mut names = Vec::new();
        let mut at = definitions;
        loop {
            let name = image.number(at + image.number(at + 12, 4)? as usize, 4)? as usize;
            names.push((image.number(at + 2, 2)?, image.number(at + 4, 2)?, image.text(strings + name)?));
            match image.number(at + 16, 4)? as usize {
                0 => break,
                next => at += next,
            }
        }
        let expected = vec![(1, 1, "linux-vdso.so.1".to_string()), (0, 2, "LINUX_2.6".to_string())];
        equal("flags, index and name", names, expected)
    });
    plan.case("no undefined symbol; every function is of version LINUX_2.6", || {
        for (name, info, section, _, version) in Image::take()?.symbols()? {
            // Section symbols of some linkers are local and have no name.
            if info >> 4 == 0 {
                continue;
            }
            holds(section != 0, || format!("{name} is undefined"))?;
            equal(&format!("version of {name}"), version & 0x7fff, 2)?;
        }
        Ok(())
    });
    plan.case(
        "each function is a global FUNC with the prefix and a weak one without, at one address",
        || {
            let symbols = Image::take()?.symbols()?;
            for function in FUNCTIONS {
                let find = |name: &str| symbols.iter().find(|symbol| symbol.0 == name).step(name);
                let (prefixed, plain) =
                    (find(&format!("__vdso_{function}"))?.clone(), find(function)?.clone());
                equal(&format!("binding and type of __vdso_{function}"), prefixed.1, 0x12)?;
                equal(&format!("binding and type of {function}"), plain.1, 0x22)?;
                equal(&format!("address of {function}"), plain.3, prefixed.3)?;
            }
            Ok(())
        },
    );
    plan.case("an absolute object LINUX_2.6", || {
        let symbols = Image::take()?.symbols()?;
        let symbol = symbols.iter().find(|symbol| symbol.0 == "LINUX_2.6").step("LINUX_2.6")?;
        equal("type and section", (symbol.1 & 15, symbol.2), (1, 0xfff1))
    });
    plan.case("every function is found by DT_HASH with its version", || {
        let vdso = Vdso::find().step("the vDSO")?;
        for function in FUNCTIONS {
            for name in [format!("__vdso_{function}\0"), format!("{function}\0")] {
                let name = CStr::from_bytes_with_nul(name.as_bytes()).ok().step("a name")?;
                vdso.symbol(name).step(&name.to_string_lossy())?;
            }
        }
        equal("a name that is not there", vdso.symbol(c"__vdso_nothing"), None)
    });
    plan.case("every function is found by DT_GNU_HASH too", || {
        let image = Image::take()?;
        for function in FUNCTIONS {
            gnu_lookup(&image, &format!("__vdso_{function}"))?;
            gnu_lookup(&image, function)?;
        }
        match gnu_lookup(&image, "__vdso_nothing") {
            Err(_) => Ok(()),
            Ok(()) => failed("found a name that is not there"),
        }
    });
    plan.case("the notes: owner Linux, the version of the kernel", || {
        let image = Image::take()?;
        let segments = image.segments()?;
        let segment = segments.iter().find(|segment| segment[0] == 4).step("PT_NOTE")?;
        let mut at = segment[2] as usize;
        let end = at + segment[4] as usize;
        let mut owners = Vec::new();
        while at < end {
            let (name, bytes) = (image.number(at, 4)? as usize, image.number(at + 4, 4)? as usize);
            owners.push((image.text(at + 12)?, image.number(at + 8, 4)?));
            at += 12 + name.next_multiple_of(4) + bytes.next_multiple_of(4);
        }
        equal("where the notes end", at, end)?;
        holds(owners.contains(&("Linux".to_string(), 0)), || format!("notes {owners:?}"))
    });
    plan.case("section headers are there, for debuggers, and lie within the image", || {
        let image = Image::take()?;
        let (start, count) = (image.number(40, 8)? as usize, image.number(60, 2)? as usize);
        holds(count > 0 && start + 64 * count <= image.0.len(), || format!("{count} headers at {start}"))
    });
}

/// Finds a name as a modern loader does: Bloom filter, bucket, chain.
fn gnu_lookup(image: &Image, name: &str) -> Outcome {
    let hash = name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
    let table = image.tag(GNU_HASH)?;
    let buckets = image.number(table, 4)? as usize;
    let first = image.number(table + 4, 4)? as usize;
    let words = image.number(table + 8, 4)? as usize;
    let shift = image.number(table + 12, 4)? as u32;
    let bloom = image.number(table + 16 + 8 * ((hash as usize / 64) % words), 8)?;
    let bits = 1u64 << (hash % 64) | 1 << ((hash >> shift) % 64);
    holds(bloom & bits == bits, || format!("{name}: not in the filter"))?;
    let bucket = table + 16 + 8 * words;
    let mut index = image.number(bucket + 4 * (hash as usize % buckets), 4)? as usize;
    holds(index >= first, || format!("{name}: an empty bucket"))?;
    loop {
        let stored = image.number(bucket + 4 * buckets + 4 * (index - first), 4)? as u32;
        if stored | 1 == hash | 1 {
            let at = image.tag(SYMBOL_TABLE)? + 24 * index;
            let found = image.text(image.tag(STRING_TABLE)? + image.number(at, 4)? as usize)?;
            if found == name {
                return Ok(());
            }
        }
        if stored & 1 == 1 {
            return failed(format!("{name}: the chain ends"));
        }
        index += 1;
    }
}
