//! When to attempt a delivery again. Pure: the caller brings the jitter and keeps the count.

use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The time from each failed attempt to the next one.
const DELAYS: [Duration; 8] = [
    Duration::from_secs(5 * SECOND),
    Duration::from_secs(30 * SECOND),
    Duration::from_secs(2 * MINUTE),
    Duration::from_secs(10 * MINUTE),
    Duration::from_secs(HOUR),
    Duration::from_secs(3 * HOUR),
    Duration::from_secs(6 * HOUR),
    Duration::from_secs(12 * HOUR),
];
const SPREAD: f64 = 0.2;

/// The time from the end of the `attempt`-th attempt, counted from 1, to the next one; `None` after the ninth, the last.
///
/// The steps are 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h and 12 h, each longer or shorter by up to a fifth as `jitter`,
/// from -1 to 1, says. `retry_after`, what the receiver asked for, makes a step longer, at most as long as the one after
/// it (the last one: twice as long), and never shorter.
pub fn delay(attempt: u32, jitter: f64, retry_after: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
    let step = *DELAYS.get(index)?;
    let longest = DELAYS.get(index + 1).copied().unwrap_or(step * 2);
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(-1.0, 1.0) };
    let own = step.mul_f64(1.0 + SPREAD * jitter);
    Some(own.max(retry_after.unwrap_or_default().min(longest)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_steps() {
        let steps: Vec<_> = (0..12).map(|attempt| delay(attempt, 0.0, None).map(|step| step.as_secs())).collect();
        let expect = [5, 30, 120, 600, 3600, 10_800, 21_600, 43_200].map(Some);
        assert_eq!(steps, [&[None], &expect[..], &[None; 3]].concat());
    }

    #[test]
    fn jitter_is_a_fifth() {
        let check = |jitter, expect| assert_eq!(delay(1, jitter, None), Some(expect), "{jitter}");
        check(-1.0, secs(4));
        check(0.5, Duration::from_millis(5500));
        check(1.0, secs(6));
        check(7.0, secs(6));
        check(f64::NEG_INFINITY, secs(4));
        check(f64::NAN, secs(5));
    }

    #[test]
    fn retry_after_only_lengthens_and_within_bounds() {
        let check = |attempt, asked, expect| assert_eq!(delay(attempt, 0.0, Some(secs(asked))), Some(secs(expect)));
        check(1, 0, 5);
        check(1, 20, 20);
        check(1, 3600, 30);
        check(4, 1800, 1800);
        check(8, u64::MAX, 86_400);
        assert_eq!(delay(9, 0.0, Some(secs(1))), None);
    }

    proptest! {
        #[test]
        fn never_absurd(attempt: u32, jitter: f64, asked: Option<u64>) {
            if let Some(delay) = delay(attempt, jitter, asked.map(secs)) {
                prop_assert!(delay >= secs(4) && delay <= secs(86_400));
            }
        }
    }
}
