//! `metagov events forward` and `metagov process forward`: for drivers that can only take
//! HTTP. They watch as any client does, and post what they see in the shapes that the
//! first Metagov posted (`shapes.rs`), until the receiver has taken it (`receiver.rs`).

mod events;
mod processes;
mod receiver;
mod shapes;

pub(super) use events::Events;
pub(super) use processes::Processes;
