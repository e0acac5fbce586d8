//! Fuzzes `metagov_fuzz::hook_bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::hook_bodies(data));
