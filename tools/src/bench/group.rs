//! What can be measured, by name: a group is what `gnomon bench NAME` runs, and a table of the report.

use super::peer::Peer;
use serde::Serialize;

/// Rows that are measured the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// A process's start to init's first line, and to a prompt
    Boot,
    /// Reading every clock, through the vDSO and by system call, outside and inside a namespace
    Clocks,
    /// System calls, faults, processes, round trips
    Calls,
    /// How late sleepers wake
    Lateness,
    /// What things cost when there are many namespaces, tasks, timers
    Growth,
    /// Bytes of kernels and vDSOs, memory in use
    Size,
}

/// All of them, in the order of the report.
pub const ALL: [Group; 6] =
    [Group::Boot, Group::Clocks, Group::Calls, Group::Lateness, Group::Growth, Group::Size];

/// Machines whose figures may stand side by side: they were measured by the same means.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// What the means were, for the head of a table.
    pub title: &'static str,
    /// Ours first.
    pub peers: &'static [Peer],
    /// Pairs of ours and of what it is divided by.
    pub ratios: &'static [(Peer, Peer)],
}

const NATIVE: View = View {
    title: "natively, as processes of this host on one CPU",
    peers: &[Peer::UserMode, Peer::Host, Peer::UserModeLinux],
    ratios: &[(Peer::UserMode, Peer::Host), (Peer::UserMode, Peer::UserModeLinux)],
};
const COUNTED: View = View {
    title: "in QEMU, which counts instructions",
    peers: &[Peer::Gnomon, Peer::Linux],
    ratios: &[(Peer::Gnomon, Peer::Linux)],
};
const EMULATED: View = View {
    title: "in QEMU, which took turns and counted nothing",
    peers: &[Peer::Gnomon, Peer::Linux],
    ratios: &[(Peer::Gnomon, Peer::Linux)],
};
const BOOTED: View = View {
    title: "from the start of the process",
    peers: &[
        Peer::Gnomon,
        Peer::Linux,
        Peer::GnomonMicrovm,
        Peer::LinuxMicrovm,
        Peer::UserMode,
        Peer::UserModeLinux,
    ],
    ratios: &[
        (Peer::Gnomon, Peer::Linux),
        (Peer::GnomonMicrovm, Peer::LinuxMicrovm),
        (Peer::UserMode, Peer::UserModeLinux),
    ],
};
const SIZES: View = View {
    title: "of the files, and of the memory of a machine with 256 MiB",
    peers: &[Peer::Gnomon, Peer::Linux, Peer::UserMode, Peer::UserModeLinux],
    ratios: &[(Peer::Gnomon, Peer::Linux), (Peer::UserMode, Peer::UserModeLinux)],
};

impl Group {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Group::Boot => "boot",
            Group::Clocks => "clocks",
            Group::Calls => "calls",
            Group::Lateness => "lateness",
            Group::Growth => "growth",
            Group::Size => "size",
        }
    }

    /// What its rows are, in a sentence's length.
    pub fn title(self) -> &'static str {
        match self {
            Group::Boot => "Boot: to init's first line and to a shell's prompt",
            Group::Clocks => "Reading a clock",
            Group::Calls => "System calls, faults, processes, round trips",
            Group::Lateness => "How late a sleeper wakes, by the clock it sleeps by",
            Group::Growth => "Cost as there are more of something",
            Group::Size => "Size",
        }
    }

    /// The tables it makes.
    pub fn views(self) -> &'static [View] {
        match self {
            Group::Boot => &[BOOTED],
            Group::Clocks | Group::Calls => &[NATIVE, COUNTED],
            Group::Lateness => &[NATIVE, EMULATED],
            Group::Growth => &[COUNTED],
            Group::Size => &[SIZES],
        }
    }

    /// The number by which the measuring program divides its rounds, where a processor counts instructions and where it
    /// counts cycles: exact figures need few.
    pub fn speed(self, counted: bool) -> u32 {
        match (self, counted) {
            (Group::Growth | Group::Size | Group::Lateness, _) => 1,
            (_, true) => 50,
            (_, false) => 20,
        }
    }
}
