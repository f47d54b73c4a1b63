//! The pages of data behind the vDSO: their mappings, what each page holds for whom, and when that changes.
//!
//! Page 0 is the system's clock data for a task in the root namespace. For a task in a time namespace it is the
//! namespace's own page, marked by an odd sequence number and an impossible clock mode, and the system's page is to be
//! found in the slot behind it. Which of the two is installed is decided by the fault, so entering a namespace throws
//! the installed pages away.

use super::faults::{BUS, Touch, reading_is};
use super::mappings::{self, Mapping, PAGE};
use super::support::{FAR, needs_root, unshared};
use crate::call;
use crate::ktap::{
    Outcome, Plan, Step, Why, equal, failed, holds, in_child, on_gnomon, refused, skipped, within,
};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace::{self, TIME, TIME_FOR_CHILDREN};
use crate::system::process;
use crate::system::time::{self, SECOND};
use crate::system::vdso::Vdso;

/// Slots of [vvar] from Linux 6.15 on.
const SYSTEM: usize = 0;
const COMPANION: usize = 1;
const RANDOM: usize = 2;
const ARCHITECTURE: usize = 3;

/// Bytes of one clock's data, and where things are in it.
const CLOCK: usize = 232;
const OFFSETS: usize = 40;
/// Bytes of all the time data: two clocks, eight auxiliary ones, the timezone, the resolution.
const ALL: usize = 2368;
const TIMEZONE: usize = 2320;
const RESOLUTION: usize = 2328;
const IN_NAMESPACE: i32 = i32::MAX;
const COUNTER: i32 = 1;

/// A page's bytes, read once.
struct Page([u8; PAGE]);

impl Page {
    fn read(address: usize) -> Page {
        let mut bytes = [0; PAGE];
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the caller knows the page to be readable; the kernel may write it at any time.
            *byte = unsafe { std::ptr::read_volatile((address + index) as *const u8) };
        }
        Page(bytes)
    }

    fn bytes<const COUNT: usize>(&self, offset: usize) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        bytes.copy_from_slice(&self.0[offset..offset + COUNT]);
        bytes
    }

    fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    fn long(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }

    /// Sequence number and clock mode of an instance.
    fn head(&self, instance: usize) -> (u32, i32) {
        (self.word(instance * CLOCK), self.word(instance * CLOCK + 4) as i32)
    }
}

/// The layout checked here is that of Linux 6.15 and later; older kernels have another.
fn needs_new_layout() -> Outcome {
    if on_gnomon() {
        return Ok(());
    }
    let release = file::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 15) { Ok(()) } else { skipped(format!("Linux {release} has another layout")) }
}

fn vvar() -> Result<Mapping, Why> {
    needs_new_layout()?;
    mappings::named("[vvar]")
}

/// This process, now in a namespace with far offsets.
fn inside() -> Result<Mapping, Why> {
    needs_root()?;
    namespace::unshare_and_enter(FAR).step("entering")?;
    vvar()
}

/// True when page 0 is a namespace's page.
fn is_namespace_page(vvar: &Mapping) -> bool {
    Page::read(vvar.page(SYSTEM)).head(0) == (1, IN_NAMESPACE)
}

pub fn cases(plan: &mut Plan) {
    the_mappings(plan);
    touching(plan);
    layout(plan);
    switching(plan);
}

fn the_mappings(plan: &mut Plan) {
    plan.case(
        "[vvar] has 4 pages r--p, [vdso] follows r-xp; private, no device, no inode, no offset",
        || {
            let vvar = vvar()?;
            let vdso = mappings::named("[vdso]")?;
            equal("pages of [vvar]", vvar.length() / PAGE, 4)?;
            equal("permissions of [vvar]", vvar.permissions.as_str(), "r--p")?;
            equal("permissions of [vdso]", vdso.permissions.as_str(), "r-xp")?;
            let between = match mappings::find("[vvar_vclock]")? {
                None => vvar.end,
                Some(clocks) => {
                    equal("where [vvar_vclock] starts", clocks.start, vvar.end)?;
                    clocks.end
                }
            };
            equal("where [vdso] starts", vdso.start, between)?;
            for mapping in [vvar, vdso] {
                let [offset, device, inode] = &mapping.rest;
                equal(
                    &mapping.name,
                    (offset.as_str(), device.as_str(), inode.as_str()),
                    ("00000000", "00:00", "0"),
                )?;
            }
            Ok(())
        },
    );
    plan.case("[vvar_vclock] has 2 pages r--p", || match mappings::find("[vvar_vclock]")? {
        None => skipped("no pages for the clocks of virtual machines"),
        Some(clocks) => equal("it", (clocks.length() / PAGE, clocks.permissions.as_str()), (2, "r--p")),
    });
    plan.case("AT_SYSINFO_EHDR is where [vdso] starts", || {
        equal("its value", Vdso::find().step("the vDSO")?.base, mappings::named("[vdso]")?.start)
    });
    plan.case("VmFlags: vvar rd mr pf io de dd, vdso rd ex mr mw me de", || {
        let Ok(text) = file::read("/proc/self/smaps") else { return skipped("there is no smaps") };
        let flags_of = |name: &str| {
            let from = text.lines().skip_while(|line| !line.ends_with(name));
            let line = from.into_iter().find_map(|line| line.strip_prefix("VmFlags:"));
            line.map(|flags| {
                flags.split_whitespace().filter(|flag| *flag != "sd").collect::<Vec<_>>().join(" ")
            })
        };
        equal("of [vvar]", flags_of("[vvar]").as_deref(), Some("rd mr pf io de dd"))?;
        equal("of [vdso]", flags_of("[vdso]").as_deref(), Some("rd ex mr mw me de"))
    });
    plan.case("the mappings stay where they are when a namespace is entered", || {
        let before = mappings::all()?.into_iter().filter(|mapping| mapping.name.starts_with("[v"));
        let before: Vec<Mapping> = before.collect();
        inside()?;
        let after: Vec<Mapping> =
            mappings::all()?.into_iter().filter(|mapping| mapping.name.starts_with("[v")).collect();
        equal("mappings", after, before)
    });
}

fn touching(plan: &mut Plan) {
    plan.case(
        "in root: page 0 is readable, the companion and the slot of the architecture are SIGBUS",
        || {
            let vvar = vvar()?;
            reading_is("page 0", vvar.page(SYSTEM), Touch::Fine)?;
            reading_is("the companion", vvar.page(COMPANION), BUS)?;
            reading_is("the random page", vvar.page(RANDOM), Touch::Fine)?;
            reading_is("the slot of the architecture", vvar.page(ARCHITECTURE), BUS)
        },
    );
    plan.case("inside: page 0 and the companion are readable", || {
        let vvar = inside()?;
        reading_is("page 0", vvar.page(SYSTEM), Touch::Fine)?;
        reading_is("the companion", vvar.page(COMPANION), Touch::Fine)?;
        reading_is("the random page", vvar.page(RANDOM), Touch::Fine)?;
        reading_is("the slot of the architecture", vvar.page(ARCHITECTURE), BUS)
    });
    plan.case("inside: the companion is readable without page 0 touched first", || {
        let vvar = inside()?;
        equal("mode", Page::read(vvar.page(COMPANION)).head(0).1 != IN_NAMESPACE, true)
    });
    for place in ["in root", "inside"] {
        plan.case(
            format!(
                "{place}: the pages of virtual clocks are readable or SIGBUS, never a fault of the kernel"
            ),
            move || {
                if place == "inside" {
                    inside()?;
                }
                let Some(clocks) = mappings::find("[vvar_vclock]")? else {
                    return skipped("no pages for the clocks of virtual machines");
                };
                for page in 0..2 {
                    let touch = super::faults::reading(clocks.page(page))?;
                    holds(touch == Touch::Fine || touch == BUS, || format!("page {page}: {touch:?}"))?;
                }
                Ok(())
            },
        );
        plan.case(format!("{place}: write(2) from the pages works, as from any memory"), move || {
            let vvar = if place == "inside" { inside()? } else { vvar()? };
            let (read_end, write_end) = process::pipe()?;
            equal("write", call!(libc::SYS_write, write_end, vvar.page(SYSTEM), 64usize), Ok(64))?;
            let mut bytes = [0u8; 64];
            equal("read", call!(libc::SYS_read, read_end, &mut bytes, 64usize), Ok(64))?;
            equal("the mode", bytes[4..8] == IN_NAMESPACE.to_ne_bytes(), place == "inside")
        });
        plan.case(format!("{place}: a system call that reads from a missing page is EFAULT"), move || {
            let vvar = if place == "inside" { inside()? } else { vvar()? };
            let (_read_end, write_end) = process::pipe()?;
            let missing = if place == "inside" { ARCHITECTURE } else { COMPANION };
            refused("write", call!(libc::SYS_write, write_end, vvar.page(missing), 8usize), Errno::EFAULT)
        });
    }
    plan.case("another process may not read the pages, but may read the vDSO's code", || {
        needs_root()?;
        let (vvar, vdso) = (vvar()?, mappings::named("[vdso]")?);
        let child = super::setns::Waiting::start(|| ())?;
        let mut bytes = [0u8; 8];
        let local = [std::ptr::from_mut(&mut bytes) as usize, 8];
        let read =
            |address| call!(libc::SYS_process_vm_readv, child.child, &local, 1, &[address, 8usize], 1, 0);
        match read(vdso.start) {
            Err(Errno::ENOSYS) => return skipped("process_vm_readv is not there"),
            answer => equal("of the code", answer, Ok(8))?,
        }
        refused("of page 0", read(vvar.page(SYSTEM)), Errno::EFAULT)
    });
    plan.case("/proc/PID/mem: EIO for the pages, the bytes for the code", || {
        let (vvar, vdso) = (vvar()?, mappings::named("[vdso]")?);
        let Ok(memory) = file::Descriptor::open("/proc/self/mem", libc::O_RDONLY) else {
            return skipped("there is no /proc/PID/mem");
        };
        let mut bytes = [0u8; 4];
        equal("of the code", call!(libc::SYS_pread64, memory.0, &mut bytes, 4usize, vdso.start), Ok(4))?;
        equal("its first bytes", &bytes, b"\x7fELF")?;
        refused(
            "of page 0",
            call!(libc::SYS_pread64, memory.0, &mut bytes, 4usize, vvar.page(SYSTEM)),
            Errno::EIO,
        )
    });
}

fn layout(plan: &mut Plan) {
    plan.case("the system's page: both instances with an even sequence number, one mode, one mask", || {
        let vvar = vvar()?;
        // An update may be going on at the very instant.
        for _ in 0..1000 {
            let page = Page::read(vvar.page(SYSTEM));
            let ((one, mode), (two, other_mode)) = (page.head(0), page.head(1));
            if one % 2 == 0 && two % 2 == 0 {
                equal("modes", mode, other_mode)?;
                return within("mode", mode, 0, 3);
            }
        }
        failed("the sequence number is always odd")
    });
    plan.case("the time can be had from the system's page by hand: counter, mult, shift, base", || {
        let vvar = vvar()?;
        for (clock, instance) in [(0, 0), (1, 0), (7, 0), (11, 0), (4, 1)] {
            by_hand(&vvar, SYSTEM, clock, instance, 0)?;
        }
        Ok(())
    });
    plan.case("inside, the time can be had from the companion by hand, and the offset from page 0", || {
        let vvar = inside()?;
        for (clock, instance, offset) in
            [(0, 0, 0), (1, 0, FAR.monotonic), (7, 0, FAR.boottime), (11, 0, 0), (4, 1, FAR.monotonic)]
        {
            by_hand(&vvar, COMPANION, clock, instance, offset)?;
        }
        Ok(())
    });
    plan.case("coarse times stand in the system's page in plain nanoseconds", || {
        let vvar = vvar()?;
        for clock in [5, 6] {
            let before = time::read_by_call(clock)?;
            let page = Page::read(vvar.page(SYSTEM));
            let after = time::read_by_call(clock)?;
            let at = OFFSETS + 16 * clock as usize;
            let stored = page.long(at) as i64 * SECOND + page.long(at + 8) as i64;
            within(&format!("clock {clock}"), stored, before, after)?;
        }
        Ok(())
    });
    plan.case("the high-resolution step of 1 ns stands at byte 2328, the timezone at 2320", || {
        let page = Page::read(vvar()?.page(SYSTEM));
        let mut zone = [0i32; 2];
        call!(libc::SYS_gettimeofday, 0usize, &mut zone).step("gettimeofday")?;
        equal("the zone", [page.word(TIMEZONE) as i32, page.word(TIMEZONE + 4) as i32], zone)?;
        equal("the step", page.word(RESOLUTION), 1)
    });
    plan.case(
        "the namespace's page: seq 1, mode 2147483647, offsets in both instances, all else zero",
        || {
            let page = Page::read(inside()?.page(SYSTEM));
            for instance in 0..2 {
                equal(
                    &format!("seq and mode of instance {instance}"),
                    page.head(instance),
                    (1, IN_NAMESPACE),
                )?;
            }
            let mut expected = [0u8; PAGE];
            let seconds = |offset: i64| (offset.div_euclid(SECOND), offset.rem_euclid(SECOND));
            for instance in 0..2 {
                let base = instance * CLOCK;
                expected[base..base + 4].copy_from_slice(&1u32.to_ne_bytes());
                expected[base + 4..base + 8].copy_from_slice(&IN_NAMESPACE.to_ne_bytes());
                for (clock, offset) in [
                    (1, FAR.monotonic),
                    (4, FAR.monotonic),
                    (6, FAR.monotonic),
                    (7, FAR.boottime),
                    (9, FAR.boottime),
                ] {
                    let at = base + OFFSETS + 16 * clock;
                    expected[at..at + 8].copy_from_slice(&seconds(offset).0.to_ne_bytes());
                    expected[at + 8..at + 16].copy_from_slice(&seconds(offset).1.to_ne_bytes());
                }
            }
            for (index, (got, expected)) in page.0.iter().zip(&expected).enumerate() {
                // Auxiliary clocks, where configured, carry the marker in their own instances.
                let auxiliary = (2 * CLOCK..TIMEZONE).contains(&index) && (index - 2 * CLOCK) % CLOCK < 8;
                holds(got == expected || auxiliary, || {
                    format!("byte {index}: expected {expected}, got {got}")
                })?;
            }
            equal("bytes of data", ALL, RESOLUTION + 40)
        },
    );
    plan.case("a negative offset stands as seconds rounded down and positive nanoseconds", || {
        needs_root()?;
        let back = namespace::Offsets { monotonic: -1, boottime: -1 };
        namespace::unshare_and_enter(back).step("entering")?;
        let page = Page::read(vvar()?.page(SYSTEM));
        for clock in [1, 4, 6, 7, 9] {
            let at = OFFSETS + 16 * clock;
            equal(&format!("clock {clock}"), (page.long(at) as i64, page.long(at + 8)), (-1, 999_999_999))?;
        }
        Ok(())
    });
    plan.case("inside, the companion is the system's page", || {
        let vvar = inside()?;
        let page = Page::read(vvar.page(COMPANION));
        within("its mode", page.head(0).1, 0, 3)?;
        equal("its step", page.word(RESOLUTION), 1)
    });
}

/// Computes a clock's time from the data of a page as the vDSO does and compares with the system call.
fn by_hand(vvar: &Mapping, slot: usize, clock: i32, instance: usize, offset: i64) -> Outcome {
    for _ in 0..1000 {
        let before = time::read_by_call(clock)?;
        let page = Page::read(vvar.page(slot));
        // SAFETY: reads a counter.
        let counter = unsafe { core::arch::x86_64::_rdtsc() };
        let again = Page::read(vvar.page(slot));
        let after = time::read_by_call(clock)?;
        let base = instance * CLOCK;
        let (sequence, mode) = page.head(instance);
        if sequence % 2 == 1 || again.head(instance).0 != sequence {
            continue;
        }
        if mode != COUNTER {
            return skipped(format!("the clock mode is {mode}, not the time stamp counter"));
        }
        let last = page.long(base + 8);
        let (mult, shift) = (page.word(base + 32), page.word(base + 36));
        let at = base + OFFSETS + 16 * clock as usize;
        let delta = u128::from(counter.saturating_sub(last));
        let nanoseconds = (delta * u128::from(mult) + u128::from(page.long(at + 8))) >> shift;
        let got = page.long(at) as i64 * SECOND + nanoseconds as i64 + offset;
        return within(&format!("clock {clock}"), got, before, after);
    }
    failed("no reading without an update in between")
}

fn switching(plan: &mut Plan) {
    plan.case("unshare leaves page 0 the system's: the process has not moved", || {
        needs_root()?;
        unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        holds(!is_namespace_page(&vvar()?), || "page 0 is the namespace's".into())
    });
    plan.case("setns in and out changes page 0 each time, also when it was read before", || {
        needs_root()?;
        let vvar = vvar()?;
        unshared()?;
        let root = file::Descriptor::open(TIME, libc::O_RDONLY).step("open")?;
        let inner = file::Descriptor::open(TIME_FOR_CHILDREN, libc::O_RDONLY).step("open")?;
        for round in 0..3 {
            call!(libc::SYS_setns, inner.0, 0).step("setns in")?;
            holds(is_namespace_page(&vvar), || format!("round {round}: inside, the system's page"))?;
            reading_is("the companion inside", vvar.page(COMPANION), Touch::Fine)?;
            call!(libc::SYS_setns, root.0, 0).step("setns out")?;
            holds(!is_namespace_page(&vvar), || format!("round {round}: outside, the namespace's page"))?;
            reading_is("the companion outside", vvar.page(COMPANION), BUS)?;
        }
        Ok(())
    });
    plan.case(
        "a child by fork gets the namespace's page although the parent had the system's installed",
        || {
            needs_root()?;
            let vvar = vvar()?;
            holds(!is_namespace_page(&vvar), || "the parent is inside".into())?;
            unshared()?;
            let child_page = vvar.clone();
            in_child(move || {
                holds(is_namespace_page(&child_page), || "the child has the system's page".into())
            })?;
            holds(!is_namespace_page(&vvar), || "the parent has the namespace's page".into())
        },
    );
    plan.case("two namespaces have two pages", || {
        needs_root()?;
        let vvar = vvar()?;
        let offset_of = |seconds: i64| -> Result<u64, Why> {
            let offsets = namespace::Offsets { monotonic: seconds * SECOND, boottime: 0 };
            namespace::unshare_and_enter(offsets).step("entering")?;
            Ok(Page::read(vvar.page(SYSTEM)).long(OFFSETS + 16))
        };
        equal("seconds in the first", offset_of(111)?, 111)?;
        equal("seconds in the second", offset_of(222)?, 222)
    });
    plan.case(
        "one fault installs page 0 and the companion; entering throws away both and the random page",
        || {
            let vvar = inside()?;
            let faults = |address: usize| -> Result<i64, Why> {
                let count = || -> Result<i64, Why> {
                    let mut usage = [0i64; 18];
                    call!(libc::SYS_getrusage, 0, &mut usage).step("getrusage")?;
                    Ok(usage[8])
                };
                let before = count()?;
                // SAFETY: these pages are readable inside a namespace.
                unsafe { _ = std::ptr::read_volatile(address as *const u8) };
                Ok(count()? - before)
            };
            let fresh = Box::new([0u8; 64 * PAGE]);
            if faults(std::ptr::from_ref(&*fresh) as usize + 32 * PAGE)? == 0 {
                return skipped("this kernel does not count page faults");
            }
            faults(vvar.page(RANDOM))?;
            namespace::enter(TIME).step("setns to where it is")?;
            equal("faults on page 0", faults(vvar.page(SYSTEM))?, 1)?;
            equal("faults on the companion", faults(vvar.page(COMPANION))?, 0)?;
            equal("faults on the random page", faults(vvar.page(RANDOM))?, 1)?;
            equal("faults on page 0 again", faults(vvar.page(SYSTEM))?, 0)
        },
    );
}
