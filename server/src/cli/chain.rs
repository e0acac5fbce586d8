//! Verifies the audit's chain, entry by entry from the newest down, so that an audit of
//! any length takes no memory. Pure.

use std::fmt;

use metagov_proto::{audit, v1::AuditEntry};

/// The end of a chain: the number and the hash of its newest entry, written
/// `NUMBER:HASH`. Nothing is `0:` and zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    number: i64,
    hash: [u8; 32],
}

impl Head {
    const NOTHING: Self = Self {
        number: 0,
        hash: audit::START,
    };

    /// Reads what was printed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no head such as 17: and 64 hex digits");
        let (number, digits) = text.split_once(':').ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number >= 0);
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| wrong())?;
        let number = number.ok_or_else(wrong)?;
        Ok(Self { number, hash })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex::encode(self.hash))
    }
}

/// What is wrong with a chain, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The hash of this entry is not that of what it says and of what was before it.
    Hash(i64),
    /// This entry is missing.
    Gap(i64),
    /// This entry does not come after the one that it stands after.
    Order(i64),
    /// This entry has another hash than the anchor.
    Anchor(i64),
    /// The chain ends at the first, but the anchor says that there was the second.
    Short(i64, i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(at) => write!(
                f,
                "entry {at} is bad: its hash does not fit what it says and what is before it"
            ),
            Self::Gap(at) => write!(
                f,
                "entry {at} is missing, though there are later ones; or the token does not \
                 hold in every community, and may not see it"
            ),
            Self::Order(at) => write!(f, "entry {at} is bad: it is out of order"),
            Self::Anchor(at) => write!(
                f,
                "entry {at} is bad: it is not the one of the anchor, so it or one before it \
                 was written anew"
            ),
            Self::Short(end, anchor) => write!(
                f,
                "entry {} is missing: there was an entry {anchor}, as the anchor says, but \
                 the audit ends at {end}",
                end + 1
            ),
        }
    }
}

/// A chain that is read from its newest entry down.
pub(super) struct Chain {
    anchor: Option<Head>,
    head: Head,
    /// The last that was read, whose hash waits for the entry before it.
    newer: Option<AuditEntry>,
    /// The last that was found is the first in the chain.
    fault: Option<Fault>,
    anchor_fault: Option<Fault>,
}

impl Chain {
    /// A chain that should hold the anchor.
    pub(super) fn new(anchor: Option<Head>) -> Self {
        Self {
            anchor,
            head: Head::NOTHING,
            newer: None,
            fault: None,
            anchor_fault: None,
        }
    }

    /// Takes the next entry, which is the one before the last.
    pub(super) fn take(&mut self, entry: AuditEntry) {
        let number = entry.entry_number;
        let hash = hash(&entry);
        match self.newer.take() {
            // Of the newest, a hash that is none is found when it is looked at.
            None => {
                self.head = Head {
                    number,
                    hash: hash.unwrap_or_default(),
                }
            }
            Some(newer) => self.follow(&newer, number, hash),
        }
        let anchor = self.anchor.filter(|anchor| anchor.number == number);
        if anchor.is_some_and(|anchor| Some(anchor.hash) != hash) {
            self.anchor_fault = Some(Fault::Anchor(number));
        }
        self.newer = Some(entry);
    }

    /// Whether `newer` comes right after the entry with this number and hash.
    fn follow(&mut self, newer: &AuditEntry, number: i64, previous: Option<[u8; 32]>) {
        let at = newer.entry_number;
        if number >= at {
            self.fault = Some(Fault::Order(number));
        } else if number + 1 < at {
            self.fault = Some(Fault::Gap(number + 1));
        } else if !fits(newer, previous) {
            self.fault = Some(Fault::Hash(at));
        }
    }

    /// The head of a chain that is whole, or the first fault.
    pub(super) fn end(mut self) -> Result<Head, Fault> {
        if let Some(oldest) = self.newer.take() {
            self.follow(&oldest, 0, Some(audit::START));
        }
        if let Some(fault) = self.fault.or(self.anchor_fault) {
            return Err(fault);
        }
        match self.anchor {
            Some(anchor) if anchor.number > self.head.number => {
                Err(Fault::Short(self.head.number, anchor.number))
            }
            Some(anchor) if anchor.number == 0 && anchor != Head::NOTHING => Err(Fault::Anchor(0)),
            _ => Ok(self.head),
        }
    }
}

fn hash(entry: &AuditEntry) -> Option<[u8; 32]> {
    entry.entry_hash.as_slice().try_into().ok()
}

fn fits(entry: &AuditEntry, previous: Option<[u8; 32]>) -> bool {
    let right = previous.map(|previous| audit::entry_hash(&previous, entry));
    right.is_some() && right == hash(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many entries, newest first.
    fn entries(count: i64) -> Vec<AuditEntry> {
        let mut previous = audit::START;
        let made = (1..=count).map(|number| {
            let mut entry = AuditEntry {
                entry_number: number,
                subject: format!("thing {number}"),
                ..AuditEntry::default()
            };
            previous = audit::entry_hash(&previous, &entry);
            entry.entry_hash = previous.to_vec();
            entry
        });
        let mut made: Vec<_> = made.collect();
        made.reverse();
        made
    }

    fn verify(entries: &[AuditEntry], anchor: Option<Head>) -> Result<Head, Fault> {
        let mut chain = Chain::new(anchor);
        entries.iter().cloned().for_each(|entry| chain.take(entry));
        chain.end()
    }

    fn head(entries: &[AuditEntry]) -> Head {
        verify(entries, None).unwrap()
    }

    #[test]
    fn a_whole_chain_has_a_head() {
        assert_eq!(head(&[]), Head::NOTHING);
        for count in [1, 2, 5] {
            let entries = entries(count);
            assert_eq!(head(&entries).number, count);
            assert_eq!(Some(head(&entries).hash), hash(&entries[0]));
        }
    }

    #[test]
    fn a_changed_entry_is_named_wherever_it_is() {
        for at in 0..5 {
            let mut changed = entries(5);
            changed[at].code = "OK".into();
            let number = changed[at].entry_number;
            assert_eq!(verify(&changed, None), Err(Fault::Hash(number)));
            // With a hash that fits, the next one does not; the newest is found by its anchor.
            let previous = changed.get(at + 1).and_then(hash).unwrap_or(audit::START);
            changed[at].entry_hash = audit::entry_hash(&previous, &changed[at]).to_vec();
            let anchor = head(&entries(5));
            let found = match at {
                0 => Fault::Anchor(5),
                _ => Fault::Hash(number + 1),
            };
            assert_eq!(verify(&changed, Some(anchor)), Err(found));
        }
    }

    #[test]
    fn a_hash_that_is_none_is_a_fault() {
        for at in 0..3 {
            for hash in [vec![], vec![0; 31], vec![0; 33], vec![0; 32]] {
                let mut changed = entries(3);
                changed[at].entry_hash = hash;
                let number = changed[at].entry_number;
                assert_eq!(verify(&changed, None), Err(Fault::Hash(number)));
            }
        }
    }

    #[test]
    fn a_missing_entry_is_named() {
        for at in 1..5 {
            let mut less = entries(5);
            let gone = less.remove(at).entry_number;
            assert_eq!(verify(&less, None), Err(Fault::Gap(gone)));
        }
        let mut less = entries(5);
        less.drain(1..4);
        assert_eq!(verify(&less, None), Err(Fault::Gap(2)));
    }

    #[test]
    fn entries_that_changed_places_are_named() {
        let mut swapped = entries(5);
        swapped.swap(1, 3);
        assert!(matches!(
            verify(&swapped, None),
            Err(Fault::Order(_) | Fault::Gap(_))
        ));
        // Each with the other's number.
        swapped[1].entry_number = 4;
        swapped[3].entry_number = 2;
        assert_eq!(verify(&swapped, None), Err(Fault::Hash(2)));
        let mut twice = entries(3);
        twice.insert(1, twice[1].clone());
        assert_eq!(verify(&twice, None), Err(Fault::Order(2)));
    }

    #[test]
    fn numbers_that_cannot_be_are_no_panic() {
        for number in [0, -1, i64::MIN, i64::MAX] {
            let mut odd = entries(1);
            odd[0].entry_number = number;
            assert!(verify(&odd, None).is_err(), "{number}");
            assert!(
                verify(&[odd, entries(2)].concat(), None).is_err(),
                "{number}"
            );
        }
    }

    #[test]
    fn the_first_of_several_faults_is_named() {
        let mut bad = entries(9);
        for at in [1, 4, 6] {
            bad[at].subject.clear();
        }
        assert_eq!(verify(&bad, None), Err(Fault::Hash(3)));
        bad.remove(5);
        assert_eq!(verify(&bad, None), Err(Fault::Hash(3)));
    }

    #[test]
    fn what_was_cut_off_is_found_with_an_anchor_only() {
        let entries = entries(5);
        let anchor = head(&entries);
        assert_eq!(verify(&entries[1..], None).unwrap().number, 4);
        assert_eq!(verify(&entries[1..], Some(anchor)), Err(Fault::Short(4, 5)));
        assert_eq!(verify(&[], Some(anchor)), Err(Fault::Short(0, 5)));
        // What came later harms no anchor.
        assert!(verify(&self::entries(7), Some(anchor)).is_ok());
        assert!(verify(&entries, Some(Head::NOTHING)).is_ok());
    }

    #[test]
    fn a_chain_that_was_written_anew_is_found_with_an_anchor_only() {
        let anchor = head(&entries(3));
        let mut anew = entries(5);
        anew[4].subject = "another".into();
        for at in (0..5).rev() {
            let previous = anew.get(at + 1).and_then(hash).unwrap_or(audit::START);
            anew[at].entry_hash = audit::entry_hash(&previous, &anew[at]).to_vec();
        }
        assert!(verify(&anew, None).is_ok());
        assert_eq!(verify(&anew, Some(anchor)), Err(Fault::Anchor(3)));
    }

    #[test]
    fn a_head_is_read_as_it_is_printed() {
        let head = head(&entries(3));
        assert_eq!(Head::parse(&head.to_string()), Ok(head));
        let nothing = format!("0:{}", "0".repeat(64));
        assert_eq!(Head::parse(&nothing), Ok(Head::NOTHING));
        for text in [
            "",
            "3",
            "3:",
            ":",
            "3:zz",
            "-1:00",
            &nothing[..65],
            &format!("{nothing}0"),
        ] {
            assert!(Head::parse(text).is_err(), "{text}");
        }
    }
}
