//! The figures: at most Linux's, for every call, and the same in root whether namespaces are compiled in or not.

use super::super::figures::{ROWS, Table};
use super::{image, image_without_namespaces};

#[test]
fn no_call_takes_more_instructions_than_in_linux() {
    let table = Table::count(image(), true).unwrap();
    for (index, row) in ROWS.iter().enumerate() {
        let counts = [table.counts[0][index], table.counts[1][index]];
        assert!(counts[0] > 0 && counts[1] > 0);
        assert!(counts[0] <= row.linux[0] && counts[1] <= row.linux[1], "{}: {counts:?} {table}", row.name);
    }
    let monotonic = ROWS.iter().position(|row| row.name == "MONOTONIC").unwrap();
    assert!(table.counts[0][monotonic] <= 55 && table.counts[1][monotonic] <= 66, "{table}");
}

#[test]
fn namespaces_cost_the_root_nothing() {
    let with = Table::count(image(), true).unwrap().counts[0];
    let without = Table::count(image_without_namespaces(), false).unwrap().counts[0];
    for (index, row) in ROWS.iter().enumerate() {
        // A compiler may need a register more, which is an instruction to save it and one to restore it. The calls
        // that do not use the sequence counter ask openly which page they are on, with three instructions or four.
        let allowed = if matches!(row.name, "time" | "clock_getres") { 4 } else { 2 };
        assert!(
            with[index] <= without[index] + allowed,
            "{}: {} and {}",
            row.name,
            with[index],
            without[index]
        );
    }
}
