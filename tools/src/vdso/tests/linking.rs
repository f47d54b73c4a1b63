//! From the object to the image: what is said about an object that cannot become one, and who can link one that can.

use super::super::build::{compile, link, linkers};
use super::super::{check, object_file};
use super::Folder;
use std::process::Command;

/// Compiles a few lines as the image is compiled, and gives the complaints.
fn complaints(name: &str, source: &str) -> Vec<String> {
    let folder = Folder::new();
    let (file, object) = (folder.join(name).with_extension("rs"), folder.join(name).with_extension("o"));
    std::fs::write(&file, format!("#![no_std]\n{source}")).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=obj", "-Copt-level=3", "-Cpanic=abort", "-o"]);
    assert!(rustc.arg(&object).arg(&file).status().unwrap().success());
    let problems = object_file::check(&std::fs::read(object).unwrap()).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_reachable_panic_is_one_sentence_with_the_names() {
    let source = "#[unsafe(no_mangle)] pub extern \"C\" fn pick(at: usize) -> u8 { [1, 2, 3][at] }";
    let found = complaints("panics", source);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with(
            "undefined symbols: pick can panic (it refers to core::panicking::panic_bounds_check)"
        ),
        "{found:?}"
    );
}

#[test]
fn copying_and_other_references_are_named_too() {
    let source = "#[unsafe(no_mangle)]
        pub unsafe extern \"C\" fn copy(to: &mut [u8; 999], from: &[u8; 999]) { *to = *from }";
    assert_eq!(complaints("copies", source).len(), 1);
    assert!(complaints("copies", source)[0].contains("copy calls memcpy"));
    let source = "unsafe extern \"C\" { fn elsewhere(); }
        #[unsafe(no_mangle)] pub extern \"C\" fn go() { unsafe { elsewhere() } }";
    assert!(complaints("refers", source)[0].contains("go refers to elsewhere, which is outside the image"));
}

#[test]
fn the_kernels_side_is_noticed() {
    let source = "mod write { #[inline(never)] pub fn publish(to: &mut u8) { *to = 1 } }
        #[unsafe(no_mangle)] pub extern \"C\" fn go(to: &mut u8) { write::publish(to) }";
    let found = complaints("gnomon_vdso", source);
    assert!(
        found.iter().any(|problem| problem.contains("gnomon_vdso::write::publish is the kernel's side")),
        "{found:?}"
    );
}

#[test]
fn either_linker_makes_a_sound_image() {
    let folder = Folder::new();
    let object = folder.join("vdso.o");
    compile(&object, true).unwrap();
    for linker in linkers().unwrap() {
        let mut command = linker.command();
        let image = folder.join("vdso.so");
        link(&mut command, &object, &image).unwrap();
        check(&std::fs::read(&image).unwrap()).unwrap_or_else(|problems| panic!("{linker:?}: {problems:#?}"));
    }
}
