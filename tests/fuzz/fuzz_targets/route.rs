//! Fuzzes `metagov_fuzz::route`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::route(data));
