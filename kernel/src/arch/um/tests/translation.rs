//! The page table against a model of a host process that does what it is told.

use super::*;
use crate::abi::Errno;
use proptest::prelude::*;

const READ: Permissions = Permissions::READ;
const BOTH: Permissions = Permissions::READ.union(Permissions::WRITE);
/// Around the border of two leaves.
const FIRST: usize = LEAF_SPAN - 8 * PAGE_SIZE;
const PAGES: usize = 16;

fn page(number: usize) -> usize {
    FIRST + number * PAGE_SIZE
}

/// Frames that are nobody else's.
#[derive(Default)]
struct Frames {
    free: spin::Mutex<Vec<Frame>>,
}

impl TableFrames for Frames {
    fn allocate(&self) -> Result<Frame> {
        let frame = self.free.lock().pop().ok_or(Errno::ENOMEM)?;
        // SAFETY: a whole frame, which nobody else has.
        unsafe { memory::pointer(frame).write_bytes(0, PAGE_SIZE) };
        Ok(frame)
    }

    fn free(&self, frame: Frame) {
        self.free.lock().push(frame);
    }
}

/// A table with some frames of its own: `lot` is which.
fn table(lot: u32) -> Table {
    const LOT: u32 = 8;
    let first = memory::FIRST_FRAME + lot * LOT;
    assert!(first + LOT <= memory::FIRST_FREE);
    let free = spin::Mutex::new((first..first + LOT).map(Frame).collect());
    Table::new(Box::leak(Box::new(Frames { free }))).unwrap()
}

/// A host process' mappings, as operations make them.
#[derive(Default)]
struct Model(BTreeMap<usize, Operation>);

impl Model {
    fn perform(&mut self, operations: &[Operation]) {
        for operation in operations {
            let [start, length, ..] = operation.arguments.map(|argument| argument as usize);
            let pages = || (start..start + length).step_by(PAGE_SIZE);
            match operation.number {
                libc::SYS_munmap => self.0.retain(|page, _| !(start..start + length).contains(page)),
                libc::SYS_mprotect => pages().for_each(|page| {
                    let there = self.0.get_mut(&page).expect("mprotect(2) fails over a gap");
                    there.arguments[2] = operation.arguments[2];
                }),
                libc::SYS_mmap => pages().for_each(|page| {
                    let frame = Frame(
                        (operation.arguments[5] as usize / PAGE_SIZE + (page - start) / PAGE_SIZE) as u32,
                    );
                    let mut one = Operation::map(page..page + PAGE_SIZE, frame, READ);
                    one.arguments[2] = operation.arguments[2];
                    self.0.insert(page, one);
                }),
                other => panic!("operation {other}"),
            }
        }
    }

    /// Whether the host lets the program do no more with a page than the table does.
    fn is_within(&self, table: &Table, page: usize) -> bool {
        let Some(there) = self.0.get(&page) else { return true };
        let Some(mapping) = table.lookup(page) else { return false };
        let wanted = Operation::map(page..page + PAGE_SIZE, mapping.frame, mapping.permissions);
        let more = there.arguments[2] & !wanted.arguments[2];
        there.arguments[5] == wanted.arguments[5] && more == 0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map(usize, u32, bool),
    Unmap(usize, usize),
    /// The program has the host unmap what the kernel has.
    UnmapBoth(usize, usize),
    Change(usize, usize, Option<bool>),
    /// A child has a copy of the host process, and writes to a page.
    Fork(usize),
    /// The program runs, and faults at a page first.
    Run(Option<usize>),
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let permissions = prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    prop_oneof![
        4 => (0..PAGES, 1..20_u32, any::<bool>()).prop_map(|(page, frame, write)| Step::Map(page, frame, write)),
        // As pages come: several in a row, with frames in a row.
        2 => (0..PAGES, 0..PAGES).prop_map(|(start, end)| Step::Unmap(start, end)),
        2 => (0..PAGES, 0..PAGES, permissions).prop_map(|(start, end, to)| Step::Change(start, end, to)),
        2 => (0..PAGES, 1..4_usize).prop_map(|(start, count)| Step::UnmapBoth(start, start + count)),
        1 => (0..PAGES).prop_map(Step::Fork),
        4 => proptest::option::of(0..PAGES).prop_map(Step::Run),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn a_program_never_runs_with_more_than_its_table_says(steps in proptest::collection::vec(step(), 0..60)) {
        let mut table = table(0);
        let mut host = Model::default();
        let allowed = |write| if write { BOTH } else { READ };
        for step in steps {
            match step {
                Step::Map(at, frame, write) => {
                    table.map(page(at), Mapping { frame: Frame(frame), permissions: allowed(write) }).unwrap();
                }
                Step::Unmap(start, end) => drop(table.unmap(page(start)..page(end.max(start)), |_| ())),
                Step::UnmapBoth(start, end) => {
                    let range = page(start)..page(end);
                    table.unmap(range.clone(), |_| ());
                    let is_all = table.0.lock().needs_only_unmapping(&range);
                    if is_all {
                        host.perform(&[Operation::unmap(range.clone())]);
                        table.0.lock().note_unmapped(range);
                        for at in 0..PAGES {
                            prop_assert!(host.is_within(&table, page(at)), "page {}", at);
                        }
                    }
                }
                Step::Fork(written) => {
                    let mut child = self::table(2);
                    table.share(page(0)..page(PAGES), &mut child, |_| ()).unwrap();
                    host.perform(&table.0.lock().operations(None));
                    let mut copy = Model(host.0.clone());
                    prop_assert!(host.0.is_empty() || child.0.lock().take_over(&table.0.lock()));
                    child.map(page(written), Mapping { frame: Frame(50), permissions: BOTH }).unwrap();
                    copy.perform(&child.0.lock().operations(None));
                    for at in 0..PAGES {
                        prop_assert!(copy.is_within(&child, page(at)), "page {} of the child", at);
                    }
                    let forgotten = child.0.lock().operations(None);
                    prop_assert!(forgotten.is_empty());
                }
                Step::Change(start, end, to) => {
                    let permissions = to.map_or(Permissions::empty(), allowed);
                    table.change(page(start)..page(end.max(start)), |_, _| permissions);
                }
                Step::Run(fault) => {
                    let operations = table.0.lock().operations(fault.map(page));
                    host.perform(&operations);
                    prop_assert!(table.0.lock().is_current());
                    for at in 0..PAGES {
                        prop_assert!(host.is_within(&table, page(at)), "page {}", at);
                    }
                    if let Some(mapping) = fault.and_then(|at| table.lookup(page(at)))
                        && !mapping.permissions.is_empty()
                    {
                        let there = host.0.get(&page(fault.unwrap()));
                        prop_assert!(there.is_some(), "what has faulted is there afterwards");
                    }
                }
                Step::Forget => host.perform(&[table.0.lock().forget()]),
            }
        }
        table.unmap(operation::everything(), |_| ());
        host.perform(&table.0.lock().operations(None));
        prop_assert!(host.0.is_empty());
        prop_assert!(table.0.lock().leaves.is_empty(), "empty leaves go");
    }
}

#[test]
fn a_fault_brings_in_all_that_one_operation_can() {
    let mut table = table(1);
    for number in 0..PAGES {
        table.map(page(number), Mapping { frame: Frame(100 + number as u32), permissions: READ }).unwrap();
    }
    // One that is already there, and one that does not fit, end the run on either side.
    table.map(page(12), Mapping { frame: Frame(112), permissions: BOTH }).unwrap();
    table.map(page(2), Mapping { frame: Frame(7), permissions: READ }).unwrap();
    let operations = table.0.lock().operations(Some(page(6)));
    assert_eq!(operations, [Operation::map(page(3)..page(12), Frame(103), READ)]);
    assert_eq!(table.0.lock().operations(None), []);
}
