//! Calls by bytes, for what no generated client would send; and the contract as data.

use metagov_proto::DESCRIPTORS;
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
    method_options::IdempotencyLevel,
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use super::Line;

/// The `.proto` files of the contract itself, without what they import.
pub(crate) fn contract() -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let mut own: Vec<_> = all
        .into_iter()
        .filter(|file| file.package() == "metagov.v1")
        .collect();
    own.sort_by(|a, b| a.name().cmp(b.name()));
    own
}

/// A method of the contract.
pub(crate) struct Method {
    /// As in `/metagov.v1.EventService/ListEvents`.
    pub(crate) path: String,
    /// What it takes.
    pub(crate) input: DescriptorProto,
    /// Whether it may change something.
    pub(crate) mutates: bool,
}

/// Every method of the contract.
pub(crate) fn methods() -> Vec<Method> {
    let mut found = Vec::new();
    for service in contract().iter().flat_map(|file| &file.service) {
        for method in &service.method {
            found.push(Method {
                path: format!("/metagov.v1.{}/{}", service.name(), method.name()),
                input: message(method.input_type()).expect("it is of the contract"),
                mutates: method.options.as_ref().is_none_or(|options| {
                    options.idempotency_level() != IdempotencyLevel::NoSideEffects
                }),
            });
        }
    }
    found
}

/// A field of a request, also one of a message inside of it.
pub(crate) struct Slot {
    /// As errors name it: `filter.process_ids`.
    pub(crate) path: String,
    /// The last part of the path.
    pub(crate) name: String,
    pub(crate) kind: Type,
    /// The full name of its message or enum.
    pub(crate) type_name: String,
    numbers: Vec<i32>,
}

impl Method {
    /// Every field that a caller may set.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        slots(&self.input, "", &[])
    }

    /// Its name alone.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }
}

fn slots(message_type: &DescriptorProto, prefix: &str, above: &[i32]) -> Vec<Slot> {
    let mut found = Vec::new();
    for field in &message_type.field {
        let path = format!("{prefix}{}", field.name());
        let numbers = [above, &[field.number()]].concat();
        let nested = message(field.type_name()).filter(|_| field.r#type() == Type::Message);
        match nested {
            Some(nested) => found.extend(slots(&nested, &format!("{path}."), &numbers)),
            None => found.push(Slot {
                path,
                name: field.name().to_owned(),
                kind: field.r#type(),
                type_name: field.type_name().to_owned(),
                numbers,
            }),
        }
    }
    found
}

impl Slot {
    /// A request with a string, or a message, in this field. Requests may be appended
    /// to one another: that is what merging is in protobuf.
    pub(crate) fn with(&self, value: &[u8]) -> Vec<u8> {
        self.wrapped(|at| field(at, value))
    }

    /// A request with a number, or an enum, in this field.
    pub(crate) fn with_number(&self, value: i64) -> Vec<u8> {
        self.wrapped(|at| number(at, value))
    }

    fn wrapped(&self, inner: impl Fn(i32) -> Vec<u8>) -> Vec<u8> {
        let (last, above) = self.numbers.split_last().unwrap();
        let outward = above.iter().rev();
        outward.fold(inner(*last), |bytes, at| field(*at, &bytes))
    }
}

/// The message of the contract with this full name; none if it is imported.
pub(crate) fn message(full_name: &str) -> Option<DescriptorProto> {
    let name = full_name.strip_prefix(".metagov.v1.")?;
    let messages = contract().into_iter().flat_map(|file| file.message_type);
    messages.into_iter().find(|message| message.name() == name)
}

/// Sends a message, encoded by hand; the bytes of the first message that comes back.
pub(crate) async fn call(channel: &Line, path: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|e| Status::unavailable(e.to_string()))?;
    let path = PathAndQuery::try_from(path.to_owned()).unwrap();
    let request = Request::new(message);
    let answer = client.server_streaming(request, path, Bytes).await?;
    let first = answer.into_inner().message().await?;
    first.ok_or_else(|| Status::unknown("an answer without a message"))
}

/// A field whose value has a length: a string, bytes, or a message.
pub(crate) fn field(number: i32, value: &[u8]) -> Vec<u8> {
    let mut bytes = varint((number as u64) << 3 | 2);
    bytes.extend(varint(value.len() as u64));
    bytes.extend(value);
    bytes
}

/// A field that is a whole number or an enum.
pub(crate) fn number(number: i32, value: i64) -> Vec<u8> {
    let mut bytes = varint((number as u64) << 3);
    bytes.extend(varint(value as u64));
    bytes
}

/// A whole number as protobuf writes it.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}

/// Bytes as they are.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length).to_vec()))
    }
}
