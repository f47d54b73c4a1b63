//! The user-mode machine where the host's system calls have a listener already, as in some containers: the kernel cannot be
//! their listener then, and programs' calls arrive by signals alone. Everything works, and the boot log says so.

use anyhow::{Context, Result, ensure};
use gnomon_tests::scenario::outcome;
use gnomon_tools::image;
use gnomon_tools::workspace::Variant;
use libtest_mimic::Trial;
use std::io::Write;
use std::process::{Command, Stdio};

pub fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test("um_works_without_notifications", || outcome(works()))]
}

fn works() -> Result<()> {
    let folder = Variant::WithTimeNamespaces.image_directory();
    let userland = image::userland().context("our programs were not built")?;
    // Its helper installs a filter with a listener, and executes the rest.
    let mut command = Command::new(userland);
    command.args(["selftest-helper", "listened"]).arg(folder.join("gnomon-um"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start our program")?;
    let input = "demonstration | tail -n 1; /selftests/signals; /selftests/threads; exit\n";
    child.stdin.take().context("made with a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);
    for (what, wanted) in [
        ("the log does not tell", "their calls arrive as signals"),
        ("the demonstration did not hold", "checks of the above hold."),
        ("the selftests did not run", "\nok 1 "),
    ] {
        ensure!(said.contains(wanted), "{what}:\n{said}");
    }
    ensure!(!said.contains("not ok"), "a selftest failed:\n{said}");
    Ok(())
}
