//! A page of events: each event is encoded once and shared by all who read it.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};

use super::convert;
use crate::gateway::{Batch, Entry, Gateway};

/// `WatchEventsResponse` and `ListEventsResponse`, which have the same fields; a test
/// compares the bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EventsPage {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Encoded>,
    #[prost(string, tag = "2")]
    cursor: String,
    #[prost(bool, tag = "3")]
    caught_up: bool,
}

impl EventsPage {
    pub(super) fn of(gateway: &Gateway, batch: &Batch) -> Self {
        Self {
            events: batch
                .events
                .iter()
                .map(|entry| encoded(gateway, entry))
                .collect(),
            cursor: gateway.cursor(batch.position),
            caught_up: batch.caught_up,
        }
    }
}

fn encoded(gateway: &Gateway, entry: &Arc<Entry>) -> Encoded {
    let encode = || convert::event(gateway, &entry.event).encode_to_vec().into();
    Encoded(entry.encoded.get_or_init(encode).clone())
}

/// An encoded [`metagov_proto::v1::Event`]. Only ever written: reading one skips it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Encoded(Bytes);

impl Message for Encoded {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, ctx)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use metagov_proto::v1;

    use super::*;

    #[test]
    fn a_page_has_the_bytes_of_both_responses() {
        let event = v1::Event {
            event_id: "e".to_owned(),
            cursor: "c".to_owned(),
            ..v1::Event::default()
        };
        let page = EventsPage {
            events: vec![Encoded(event.encode_to_vec().into()); 2],
            cursor: "x".to_owned(),
            caught_up: true,
        };
        let watched = v1::WatchEventsResponse {
            events: vec![event.clone(); 2],
            cursor: "x".to_owned(),
            caught_up: true,
        };
        let listed = v1::ListEventsResponse {
            events: vec![event; 2],
            cursor: "x".to_owned(),
            caught_up: true,
        };
        assert_eq!(page.encode_to_vec(), watched.encode_to_vec());
        assert_eq!(page.encode_to_vec(), listed.encode_to_vec());
        let empty = EventsPage::default();
        assert_eq!(
            empty.encode_to_vec(),
            v1::WatchEventsResponse::default().encode_to_vec()
        );
    }
}
