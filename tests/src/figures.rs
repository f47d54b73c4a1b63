//! Figures that scenarios measure, and remarks on what they could not check, printed together after the last one.
//!
//! A scenario cannot print while the harness is in the middle of its line `test … `, and a figure nobody sees is not
//! worth measuring. They also go to `target/tests/figures.txt`, for a later comparison.

use std::sync::Mutex;

static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps one line for the end of the run.
pub fn note(line: impl Into<String>) {
    FIGURES.lock().expect("no holder of this lock panics").push(line.into());
}

/// Prints everything noted so far, and leaves it in the results folder.
pub fn print_all() {
    let figures = FIGURES.lock().expect("no holder of this lock panics");
    if figures.is_empty() {
        return;
    }
    println!("figures and remarks:");
    for line in figures.iter() {
        println!("  {line}");
    }
    println!();
    let path = crate::results().join("figures.txt");
    if let Err(error) = std::fs::write(&path, figures.join("\n") + "\n") {
        eprintln!("{}: {error}", path.display());
    }
}
