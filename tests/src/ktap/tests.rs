//! The KTAP reader against programs that lie, stop early, or nest.

use super::parse;

/// The single failure of a run that must have exactly one.
fn only_failure(text: &str) -> String {
    let report = parse(text);
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    assert!(!report.is_good());
    report.failures[0].clone()
}

#[test]
fn a_good_run() {
    let report = parse("KTAP version 1\n1..2\nok 1 - one\n# a diagnostic\nok 2 two\n");
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!(report.passed, 2);
}

#[test]
fn console_noise_and_carriage_returns_do_not_matter() {
    let report = parse("[    0.1] hello\r\nKTAP version 1\r\n1..1\r\n[    0.2] a message\r\nok 1 - one\r\n");
    assert!(report.is_good(), "{:?}", report.failures);
}

#[test]
fn a_failed_line_is_shown() {
    assert_eq!(only_failure("KTAP version 1\n1..2\nok 1 - one\nnot ok 2 - two\n"), "not ok 2 - two");
}

#[test]
fn a_skip_is_neither_passed_nor_failed() {
    let report = parse("KTAP version 1\n1..2\nok 1 - one # SKIP no capability\nok 2 - two\n");
    assert_eq!((report.passed, report.skipped.len(), report.failures.len()), (1, 1, 0));
    assert!(report.skipped[0].contains("no capability"));
    assert!(parse("KTAP version 1\n1..0 # SKIP wrong machine\n").is_good());
}

#[test]
fn a_failed_skip_stays_failed() {
    assert!(only_failure("KTAP version 1\n1..1\nnot ok 1 - one # SKIP\n").starts_with("not ok 1"));
}

#[test]
fn missing_lines_are_a_failure() {
    assert_eq!(only_failure("KTAP version 1\n1..3\nok 1 - one\nok 2 - two\n"), "3 results planned, 2 seen");
}

#[test]
fn too_many_lines_are_a_failure() {
    assert_eq!(only_failure("KTAP version 1\n1..1\nok 1 - one\nok 2 - two\n"), "1 results planned, 2 seen");
}

#[test]
fn no_plan_no_version_no_output_are_failures() {
    assert_eq!(only_failure("KTAP version 1\nok 1 - one\n"), "there is no plan");
    assert_eq!(only_failure("1..1\nok 1 - one\n"), "no KTAP version line");
    assert_eq!(only_failure(""), "no KTAP version line");
    assert_eq!(only_failure("KTAP version 1\n1..0\n"), "the plan is empty");
}

#[test]
fn numbers_must_count_up() {
    assert!(only_failure("KTAP version 1\n1..2\nok 1 - one\nok 3 - three\n").contains("where 2 was due"));
}

const NESTED: &str =
    "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 - a\n  ok 2 - b\nok 1 - first\nok 2 - second\n";

#[test]
fn nested_runs_count_on_both_levels() {
    let report = parse(NESTED);
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!(report.passed, 4);
}

#[test]
fn a_nested_failure_fails_even_under_an_ok() {
    let report = parse(&NESTED.replace("  ok 2 - b", "  not ok 2 - b"));
    assert_eq!(report.failures.len(), 2, "{:?}", report.failures);
    assert!(report.failures[1].contains("over a failed test"));
}

#[test]
fn a_nested_plan_is_checked() {
    let report = parse(&NESTED.replace("  ok 2 - b\n", ""));
    assert!(report.failures[0].contains("2 results planned, 1 seen"), "{:?}", report.failures);
}

#[test]
fn a_nested_run_cut_off_is_a_failure_on_both_levels() {
    let report = parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 - a\n");
    assert_eq!(report.failures.len(), 2, "{:?}", report.failures);
}

#[test]
fn bail_out_is_a_failure() {
    assert!(parse("KTAP version 1\n1..1\nBail out! no memory\n").failures[0].contains("no memory"));
}
