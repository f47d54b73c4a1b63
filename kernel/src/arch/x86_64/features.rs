//! What this processor can do, and the control bits that turn it on.
//!
//! The oldest processor that will do is QEMU's `qemu64`: SYSCALL, NX, SSE2, FXSAVE, a local APIC. Everything newer is used
//! where it is found. CPUID is asked once: under a hypervisor each question leaves the virtual machine.

use raw_cpuid::{CpuId, CpuIdReaderNative};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The features that change what the kernel does later.
#[derive(Clone, Copy)]
pub struct Features {
    /// RDFSBASE and its kin: user mode sets its own segment bases, and the kernel need not use MSRs.
    pub fsgsbase: bool,
    /// The parts of extended state, as in XCR0; empty where there is no XSAVE.
    pub extended_state: XCr0Flags,
    /// Bytes of extended state.
    pub extended_state_size: usize,
    /// Pages of 1 GiB.
    pub pages_1_gib: bool,
    /// RDTSCP, and with it a register that tells programs which CPU they are on.
    pub rdtscp: bool,
    /// The cycle counter ticks evenly whatever the processor's clock does, or a hypervisor sees to it.
    pub steady_counter: bool,
    /// RDSEED.
    pub rdseed: bool,
    /// CPUID leaf 1, EDX.
    pub hwcap: u32,
    /// Which control bits were found and set, for the log.
    pub protections: Cr4Flags,
}

static FEATURES: spin::Once<Features> = spin::Once::new();

/// This processor's; [`enable`] must have run.
#[inline]
pub fn get() -> &'static Features {
    FEATURES.get().expect("features are found first thing at boot")
}

/// The parts of extended state this kernel knows: XSAVE keeps each where CPUID says, so knowing means naming.
const EXTENDED_STATE: XCr0Flags = XCr0Flags::X87
    .union(XCr0Flags::SSE)
    .union(XCr0Flags::AVX)
    .union(XCr0Flags::OPMASK)
    .union(XCr0Flags::ZMM_HI256)
    .union(XCr0Flags::HI16_ZMM);

/// Finds the features and turns on all that guards the kernel or serves programs.
pub fn enable() -> &'static Features {
    FEATURES.call_once(|| {
        let cpuid = CpuId::new();
        let basic = cpuid.get_feature_info().expect("every 64-bit processor has CPUID leaf 1");
        assert!(basic.has_apic(), "Gnomon needs a processor with a local APIC");
        let more = cpuid.get_extended_feature_info();
        let extended = cpuid.get_extended_processor_and_feature_identifiers();
        let has = |test: fn(&raw_cpuid::ExtendedFeatures) -> bool| more.as_ref().is_some_and(test);

        // For each bit of CR4: whether this processor has it.
        let wanted = [
            (Cr4Flags::DEBUGGING_EXTENSIONS, basic.has_de()),
            (Cr4Flags::MACHINE_CHECK_EXCEPTION, basic.has_mce()),
            (Cr4Flags::PAGE_GLOBAL, basic.has_pge()),
            // Programs may use SSE, and floating-point errors in it are #XM.
            (Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE, true),
            // Programs may not read where the kernel's descriptor tables are.
            (Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, has(|leaf| leaf.has_umip())),
            (Cr4Flags::FSGSBASE, has(|leaf| leaf.has_fsgsbase())),
            (Cr4Flags::OSXSAVE, basic.has_xsave()),
            // The kernel neither executes nor touches what belongs to user mode.
            (Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, has(|leaf| leaf.has_smep())),
            (Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, has(|leaf| leaf.has_smap())),
        ];
        let set = wanted
            .into_iter()
            .filter(|(_, present)| *present)
            .fold(Cr4Flags::PHYSICAL_ADDRESS_EXTENSION, |all, (flag, _)| all | flag);
        // SAFETY: each bit was found in CPUID, and none changes the meaning of what the kernel does.
        unsafe { Cr4::write_raw(set.bits()) };
        let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
            | Cr0Flags::PAGING
            | Cr0Flags::WRITE_PROTECT
            // x87 errors are exceptions, not interrupts of 1983's kind; FWAIT waits.
            | Cr0Flags::NUMERIC_ERROR
            | Cr0Flags::MONITOR_COPROCESSOR
            | Cr0Flags::EXTENSION_TYPE
            // Programs may ask for alignment checks (EFLAGS.AC).
            | Cr0Flags::ALIGNMENT_MASK;
        // SAFETY: paging and write protection were on; the rest concerns user mode.
        unsafe { Cr0::write_raw(cr0.bits()) };

        let (extended_state, extended_state_size) = enable_extended_state(&cpuid, basic.has_xsave());
        Features {
            fsgsbase: set.contains(Cr4Flags::FSGSBASE),
            extended_state,
            extended_state_size,
            pages_1_gib: extended.as_ref().is_some_and(|leaf| leaf.has_1gib_pages()),
            rdtscp: extended.as_ref().is_some_and(|leaf| leaf.has_rdtscp()),
            steady_counter: basic.has_hypervisor()
                || cpuid.get_advanced_power_mgmt_info().is_some_and(|leaf| leaf.has_invariant_tsc()),
            rdseed: has(|leaf| leaf.has_rdseed()),
            // SAFETY-free: CPUID has no side effects.
            hwcap: core::arch::x86_64::__cpuid(1).edx,
            protections: set,
        }
    })
}

/// Turns on XSAVE's parts, and finds how many bytes they take together.
fn enable_extended_state(cpuid: &CpuId<CpuIdReaderNative>, has_xsave: bool) -> (XCr0Flags, usize) {
    const FXSAVE_SIZE: usize = 512;
    if !has_xsave {
        return (XCr0Flags::empty(), FXSAVE_SIZE);
    }
    let leaf = core::arch::x86_64::__cpuid_count(0xd, 0);
    let offered = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    let chosen = XCr0Flags::from_bits_truncate(offered) & EXTENDED_STATE;
    // SAFETY: the processor offers these; user mode may now use them, and the kernel uses none.
    unsafe { XCr0::write(chosen) };
    let state = cpuid.get_extended_state_info().expect("a processor with XSAVE describes it in leaf 0xd");
    (chosen, state.xsave_area_size_enabled_features() as usize)
}
