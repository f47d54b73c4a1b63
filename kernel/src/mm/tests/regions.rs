//! Regions against the simplest thing that could be said of them: an array with an entry for each page.

extern crate std;

use super::support::TestFile;
use crate::{
    arch::{PAGE_SIZE, Permissions},
    mm::{
        regions::{Backing, Region, RegionFlags, Regions, STACK_GUARD_GAP},
        source::PageSource,
    },
};
use alloc::{sync::Arc, vec::Vec};
use proptest::prelude::*;

/// Pages in the model; regions lie at [`BASE`] and above.
const PAGES: usize = 1200;
const BASE: usize = 0x10_0000;

/// What the model knows of a page: permissions, flags, and which page of the file, if it is one.
type Page = Option<Contents>;
type Contents = (Permissions, RegionFlags, Option<u64>);

#[derive(Clone, Debug)]
enum Step {
    Insert {
        start: usize,
        pages: usize,
        permissions: Permissions,
        flags: RegionFlags,
        file_page: Option<u64>,
    },
    Remove {
        start: usize,
        pages: usize,
    },
    Protect {
        start: usize,
        pages: usize,
        permissions: Permissions,
    },
    Flag {
        start: usize,
        pages: usize,
    },
}

fn permissions() -> impl Strategy<Value = Permissions> {
    prop::sample::select(alloc::vec![
        Permissions::empty(),
        Permissions::READ,
        Permissions::READ | Permissions::WRITE
    ])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..PAGES - 40, 1..40usize);
    let flags =
        prop::sample::select(alloc::vec![RegionFlags::empty(), RegionFlags::SHARED, RegionFlags::GROWS_DOWN]);
    let file_page = prop::option::of(0u64..20);
    let step = prop_oneof![
        3 => (range(), permissions(), flags, file_page).prop_map(|((start, pages), permissions, flags, file_page)| {
            Step::Insert { start, pages, permissions, flags, file_page }
        }),
        2 => range().prop_map(|(start, pages)| Step::Remove { start, pages }),
        2 => (range(), permissions()).prop_map(|((start, pages), permissions)| Step::Protect { start, pages, permissions }),
        1 => range().prop_map(|(start, pages)| Step::Flag { start, pages }),
    ];
    prop::collection::vec(step, 1..60)
}

fn address(page: usize) -> usize {
    BASE + page * PAGE_SIZE
}

fn apply(step: &Step, regions: &mut Regions, model: &mut [Page], file: &Arc<dyn PageSource>) {
    match *step {
        Step::Insert { start, pages, permissions, flags, file_page } => {
            regions.remove(address(start)..address(start + pages), |_, _| ());
            let backing = match file_page {
                None => Backing::Anonymous,
                Some(first) => Backing::Source { source: file.clone(), first },
            };
            let end = address(start + pages);
            regions.insert(
                address(start),
                Region { end, permissions, maximum: Permissions::all(), flags, backing },
            );
            for page in 0..pages {
                model[start + page] = Some((permissions, flags, file_page.map(|first| first + page as u64)));
            }
        }
        Step::Remove { start, pages } => {
            let mut removed = 0;
            regions.remove(address(start)..address(start + pages), |at, region| {
                removed += (region.end - at) / PAGE_SIZE
            });
            let model = &mut model[start..start + pages];
            assert_eq!(removed, model.iter().flatten().count());
            model.fill(None);
        }
        Step::Protect { start, pages, permissions } => {
            regions.update(address(start)..address(start + pages), |region| region.permissions = permissions);
            model[start..start + pages].iter_mut().flatten().for_each(|page| page.0 = permissions);
        }
        Step::Flag { start, pages } => {
            regions
                .update(address(start)..address(start + pages), |region| region.flags |= RegionFlags::LOCKED);
            model[start..start + pages].iter_mut().flatten().for_each(|page| page.1 |= RegionFlags::LOCKED);
        }
    }
}

/// Whether `next` could be the page behind `page` in one region.
fn belongs(page: &Page, next: &Page) -> bool {
    match (page, next) {
        (Some((permissions, flags, file)), Some((next_permissions, next_flags, next_file))) => {
            permissions == next_permissions && flags == next_flags && file.map(|page| page + 1) == *next_file
        }
        _ => false,
    }
}

fn compare(regions: &Regions, model: &[Page]) {
    let mut seen: Vec<Page> = alloc::vec![None; PAGES];
    for (start, region) in regions.iter() {
        for (index, at) in (start..region.end).step_by(PAGE_SIZE).enumerate() {
            let file_page = match &region.backing {
                Backing::Source { first, .. } => Some(first + index as u64),
                _ => None,
            };
            seen[(at - BASE) / PAGE_SIZE] = Some((region.permissions, region.flags, file_page));
        }
    }
    assert_eq!(seen, model);
    let first_pages = (0..PAGES)
        .filter(|&page| model[page].is_some() && (page == 0 || !belongs(&model[page - 1], &model[page])));
    assert_eq!(regions.count(), first_pages.count(), "neighbours that are alike are one region");
    let count =
        |wanted: &dyn Fn(&Contents) -> bool| model.iter().flatten().filter(|page| wanted(page)).count();
    assert_eq!(regions.pages(), count(&|_| true));
    assert_eq!(regions.locked_pages(), count(&|page| page.1.contains(RegionFlags::LOCKED)));
    let not_data = RegionFlags::SHARED | RegionFlags::GROWS_DOWN;
    assert_eq!(
        regions.data_pages(),
        count(&|page| page.0.contains(Permissions::WRITE) && !page.1.intersects(not_data))
    );
}

/// Whether a mapping may be put on these pages: free, and not where a stack grows.
fn is_free(model: &[Page], start: usize, pages: usize) -> bool {
    let guard = STACK_GUARD_GAP / PAGE_SIZE;
    let above = start + pages..(start + pages + guard).min(PAGES);
    let first_above = above.clone().find(|&page| model[page].is_some());
    let crowds = first_above.is_some_and(|page| model[page].unwrap().1.contains(RegionFlags::GROWS_DOWN));
    model[start..start + pages].iter().all(Option::is_none) && !crowds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn regions_hold_what_was_put_into_them(steps in steps()) {
        let file: Arc<dyn PageSource> = TestFile::new(b"x");
        let mut regions = Regions::new();
        let mut model = alloc::vec![None; PAGES];
        for step in &steps {
            apply(step, &mut regions, &mut model, &file);
            compare(&regions, &model);
        }
    }

    #[test]
    fn questions_are_answered_as_by_looking_at_every_page(
        steps in steps(), start in 0..PAGES - 40, pages in 1..40usize, window in 1..PAGES,
    ) {
        let file: Arc<dyn PageSource> = TestFile::new(b"x");
        let mut regions = Regions::new();
        let mut model = alloc::vec![None; PAGES];
        steps.iter().for_each(|step| apply(step, &mut regions, &mut model, &file));
        let range = address(start)..address(start + pages);
        let hole = (start..start + pages).find(|&page| model[page].is_none()).map(address);
        prop_assert_eq!(regions.uncovered(range.clone()), hole);
        prop_assert_eq!(regions.cover(range.clone()), hole.is_none());
        prop_assert_eq!(regions.find(address(start) + 5).is_some(), model[start].is_some());
        prop_assert_eq!(regions.is_free(range.clone()), is_free(&model, start, pages));
        let above = (start..PAGES).find(|&page| model[page].is_some());
        prop_assert_eq!(
            regions.at_or_above(address(start)).map(|(at, region)| at.max(address(start)) < region.end),
            above.map(|_| true)
        );
        let touched = regions.overlapping(range).map(|(at, region)| region.end.min(address(start + pages)) - at.max(address(start)));
        prop_assert_eq!(touched.sum::<usize>() / PAGE_SIZE, model[start..start + pages].iter().flatten().count());
        let places = || (0..(window + 1).saturating_sub(pages)).filter(|&place| is_free(&model, place, pages));
        let whole = BASE..address(window);
        prop_assert_eq!(regions.highest_gap(pages * PAGE_SIZE, whole.clone()), places().next_back().map(address));
        prop_assert_eq!(regions.highest_gap(pages * PAGE_SIZE, whole.clone()), places().next_back().map(address));
        prop_assert_eq!(regions.lowest_gap(pages * PAGE_SIZE, whole), places().next().map(address));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_search_remembers_never_hides_a_gap(
        steps in prop::collection::vec((steps(), prop::collection::vec(1..30usize, 1..4)), 1..12),
        top in PAGES - 300..PAGES,
    ) {
        let file: Arc<dyn PageSource> = TestFile::new(b"x");
        let mut regions = Regions::new();
        let mut model = alloc::vec![None; PAGES];
        for (steps, searches) in &steps {
            steps.iter().take(5).for_each(|step| apply(step, &mut regions, &mut model, &file));
            for &pages in searches {
                let mut places = 0..(top + 1).saturating_sub(pages);
                let place = places.rfind(|&place| is_free(&model, place, pages));
                prop_assert_eq!(regions.highest_gap(pages * PAGE_SIZE, BASE..address(top)), place.map(address));
                let Some(start) = place else { continue };
                let (permissions, flags, file_page) = (Permissions::READ, RegionFlags::empty(), None);
                apply(&Step::Insert { start, pages, permissions, flags, file_page }, &mut regions, &mut model, &file);
            }
        }
    }
}

#[test]
fn many_mappings_are_placed_without_walking_over_all_of_them() {
    let mut regions = Regions::new();
    let started = std::time::Instant::now();
    for index in 0..60_000 {
        let start = regions.highest_gap(PAGE_SIZE, BASE..1 << 40).unwrap();
        assert_eq!(start, (1 << 40) - (index + 1) * PAGE_SIZE);
        let permissions = if index % 2 == 0 { Permissions::READ } else { Permissions::empty() };
        let (maximum, flags, backing) = (Permissions::all(), RegionFlags::empty(), Backing::Anonymous);
        regions.insert(start, Region { end: start + PAGE_SIZE, permissions, maximum, flags, backing });
    }
    // Walking over all of them takes minutes.
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn a_special_mapping_is_one_thing() {
    use crate::mm::special::Special;
    let mut regions = Regions::new();
    for (start, kind) in [(0, Special::Vvar), (4, Special::VvarVclock)] {
        let backing = Backing::Special { kind, first: 0 };
        let end = address(start + 4);
        let (permissions, maximum) = (kind.permissions(), kind.maximum());
        regions.insert(
            address(start),
            Region { end, permissions, maximum, flags: RegionFlags::empty(), backing },
        );
    }
    assert_eq!(regions.count(), 2, "two of them never join");
    for (range, splits) in
        [(0..4, false), (0..8, false), (1..4, true), (0..5, true), (3..9, true), (4..8, false)]
    {
        assert_eq!(regions.splits_special(&(address(range.start)..address(range.end))), splits, "{range:?}");
    }
}
