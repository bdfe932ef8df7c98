//! Processors: how many there can be, and on which a thread runs.

use super::error::{Result, SysError, call};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

/// How many processors this machine can ever have, those that are off included.
pub fn possible_cpus() -> Result<u16> {
    let failed = |errno| SysError { call: "read", errno };
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    count(text.trim()).ok_or(failed(Errno::RANGE))
}

/// How many a list like `0-3,8` names.
fn count(list: &str) -> Option<u16> {
    list.split(',').try_fold(0u16, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Keeps the calling thread on one processor.
pub fn run_on_cpu(cpu: u16) -> Result<()> {
    let cpu = usize::from(cpu);
    call("sched_setaffinity", || {
        if cpu >= CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-1"), Some(2));
        assert_eq!(count("0-3,8,10-11"), Some(7));
        assert_eq!(count(""), None);
        assert_eq!(count("3-0"), None);
        assert!(possible_cpus().unwrap() >= 1);
    }

    #[test]
    fn a_thread_stays_where_it_is_put() {
        std::thread::spawn(|| {
            run_on_cpu(0).unwrap();
            assert_eq!(rustix::thread::sched_getcpu(), 0);
            assert_eq!(run_on_cpu(u16::MAX).unwrap_err().errno, Errno::INVAL);
        })
        .join()
        .unwrap();
    }
}
