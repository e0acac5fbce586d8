//! The Metagov contract as Rust: the messages and clients of `metagov.v1`, its
//! descriptors for reflection, the way between `Struct` and JSON, the names of gRPC's codes,
//! and how the audit's chain is verified.
//!
//! The contract itself, with a comment on every element, is `proto/metagov/v1/`.
//! Server traits are not here: only the gateway needs them, and it builds its own.

pub mod audit;
pub mod code;
pub mod json;

/// Package `metagov.v1`. Its documentation is in the `.proto` files.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("metagov.v1");
}

/// The `FileDescriptorSet` of `metagov.v1` and what it imports, encoded, with comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/metagov.bin"));

/// The domain of every `google.rpc.ErrorInfo` that a Metagov gateway sends.
pub const ERROR_DOMAIN: &str = "metagov.org";
