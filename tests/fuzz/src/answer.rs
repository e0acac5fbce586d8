//! What platforms answer with: compressed bodies and Retry-After.

use std::{io::Read, time::Duration};

use flate2::read::MultiGzDecoder;
use metagov::plugins::kit::fuzz;

use crate::take;

const SIZE: usize = 1 << 20;
/// From so many bytes on the ratio counts.
const FROM: usize = 64 << 10;

/// However it comes in pieces, an answer is decompressed to the same bytes, never to more
/// than it may have. A wait is never longer than a day.
pub fn answer(data: &[u8]) {
    let ([ratio, piece], came) = take::<2>(data);
    let ratio = 1 + u32::from(ratio);
    let whole = fuzz::inflated(came, usize::MAX, SIZE, ratio);
    let pieces = fuzz::inflated(came, 1 + usize::from(piece), SIZE, ratio);
    assert_eq!(whole, pieces);
    if let Some(bytes) = whole {
        assert!(bytes.len() <= SIZE);
        let most = FROM.max(came.len() * ratio as usize);
        assert!(bytes.len() <= most, "{} of {}", bytes.len(), came.len());
        is_right(came, &bytes);
    }
    retry_after(data);
}

fn is_right(came: &[u8], bytes: &[u8]) {
    let mut usual = Vec::new();
    let read = MultiGzDecoder::new(came)
        .take(SIZE as u64 + 1)
        .read_to_end(&mut usual);
    if read.is_ok() {
        assert_eq!(usual, bytes);
    }
}

fn retry_after(data: &[u8]) {
    let day = Duration::from_secs(24 * 60 * 60);
    let wait = fuzz::retry_after(data);
    assert!(wait.is_none_or(|wait| wait <= day));
    if let Some(seconds) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse().ok())
    {
        let plain = data.iter().all(u8::is_ascii_digit);
        let expected = plain.then(|| Duration::from_secs(seconds).min(day));
        assert!(wait == expected || !plain);
    }
}
