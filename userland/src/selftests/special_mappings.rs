//! What a program may do to the mappings of the vDSO and its data: move and remove them whole, never split them.

use super::faults::{BUS, Touch, UNMAPPED, reading_is};
use super::mappings::{self, Mapping, PAGE};
use super::support::{FAR, needs_root};
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, failed, in_child, refused, skipped};
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::time;
use crate::system::vdso::Vdso;

const READ: i32 = libc::PROT_READ;
const WRITE: i32 = libc::PROT_WRITE;
const EXECUTE: i32 = libc::PROT_EXEC;
const MAP_VDSO_64: i32 = 0x2003;

fn munmap(address: usize, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_munmap, address, length)
}

fn mprotect(mapping: &Mapping, protection: i32) -> Result<usize, Errno> {
    call!(libc::SYS_mprotect, mapping.start, mapping.length(), protection)
}

fn madvise(mapping: &Mapping, advice: i32) -> Result<usize, Errno> {
    call!(libc::SYS_madvise, mapping.start, mapping.length(), advice)
}

/// A free range of that many bytes: mapped and unmapped again.
fn free_range(length: usize) -> Result<usize, Why> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let address = call!(libc::SYS_mmap, 0usize, length, 0, flags, -1, 0usize).step("mmap")?;
    munmap(address, length).step("munmap")?;
    Ok(address)
}

fn move_to(mapping: &Mapping, target: usize) -> Result<usize, Errno> {
    let length = mapping.length();
    call!(libc::SYS_mremap, mapping.start, length, length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, target)
}

/// The mappings that belong together, in ascending order.
fn family() -> Result<Vec<Mapping>, Why> {
    Ok(mappings::all()?
        .into_iter()
        .filter(|mapping| mapping.name.starts_with("[v") && mapping.name != "[vsyscall]")
        .collect())
}

/// Moves all of them by one distance; gives how far.
fn move_family() -> Result<usize, Why> {
    let family = family()?;
    let first = family.first().step("a mapping")?.start;
    let last = family.last().step("a mapping")?.end;
    let target = free_range(last - first)?;
    for mapping in &family {
        let wanted = mapping.start - first + target;
        equal("mremap", move_to(mapping, wanted), Ok(wanted))?;
    }
    Ok(target.wrapping_sub(first))
}

pub fn cases(plan: &mut Plan) {
    for name in ["[vvar]", "[vdso]"] {
        splitting(plan, name);
        whole(plan, name);
    }
    protection(plan);
    advice(plan);
    moved(plan);
    mapping_again(plan);
}

fn splitting(plan: &mut Plan, name: &'static str) {
    plan.case(format!("munmap of a part of {name} is EINVAL"), move || {
        let mapping = more_than_a_page(name)?;
        refused("the first page", munmap(mapping.start, PAGE), Errno::EINVAL)?;
        refused("the last page", munmap(mapping.end - PAGE, PAGE), Errno::EINVAL)?;
        refused("from before to its middle", munmap(mapping.start - PAGE, 2 * PAGE), Errno::EINVAL)
    });
    plan.case(format!("mprotect of a part of {name} is EINVAL"), move || {
        let mapping = more_than_a_page(name)?;
        refused("the first page", call!(libc::SYS_mprotect, mapping.start, PAGE, 0), Errno::EINVAL)?;
        refused("the last page", call!(libc::SYS_mprotect, mapping.end - PAGE, PAGE, 0), Errno::EINVAL)
    });
    plan.case(format!("mremap of a part of {name} to another place is EINVAL"), move || {
        let mapping = more_than_a_page(name)?;
        let target = free_range(PAGE)?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        refused("mremap", call!(libc::SYS_mremap, mapping.start, PAGE, PAGE, flags, target), Errno::EINVAL)
    });
    plan.case(format!("MAP_FIXED over a part of {name} is EINVAL"), move || {
        let mapping = more_than_a_page(name)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let answer = call!(libc::SYS_mmap, mapping.start, PAGE, READ, flags, -1, 0usize);
        refused("mmap", answer, Errno::EINVAL)
    });
}

/// A mapping of one page cannot be split.
fn more_than_a_page(name: &str) -> Result<Mapping, Why> {
    let mapping = mappings::named(name)?;
    if mapping.length() > PAGE { Ok(mapping) } else { skipped(format!("{name} is one page")) }
}

fn whole(plan: &mut Plan, name: &'static str) {
    plan.case(
        format!("munmap of the whole of {name} is fine, and the clocks go on by system call"),
        move || {
            let mapping = mappings::named(name)?;
            munmap(mapping.start, mapping.length()).step("munmap")?;
            reading_is("its place", mapping.start, UNMAPPED)?;
            equal("mappings of that name", mappings::find(name)?, None)?;
            time::read_by_call(1).step("clock_gettime").map(|_| ())
        },
    );
    plan.case(format!("mremap of the whole of {name} to another place is fine"), move || {
        let mapping = mappings::named(name)?;
        let target = free_range(mapping.length())?;
        equal("mremap", move_to(&mapping, target), Ok(target))?;
        let moved = mappings::named(name)?;
        equal("where it is", (moved.start, moved.end), (target, target + mapping.length()))?;
        reading_is("its new place", target, Touch::Fine)?;
        reading_is("its old place", mapping.start, UNMAPPED)
    });
    plan.case(format!("mremap of {name} to grow is EFAULT, to shrink EINVAL"), move || {
        let mapping = mappings::named(name)?;
        let length = mapping.length();
        for flags in [0, libc::MREMAP_MAYMOVE] {
            let grow = call!(libc::SYS_mremap, mapping.start, length, length + PAGE, flags);
            refused("to grow", grow, Errno::EFAULT)?;
        }
        if length > PAGE {
            let shrink = call!(libc::SYS_mremap, mapping.start, length, length - PAGE, 0);
            refused("to shrink", shrink, Errno::EINVAL)?;
        }
        equal("mapping", mappings::named(name)?, mapping)
    });
    plan.case(format!("mprotect of the whole of {name} to nothing and back"), move || {
        let mapping = mappings::named(name)?;
        mprotect(&mapping, 0).step("to nothing")?;
        reading_is("without permission", mapping.start, super::faults::FORBIDDEN)?;
        mprotect(&mapping, READ).step("back to reading")?;
        reading_is("with permission", mapping.start, Touch::Fine)
    });
    plan.case(format!("mlock and msync of {name} are fine"), move || {
        let mapping = mappings::named(name)?;
        if name == "[vvar]" {
            call!(libc::SYS_mlock, mapping.start, mapping.length()).step("mlock")?;
        }
        call!(libc::SYS_msync, mapping.start, mapping.length(), libc::MS_SYNC).step("msync").map(|_| ())
    });
}

fn protection(plan: &mut Plan) {
    plan.case("[vvar] can be made neither writable nor executable: EACCES", || {
        let vvar = mappings::named("[vvar]")?;
        refused("writable", mprotect(&vvar, READ | WRITE), Errno::EACCES)?;
        refused("write only", mprotect(&vvar, WRITE), Errno::EACCES)?;
        refused("executable", mprotect(&vvar, READ | EXECUTE), Errno::EACCES)?;
        equal("mapping", mappings::named("[vvar]")?, vvar)
    });
    plan.case("[vdso] can be made writable: a private copy that no other process sees", || {
        let vdso = mappings::named("[vdso]")?;
        let first = vdso.start as *mut u8;
        mprotect(&vdso, READ | WRITE).step("writable")?;
        // SAFETY: just made writable; the byte is the first of the ELF magic, which nothing reads now.
        unsafe { first.write_volatile(b'!') };
        let other = super::support::helper_output(&["slots"], || Ok(()))?;
        crate::ktap::holds(!other.is_empty(), || "another program did not start".into())?;
        mprotect(&vdso, READ | EXECUTE).step("executable again")?;
        // SAFETY: readable again.
        equal("the byte", unsafe { first.read_volatile() }, b'!')?;
        // SAFETY: as above, and put back, so that the image is whole again.
        unsafe {
            mprotect(&vdso, READ | WRITE).step("writable")?;
            first.write_volatile(0x7f);
        }
        mprotect(&vdso, READ | EXECUTE).step("executable again")?;
        let read = super::clock_shift::vdso_clock_gettime()?;
        crate::clocks::read_by_vdso(read, 1).step("the clock by the private copy").map(|_| ())
    });
}

fn advice(plan: &mut Plan) {
    plan.case("[vvar]: MADV_DONTNEED is EINVAL", || {
        refused("madvise", madvise(&mappings::named("[vvar]")?, libc::MADV_DONTNEED), Errno::EINVAL)
    });
    plan.case("[vvar]: MADV_DOFORK and MADV_DODUMP are EINVAL", || {
        let vvar = mappings::named("[vvar]")?;
        refused("MADV_DOFORK", madvise(&vvar, libc::MADV_DOFORK), Errno::EINVAL)?;
        refused("MADV_DODUMP", madvise(&vvar, libc::MADV_DODUMP), Errno::EINVAL)
    });
    plan.case("[vvar]: with MADV_DONTFORK a child has no such mapping", || {
        let vvar = mappings::named("[vvar]")?;
        madvise(&vvar, libc::MADV_DONTFORK).step("MADV_DONTFORK")?;
        in_child(|| equal("in the child", mappings::find("[vvar]")?, None))?;
        equal("in the parent", mappings::named("[vvar]")?, vvar)
    });
}

fn moved(plan: &mut Plan) {
    plan.case("moved together by one distance they go on working", || {
        let old = Vdso::find().step("the vDSO")?.base;
        let distance = move_family()?;
        equal("AT_SYSINFO_EHDR, which no one updates", Vdso::find_base(), old)?;
        // SAFETY: the image was just moved there.
        let vdso = unsafe { Vdso::at(old.wrapping_add(distance)) }.step("the moved vDSO")?;
        let read = vdso.clock_gettime().step("__vdso_clock_gettime")?;
        let by_vdso = crate::clocks::read_by_vdso(read, 1)?;
        crate::ktap::within("the system call after it", time::read_by_call(1)? - by_vdso, 0, time::SECOND)?;
        Ok(())
    });
    plan.case("moved, they still switch when a namespace is entered and left", || {
        needs_root()?;
        let old = Vdso::find().step("the vDSO")?.base;
        let distance = move_family()?;
        let base = old.wrapping_add(distance);
        let far: Offsets = FAR;
        // SAFETY: the image was just moved there.
        let vdso = unsafe { Vdso::at(base) }.step("the moved vDSO")?;
        let read = vdso.clock_gettime().step("__vdso_clock_gettime")?;
        let agree = || -> Result<i64, Why> {
            let by_vdso = crate::clocks::read_by_vdso(read, 1)?;
            crate::ktap::within(
                "the system call after it",
                time::read_by_call(1)? - by_vdso,
                0,
                time::SECOND,
            )?;
            Ok(by_vdso)
        };
        let before = agree()?;
        let root = crate::system::file::Descriptor::open(namespace::TIME, libc::O_RDONLY).step("open")?;
        namespace::unshare_and_enter(far).step("entering")?;
        crate::ktap::within("inside it moved by", agree()? - before - far.monotonic, 0, time::SECOND)?;
        call!(libc::SYS_setns, root.0, 0).step("setns back")?;
        crate::ktap::within("back it moved by", agree()? - before, 0, time::SECOND)
    });
    plan.case("a moved [vvar] keeps its rules", || {
        let vvar = mappings::named("[vvar]")?;
        let target = free_range(vvar.length())?;
        move_to(&vvar, target).step("mremap")?;
        refused("munmap of a part", munmap(target, PAGE), Errno::EINVAL)?;
        reading_is("page 0", target, Touch::Fine)?;
        // In a namespace the companion is there, so this is for root only.
        let link = crate::system::file::readlink(namespace::TIME)?;
        if link == "time:[4026531834]" { reading_is("the companion", target + PAGE, BUS) } else { Ok(()) }
    });
}

fn mapping_again(plan: &mut Plan) {
    plan.case(
        "arch_prctl(ARCH_MAP_VDSO_64) is EEXIST while any mapping is there, and maps all after",
        || {
            let family = family()?;
            let target = free_range(64 * PAGE)?;
            let again = || call!(libc::SYS_arch_prctl, MAP_VDSO_64, target);
            for mapping in &family {
                match again() {
                    Err(Errno::EINVAL) => return skipped("ARCH_MAP_VDSO_64 is not there"),
                    answer => refused(&format!("with {} mapped", mapping.name), answer, Errno::EEXIST)?,
                }
                munmap(mapping.start, mapping.length()).step("munmap")?;
            }
            let length = family.last().step("the vDSO")?.length();
            equal("with none mapped", again(), Ok(length))?;
            let now = mappings::named("[vdso]")?;
            if now.length() != length {
                return failed(format!("the vDSO has {} bytes, it had {length}", now.length()));
            }
            // SAFETY: the kernel has just mapped an image there.
            let vdso = unsafe { Vdso::at(now.start) }.step("the new vDSO")?;
            let read = vdso.clock_gettime().step("__vdso_clock_gettime")?;
            crate::clocks::read_by_vdso(read, 1).step("the clock by the new vDSO").map(|_| ())
        },
    );
}
