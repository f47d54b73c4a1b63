//! The sources against the rules of the house: who may import whom, and where certain words may stand.

use gnomon_tests::structure::words::{self, Rule};
use gnomon_tests::structure::{Source, imports, sources};
use gnomon_tools::workspace;

fn kernel() -> Vec<Source> {
    let sources = sources(&workspace::root().join("kernel/src")).expect("the kernel's sources can be read");
    assert!(sources.iter().any(|source| source.path == "main.rs"), "the kernel has moved");
    sources
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn imports_go_only_to_the_right() {
    assert_none(imports::complaints(&kernel()));
}

/// What may stand where. A new place must be argued for here.
const RULES: [Rule; 6] = [
    Rule {
        words: &["unsafe"],
        places: &[
            "arch/",
            // Four files of mm: who hands out frames, who makes a heap of them, who sees a program's memory and files.
            "mm/frames.rs",
            "mm/heap.rs",
            "mm/heap/small.rs",
            "mm/mappings.rs",
            "mm/user.rs",
            // Their tests, which call what is unsafe to call.
            "mm/tests/",
            // The two writers of the VVAR page.
            "ns/vvar.rs",
            "time/publish.rs",
        ],
        reason: "only the machine, four files of mm and the two writers of the VVAR page are trusted with it",
    },
    Rule { words: &["static", "mut"], places: &[], reason: "more than one CPU from the first line" },
    Rule {
        words: &["target_os"],
        // A global allocator is named by an attribute, and an ordinary process has one already.
        places: &["arch/", "main.rs", "mm/heap.rs"],
        reason: "nothing above arch may know the machine",
    },
    Rule {
        words: &["gnomon_vdso"],
        places: &[
            // The publisher, and the clock it publishes, which must compute as the readers do.
            "time/publish.rs",
            "time/timekeeper.rs",
            // The namespace's page, the offsets in it, and the order of the pages.
            "ns/vvar.rs",
            "ns/offsets.rs",
            "ns/time.rs",
            "ns/translate.rs",
            "ns/absent.rs",
            // Who carries the image and fits it to the processor, and who places it.
            "time/image.rs",
            "exec/mod.rs",
            // The kernel's generator, whose cipher is also that of programs' own.
            "fs/devices/random.rs",
        ],
        reason: "only who writes the VVAR page or places the image knows its crate",
    },
    Rule { words: &["todo", "!"], places: &[], reason: "what is there is finished" },
    Rule {
        words: &["unimplemented", "!"],
        places: &[],
        reason: "a call that is not there is refused, not a panic",
    },
];

#[test]
fn words_stand_only_where_they_may() {
    assert_none(words::complaints(&RULES, &kernel()));
}

#[test]
fn no_place_is_allowed_more_than_it_needs() {
    assert_none(words::unused_places(&RULES, &kernel()));
}
