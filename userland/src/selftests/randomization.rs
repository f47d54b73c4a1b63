//! Where the parts of a program are: not to be foreseen, unless it is asked that they can be.

use super::support::helper_output;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, on_gnomon, skipped};
use crate::system::file;
use std::collections::BTreeSet;

const SETTING: &str = "/proc/sys/kernel/randomize_va_space";
const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;
/// The order in which the helper tells addresses.
const PARTS: [&str; 4] = ["the stack", "the heap", "a mapping", "the vDSO"];
/// Programs looked at.
const RUNS: usize = 6;

fn addresses(personality: u32) -> Result<Vec<String>, Why> {
    let prepare = || -> Outcome { call!(libc::SYS_personality, personality).step("personality").map(|_| ()) };
    let text = helper_output(&["addresses"], prepare)?;
    Ok(text.split_whitespace().map(str::to_string).collect())
}

/// How many different places each part was seen at.
fn places(personality: u32) -> Result<Vec<usize>, Why> {
    let runs: Vec<Vec<String>> = (0..RUNS).map(|_| addresses(personality)).collect::<Result<_, _>>()?;
    let places = |part: usize| runs.iter().map(|run| run[part].clone()).collect::<BTreeSet<_>>().len();
    Ok((0..PARTS.len()).map(places).collect())
}

fn setting() -> Result<u32, Why> {
    file::read(SETTING).step("reading the setting")?.trim().parse().ok().step("a number")
}

fn all_move() -> Outcome {
    for (part, places) in PARTS.iter().zip(places(0)?) {
        // Two of six may fall together; the heap has 8192 places to go.
        holds(places >= RUNS - 1, || format!("{part}: {places} places in {RUNS} runs"))?;
    }
    Ok(())
}

fn none_moves(personality: u32) -> Outcome {
    for (part, places) in PARTS.iter().zip(places(personality)?) {
        equal(part, places, 1)?;
    }
    Ok(())
}

pub fn cases(plan: &mut Plan) {
    plan.case("each run has its stack, heap, mappings and vDSO elsewhere", || match setting()? {
        2 => all_move(),
        0 => none_moves(0),
        other => skipped(format!("the setting is {other}")),
    });
    plan.case("personality(ADDR_NO_RANDOMIZE): every run is like the other", || {
        none_moves(ADDR_NO_RANDOMIZE)
    });
    plan.case("the setting turns it off and on again", || {
        if !on_gnomon() || setting()? != 2 {
            return skipped("the setting is the machine's");
        }
        file::write(SETTING, "0\n").step("turning it off")?;
        let outcome = none_moves(0);
        file::write(SETTING, "2\n").step("turning it on")?;
        outcome?;
        holds(file::write(SETTING, "3").is_err(), || "3 was taken".into())?;
        all_move()
    });
}
