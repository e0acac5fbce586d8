//! Moments and durations that callers send.

use std::time::Duration;

use metagov::rpc::fuzz;
use prost::Message;
use prost_types::Timestamp;

use crate::take;

/// What is taken lies within the bounds, whatever numbers are sent.
pub fn times(data: &[u8]) {
    check(data, data);
    let (seconds, rest) = take::<8>(data);
    let (nanos, _) = take::<4>(rest);
    let seconds = i64::from_le_bytes(seconds);
    let nanos = i32::from_le_bytes(nanos);
    for seconds in [seconds, seconds % 400, seconds % 300_000_000_000] {
        let time = Timestamp { seconds, nanos }.encode_to_vec();
        let silence = prost_types::Duration { seconds, nanos }.encode_to_vec();
        check(&time, &silence);
    }
}

fn check(time: &[u8], silence: &[u8]) {
    if let Some(Ok(time)) = fuzz::time(time) {
        assert!((0..253_402_300_800_000_000).contains(&time.0));
        assert!(time.rfc3339().ends_with('Z'));
    }
    if let Some(Ok(silence)) = fuzz::heartbeat(silence) {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(300);
        assert!(bounds.contains(&silence));
    }
}
