//! The vDSO looked up by hand: from AT_SYSINFO_EHDR to a function, through DT_HASH and the symbol version.
//!
//! The C library does the same in secret. Doing it here shows how little is needed (one LOAD segment's address, four
//! tables), lets a program call the vDSO and the system call side by side, and checks the image's own tables.

use std::ffi::CStr;

/// The tables of one mapped vDSO image.
pub struct Vdso {
    /// Where the image is mapped; what AT_SYSINFO_EHDR said unless it was moved.
    pub base: usize,
    /// What to add to a virtual address of the image.
    bias: usize,
    symbols: *const Symbol,
    strings: *const libc::c_char,
    hash: *const u32,
    versions: *const u16,
    definitions: *const Definition,
}

/// An Elf64_Sym.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// An Elf64_Verdef, followed by Elf64_Verdaux records.
#[repr(C)]
struct Definition {
    version: u16,
    flags: u16,
    index: u16,
    count: u16,
    hash: u32,
    auxiliary: u32,
    next: u32,
}

/// `int clock_gettime(clockid_t, struct timespec *)` in the vDSO: 0 or a negative error number.
pub type ClockGettime = extern "C" fn(i32, *mut libc::timespec) -> i32;
/// `int gettimeofday(struct timeval *, struct timezone *)`.
pub type Gettimeofday = extern "C" fn(*mut libc::timeval, *mut [i32; 2]) -> i32;
/// `time_t time(time_t *)`.
pub type Time = extern "C" fn(*mut i64) -> i64;
/// `ssize_t getrandom(void *, size_t, unsigned, void *state, size_t)`: bytes, or a negative error number.
pub type Getrandom = extern "C" fn(*mut u8, usize, u32, usize, usize) -> isize;
/// `int getcpu(unsigned *, unsigned *, void *)`.
pub type Getcpu = extern "C" fn(*mut u32, *mut u32, usize) -> i32;

const DYNAMIC_HASH: i64 = 4;
const DYNAMIC_STRINGS: i64 = 5;
const DYNAMIC_SYMBOLS: i64 = 6;
const DYNAMIC_VERSIONS: i64 = 0x6fff_fff0;
const DYNAMIC_DEFINITIONS: i64 = 0x6fff_fffc;

/// The version every symbol of the x86-64 vDSO carries.
pub const VERSION: &CStr = c"LINUX_2.6";

impl Vdso {
    /// The image of this process, or None where the kernel gave none.
    pub fn find() -> Option<Vdso> {
        match Vdso::find_base() {
            0 => None,
            // SAFETY: the kernel promises a mapped ELF image at this address.
            base => unsafe { Vdso::at(base) },
        }
    }

    /// AT_SYSINFO_EHDR as it stood at the start of the program; 0 where there is none.
    pub fn find_base() -> usize {
        // SAFETY: reads the auxiliary vector.
        unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) as usize }
    }

    /// The image mapped at `base`; None when it lacks a table that a lookup needs.
    ///
    /// # Safety
    /// A whole ELF image must be mapped at `base` and stay there.
    pub unsafe fn at(base: usize) -> Option<Vdso> {
        // SAFETY: the caller promises an ELF header at `base`; its program headers lie in the same LOAD segment, as do
        // all tables the dynamic section names.
        unsafe {
            let header = &*(base as *const libc::Elf64_Ehdr);
            if header.e_ident[..4] != *b"\x7fELF" {
                return None;
            }
            let programs = (base + header.e_phoff as usize) as *const libc::Elf64_Phdr;
            let programs = std::slice::from_raw_parts(programs, header.e_phnum as usize);
            let load = programs.iter().find(|program| program.p_type == libc::PT_LOAD)?;
            let bias = base.wrapping_add(load.p_offset as usize).wrapping_sub(load.p_vaddr as usize);
            let dynamic = programs.iter().find(|program| program.p_type == libc::PT_DYNAMIC)?;
            let mut entry = bias.wrapping_add(dynamic.p_vaddr as usize) as *const [i64; 2];
            let mut tables = [0usize; 5];
            while (*entry)[0] != 0 {
                let wanted =
                    [DYNAMIC_HASH, DYNAMIC_STRINGS, DYNAMIC_SYMBOLS, DYNAMIC_VERSIONS, DYNAMIC_DEFINITIONS];
                if let Some(slot) = wanted.iter().position(|tag| *tag == (*entry)[0]) {
                    tables[slot] = bias.wrapping_add((*entry)[1] as usize);
                }
                entry = entry.add(1);
            }
            let [hash, strings, symbols, versions, definitions] = tables;
            if hash == 0 || strings == 0 || symbols == 0 {
                return None;
            }
            Some(Vdso {
                base,
                bias,
                symbols: symbols as *const Symbol,
                strings: strings as *const libc::c_char,
                hash: hash as *const u32,
                versions: versions as *const u16,
                definitions: definitions as *const Definition,
            })
        }
    }

    /// The address of the function `name` of version LINUX_2.6, found by DT_HASH.
    pub fn symbol(&self, name: &CStr) -> Option<usize> {
        // SAFETY: `at` found the tables; the hash table's indices are within the symbol table of a well-formed image.
        unsafe {
            let buckets = *self.hash;
            let bucket = self.hash.add(2);
            let chain = bucket.add(buckets as usize);
            let mut index = *bucket.add((elf_hash(name) % buckets) as usize);
            while index != 0 {
                let symbol = &*self.symbols.add(index as usize);
                let found = CStr::from_ptr(self.strings.add(symbol.name as usize));
                if found == name && symbol.section != 0 && self.has_version(index) {
                    return Some(self.bias.wrapping_add(symbol.value as usize));
                }
                index = *chain.add(index as usize);
            }
        }
        None
    }

    /// True when the symbol is of version LINUX_2.6, or the image has no versions.
    ///
    /// # Safety
    /// `index` must be within the symbol table.
    unsafe fn has_version(&self, index: u32) -> bool {
        if self.versions.is_null() || self.definitions.is_null() {
            return true;
        }
        // SAFETY: one version entry a symbol; the definitions are a list linked by byte distances, ended by 0.
        unsafe {
            let version = *self.versions.add(index as usize) & 0x7fff;
            let mut definition = self.definitions;
            loop {
                if (*definition).index & 0x7fff == version {
                    let auxiliary = definition.byte_add((*definition).auxiliary as usize) as *const u32;
                    return CStr::from_ptr(self.strings.add(*auxiliary as usize)) == VERSION;
                }
                if (*definition).next == 0 {
                    return false;
                }
                definition = definition.byte_add((*definition).next as usize);
            }
        }
    }

    /// `__vdso_clock_gettime`.
    pub fn clock_gettime(&self) -> Option<ClockGettime> {
        let address = self.symbol(c"__vdso_clock_gettime")?;
        // SAFETY: the symbol of this name is a function of this type, and stays mapped.
        Some(unsafe { std::mem::transmute::<usize, ClockGettime>(address) })
    }

    /// `__vdso_clock_getres`, which has the same signature.
    pub fn clock_getres(&self) -> Option<ClockGettime> {
        let address = self.symbol(c"__vdso_clock_getres")?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<usize, ClockGettime>(address) })
    }

    /// `__vdso_gettimeofday`.
    pub fn gettimeofday(&self) -> Option<Gettimeofday> {
        let address = self.symbol(c"__vdso_gettimeofday")?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<usize, Gettimeofday>(address) })
    }

    /// `__vdso_time`.
    pub fn time(&self) -> Option<Time> {
        let address = self.symbol(c"__vdso_time")?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<usize, Time>(address) })
    }

    /// `__vdso_getrandom`.
    pub fn getrandom(&self) -> Option<Getrandom> {
        let address = self.symbol(c"__vdso_getrandom")?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<usize, Getrandom>(address) })
    }

    /// `__vdso_getcpu`.
    pub fn getcpu(&self) -> Option<Getcpu> {
        let address = self.symbol(c"__vdso_getcpu")?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<usize, Getcpu>(address) })
    }
}

/// The hash function of DT_HASH, from the System V ABI.
fn elf_hash(name: &CStr) -> u32 {
    name.to_bytes().iter().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}
