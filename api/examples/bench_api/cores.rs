//! Which cores the parts of the benchmark run on.

/// What a process is for.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// It serves: the first core, alone.
    Service,
    /// It asks: all the others.
    Load,
}

/// Keeps this process and the threads that it will start on its cores.
///
/// With a single core, or on a system that has no such call, everything shares what there is.
pub(crate) fn take(what: For) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        let allowed = sched_getaffinity(None).unwrap();
        let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let cores: Vec<_> = cores.collect();
        if cores.len() < 2 {
            return;
        }
        let mut mine = CpuSet::new();
        match what {
            For::Service => mine.set(cores[0]),
            For::Load => cores[1..].iter().for_each(|core| mine.set(*core)),
        }
        sched_setaffinity(None, &mine).unwrap();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = what;
}
