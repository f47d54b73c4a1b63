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

const RULES: [Rule; 6] = [
    Rule {
        words: &["unsafe"],
        places: &["arch/", "sync/", "ns/vvar.rs"],
        reason: "it lives in arch, four files of mm, sync, and the two writers of the VVAR page",
    },
    Rule { words: &["static", "mut"], places: &[], reason: "more than one CPU from the first line" },
    Rule {
        words: &["target_os"],
        places: &["arch/", "main.rs"],
        reason: "nothing above arch may know the machine",
    },
    Rule {
        words: &["gnomon_vdso"],
        places: &["ns/vvar.rs"],
        reason: "only who publishes or places the page knows it",
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
