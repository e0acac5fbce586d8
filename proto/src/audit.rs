//! The chain of the audit: the hash of each [`AuditEntry`] covers the hash before it.
//!
//! The gateway writes the chain and `metagov audit verify` reads it; both call
//! [`entry_hash`], and whoever wants to verify in another language does as it says.
//!
//! A chain shows that entries were changed, exchanged or removed from the middle. It does
//! not show that its newest entries were cut off, nor that all of it was written anew:
//! that takes a number and a hash that were kept elsewhere.

use prost_types::Timestamp;
use sha2::{Digest, Sha256};

use crate::v1::AuditEntry;

/// What counts as the hash before the first entry.
pub const START: [u8; 32] = [0; 32];

/// The hash of an entry, after the entry whose hash is `previous` ([`START`] before the
/// first).
///
/// It is SHA-256 over `previous` and these fields of the entry, each as its length in
/// bytes, a big-endian number of 8 bytes, and its bytes: `entry_number` in decimal,
/// `record_time` as whole microseconds since 1970 in decimal (rounded down; 0 if unset),
/// `token_id`, `rpc`, `community_id`, `subject`, `code`. Its `entry_hash` is not looked at.
pub fn entry_hash(previous: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
    let number = entry.entry_number.to_string();
    let time = entry.record_time.as_ref().map_or(0, microseconds);
    let mut hash = Sha256::new_with_prefix(previous);
    for field in [
        &number,
        &time.to_string(),
        &entry.token_id,
        &entry.rpc,
        &entry.community_id,
        &entry.subject,
        &entry.code,
    ] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// Wide, since a time may be anything that somebody sends.
fn microseconds(time: &Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos.div_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            entry_number: 1,
            record_time: Some(Timestamp {
                seconds: 1_790_000_000,
                nanos: 123_456_789,
            }),
            token_id: "k3v9".to_owned(),
            rpc: "metagov.v1.ActionService/PerformAction".to_owned(),
            community_id: "garden".to_owned(),
            subject: "discourse.create-post".to_owned(),
            code: "OK".to_owned(),
            entry_hash: Vec::new(),
        }
    }

    fn hex(hash: [u8; 32]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Computed with another program: whoever changes this breaks every chain there is.
    #[test]
    fn the_hash_is_as_it_is_written_down() {
        let first = entry_hash(&START, &entry());
        assert_eq!(
            hex(first),
            "26db2768490f4ee5c6cc557d79ac3feb379d58df9632510e0a49e8db627221ed"
        );
        let second = AuditEntry {
            entry_number: 2,
            record_time: Some(Timestamp {
                seconds: 1_790_000_001,
                nanos: 0,
            }),
            token_id: String::new(),
            rpc: "metagov.v1.CommunityService/DeleteCommunity".to_owned(),
            community_id: String::new(),
            subject: "gärten".to_owned(),
            code: "NOT_FOUND".to_owned(),
            entry_hash: vec![7; 32],
        };
        assert_eq!(
            hex(entry_hash(&first, &second)),
            "774deed3d5e31fe40e606ec9bcf36898fddfae3d087a06b31a2a19d4a5cffe08"
        );
    }

    #[test]
    fn every_field_counts() {
        let hash = entry_hash(&START, &entry());
        let changes: [fn(&mut AuditEntry); 8] = [
            |e| e.entry_number = 2,
            |e| e.record_time = None,
            |e| e.record_time.as_mut().unwrap().nanos += 1000,
            |e| e.token_id.push('x'),
            |e| e.rpc.push('x'),
            |e| e.community_id.push('x'),
            |e| e.subject.clear(),
            |e| e.code = "INTERNAL".to_owned(),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut changed = entry();
            change(&mut changed);
            assert_ne!(entry_hash(&START, &changed), hash, "change {at}");
        }
        assert_ne!(entry_hash(&[1; 32], &entry()), hash, "what was before");
    }

    #[test]
    fn what_moves_from_one_field_to_the_next_is_noticed() {
        let mut moved = entry();
        moved.community_id = "gardendiscourse".to_owned();
        moved.subject = ".create-post".to_owned();
        assert_ne!(entry_hash(&START, &moved), entry_hash(&START, &entry()));
    }

    #[test]
    fn a_time_that_cannot_be_is_no_panic() {
        let mut odd = entry();
        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (-1, -1)] {
            odd.record_time = Some(Timestamp { seconds, nanos });
            entry_hash(&START, &odd);
        }
    }
}
