//! From a list of scenarios to a list of tests, one for each backend a scenario can run on.

use crate::backend::Backend;
use crate::failure::{Result, skip_reason};
use crate::machine::Machine;
use libtest_mimic::{Completion, Failed, Trial};

/// Something that must hold on a machine.
pub struct Scenario {
    name: String,
    backends: Vec<&'static dyn Backend>,
    run: std::sync::Arc<dyn Fn(&mut Machine) -> Result + Send + Sync>,
}

/// What is known to be wrong with the kernel: scenarios that would fail, each with what happens instead. They are shown as
/// ignored with this sentence, so that nobody takes them for passed; a line goes when its defect does.
const KNOWN_DEFECTS: [(&str, &str); 0] = [];

/// What is known to be wrong about this scenario.
pub fn known_defect(scenario: &str) -> Option<&'static str> {
    KNOWN_DEFECTS.iter().find(|(name, _)| *name == scenario).map(|(_, defect)| *defect)
}

/// Makes a scenario of a name and a function; `on` says where it can run.
pub fn scenario(
    name: impl Into<String>,
    on: &[&'static dyn Backend],
    run: impl Fn(&mut Machine) -> Result + Send + Sync + 'static,
) -> Scenario {
    Scenario { name: name.into(), backends: on.to_vec(), run: std::sync::Arc::new(run) }
}

impl Scenario {
    /// One test for each backend, named `scenario::backend`.
    pub fn trials(self) -> Vec<Trial> {
        let Scenario { name, backends, run } = self;
        let one = |backend: &'static dyn Backend| {
            let (name, run) = (name.clone(), run.clone());
            Trial::ignorable_test(format!("{name}::{}", backend.name()), move || {
                if let Some(reason) = backend.obstacle() {
                    return Ok(Completion::ignored_with(reason));
                }
                if let Some(defect) = known_defect(&name) {
                    return Ok(Completion::ignored_with(defect));
                }
                let mut machine = Machine::new(backend, &name);
                outcome(run(&mut machine))
            })
        };
        backends.into_iter().map(one).collect()
    }
}

/// What the harness shows for what a scenario returned.
pub fn outcome(result: Result) -> std::result::Result<Completion, Failed> {
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match skip_reason(&error) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => Err(format!("{error:#}").into()),
        },
    }
}
